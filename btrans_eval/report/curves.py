"""What k calls are worth: pass@k and maj@k over k, and the picture that a report opens with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from btrans_eval.report.study import ReportedTask
from btrans_eval.report.style import Look, Picture, figure, picture
from btrans_eval.report.text import file_name

_KINDS = {
    "pass": "Pass@k: any of k is right (an oracle)",
    "best": "Best@k: best score of k (an oracle)",
    "maj": "Accuracy against calls: the vote of k responses (maj@k)",
}
_MEANS = "Mean over questions; bars are 95% intervals over questions. Responses do not vote here."
_CAPTION = "Mean over questions; bands are 95% intervals over questions. The k axis is logarithmic."


def pictures(task: ReportedTask, looks: Mapping[str, Look]) -> list[Picture]:
    """A picture for each oracle's curve that the task has, all arms in one; on one y axis."""
    kinds = [kind for kind in _KINDS if kind != "maj" and _ks(kind, task)]
    return [_picture(kind, _KINDS[kind], task, looks) for kind in kinds]


def opening(task: ReportedTask, looks: Mapping[str, Look]) -> Picture | None:
    """Accuracy against calls, all arms with their intervals; None where responses have no score.

    The vote of k calls over k; where responses do not vote, the mean score of one call.
    """
    if not task.is_scored:
        return None
    return _picture("maj", _KINDS["maj"], task, looks) if _ks("maj", task) else _means(task, looks)


def _means(task: ReportedTask, looks: Mapping[str, Look]) -> Picture:
    with figure(height=2.6) as (drawn, axes):
        for place, (arm, look) in enumerate(looks.items()):
            mean = task.metrics(arm)["mean"]
            middle = mean["estimate"]
            sides = [[abs(_end(mean, end) - middle)] for end in ("low", "high")]
            axes.errorbar(
                middle, -place, xerr=sides, color=look.colour, marker=look.marker, markersize=6,
                linestyle="none", elinewidth=1.2, label=look.label, clip_on=False,
            )  # fmt: skip
        axes.set_yticks([])
        axes.set_ylim(0.7 - len(looks), 0.7)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("mean score of one call" + (", share right" if task.is_share else ""))
        if task.is_share:
            axes.set_xlim(-0.02, 1.02)
            axes.xaxis.set_major_formatter(PercentFormatter(1))
        legend(drawn, axes)
        name = file_name("curves", "mean", task.name)
        return picture(name, "Score of one call", _MEANS, drawn)


def _ks(kind: str, task: ReportedTask) -> list[int]:
    """Every k at which an arm has the curve; none where no curve has two points."""
    of_arms = [_curve(kind, task.metrics(arm)) for arm in task.numbers["arms"]]
    return sorted({k for curve in of_arms if len(curve) > 1 for k in curve})


def _curve(kind: str, metrics: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    found = {
        int(name.partition("@")[2]): interval
        for name, interval in metrics.items()
        if name.startswith(f"{kind}@")
    }
    return dict(sorted(found.items()))


def _picture(kind: str, title: str, task: ReportedTask, looks: Mapping[str, Look]) -> Picture:
    ks = _ks(kind, task)
    with figure() as (drawn, axes):
        for arm, look in looks.items():
            curve = _curve(kind, task.metrics(arm))
            if len(curve) > 1:
                _line(axes, curve, look)
            else:
                _level(axes, task.metrics(arm)["mean"], look, task.calls(arm), ks)
        axes.set_xscale("log", base=2)
        axes.set_xticks(ks, [str(k) for k in ks])
        axes.minorticks_off()
        axes.set_xlabel("k, calls per question")
        if task.is_share:
            axes.set_ylim(-0.02, 1.02)
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_ylabel(f"{kind}@k" + (", share of questions" if task.is_share else ", score"))
        legend(drawn, axes)
        name = file_name("curves", kind, task.name)
        return picture(name, title, _CAPTION, drawn)


def _line(axes: Axes, curve: Mapping[int, Mapping[str, Any]], look: Look) -> None:
    ks = list(curve)
    axes.plot(
        ks, [one["estimate"] for one in curve.values()], color=look.colour, marker=look.marker,
        linestyle=look.line, linewidth=1.6, markersize=4.5, label=look.label,
    )  # fmt: skip
    bounds = [(_end(one, "low"), _end(one, "high")) for one in curve.values()]
    axes.fill_between(
        ks, [low for low, _ in bounds], [high for _, high in bounds], color=look.colour,
        alpha=0.13, linewidth=0,
    )  # fmt: skip


def _level(axes: Axes, mean: Mapping[str, Any], look: Look, calls: int, ks: list[int]) -> None:
    """An arm without a curve, as a line at its mean; a marker tells its name at the left."""
    label = f"{look.label} (1 call)" if calls == 1 else look.label
    axes.axhline(mean["estimate"], color=look.colour, linestyle=look.line, linewidth=1.3)
    axes.plot(
        ks[:1], [mean["estimate"]], color=look.colour, marker=look.marker, linestyle=look.line,
        linewidth=1.3, markersize=4.5, markerfacecolor="none", label=label,
    )  # fmt: skip
    axes.axhspan(_end(mean, "low"), _end(mean, "high"), color=look.colour, alpha=0.06, linewidth=0)


def _end(interval: Mapping[str, Any], end: str) -> float:
    """An end of an interval; the estimate where it is not bounded, which no band can show."""
    value = interval[end]
    return float(interval["estimate"] if value is None else value)


def legend(drawn: Figure, axes: Axes) -> None:
    """The arms below the axes, in two columns where names are short."""
    handles, labels = axes.get_legend_handles_labels()
    columns = 2 if all(len(label) <= 24 for label in labels) else 1
    drawn.legend(handles, labels, loc="outside lower center", ncols=columns, handlelength=3.2)
