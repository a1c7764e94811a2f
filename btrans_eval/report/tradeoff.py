"""Accuracy against diversity, with an arrow from stock to population."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from btrans_eval.compare.join import Arm
from btrans_eval.report.curves import legend
from btrans_eval.report.study import ReportedTask
from btrans_eval.report.style import INK, Look, Picture, figure, picture
from btrans_eval.report.text import file_name

_NAMES = {
    "cosine_distance": "cosine distance between a question's responses",
    "answer_entropy": "entropy of a question's answers, nats",
}
_CAPTION = (
    "Arrows lead from stock to population at the same sampling, the step that the noise makes. "
    "Bars are 95% intervals over questions. An arm of one call has nothing to differ from and "
    "stands at diversity 0."
)


def picture_of(
    task: ReportedTask, arms: Sequence[Arm], looks: Mapping[str, Look]
) -> Picture | None:
    """The picture; None where the task has no scores or no measure of diversity in all arms."""
    diversity = measure(task)
    if not task.is_scored or diversity is None:
        return None
    places = {arm.name: _place(task, arm.name, diversity) for arm in arms}
    with figure(4.6, 3.7) as (drawn, axes):
        for name, (x, y) in places.items():
            _mark(axes, x, y, looks[name], task.calls(name))
        for start, end in steps(arms):
            _arrow(axes, places[start], places[end])
        axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
        if task.is_share:
            axes.set_ylim(-0.02, 1.02)
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_xlabel(_NAMES[diversity])
        kinds = {accuracy(task, arm.name)[0] for arm in arms if task.calls(arm.name) > 1}
        axes.set_ylabel(
            "mean score" if kinds == {"mean"} else "score of the vote (of the one call)"
        )
        legend(drawn, axes)
        name = file_name("diversity", task.name)
        return picture(name, "Score against diversity", _CAPTION, drawn)


def measure(task: ReportedTask) -> str | None:
    """The measure of diversity that every arm of several calls has."""
    several = [task.metrics(arm) for arm in task.numbers["arms"] if task.calls(arm) > 1]
    return next((name for name in _NAMES if several and all(name in one for one in several)), None)


def steps(arms: Sequence[Arm]) -> list[tuple[str, str]]:
    """Stock and population arms of the same model and sampling."""
    stock = [arm for arm in arms if arm.kind == "stock"]
    found = []
    for arm in arms:
        if arm.kind == "population":
            same = [
                one
                for one in stock
                if one.temperature == arm.temperature
                and one.run.results.get("model_name") == arm.run.results.get("model_name")
            ]
            found += [(one.name, arm.name) for one in same[:1]]
    return found


def accuracy(task: ReportedTask, arm: str) -> tuple[str, Mapping[str, Any]]:
    """Name and interval of the vote of all K, or of the mean where there is no vote."""
    metrics, vote = task.metrics(arm), f"maj@{task.calls(arm)}"
    name = vote if vote in metrics else "mean"
    return name, metrics[name]


_Interval = Mapping[str, Any]


def _place(task: ReportedTask, arm: str, diversity: str) -> tuple[_Interval, _Interval]:
    nothing = {"estimate": 0.0, "low": 0.0, "high": 0.0}
    return task.metrics(arm).get(diversity, nothing), accuracy(task, arm)[1]


def _mark(axes: Axes, x: _Interval, y: _Interval, look: Look, calls: int) -> None:
    axes.errorbar(
        x["estimate"], y["estimate"], xerr=_sides(x), yerr=_sides(y), color=look.colour,
        marker=look.marker, markersize=7, elinewidth=0.8, linestyle="none", alpha=0.9,
        markerfacecolor=look.colour if calls > 1 else "none", clip_on=False, zorder=3,
        label=look.label if calls > 1 else f"{look.label} (1 call)",
    )  # fmt: skip


def _sides(interval: _Interval) -> list[list[float]]:
    """Lengths below and above the estimate; 0 where there is no bound to draw."""
    middle = interval["estimate"]
    ends = (middle if interval[end] is None else interval[end] for end in ("low", "high"))
    return [[max(abs(end - middle), 0.0)] for end in ends]


def _arrow(
    axes: Axes, start: tuple[_Interval, _Interval], end: tuple[_Interval, _Interval]
) -> None:
    (x, y), (to_x, to_y) = ([one["estimate"] for one in point] for point in (start, end))
    axes.annotate(
        "", xy=(to_x, to_y), xytext=(x, y), zorder=2,
        arrowprops={
            "arrowstyle": "-|>", "color": INK, "linewidth": 1.0, "shrinkA": 5, "shrinkB": 6,
            "mutation_scale": 11, "connectionstyle": "arc3,rad=0.12",
        },
    )  # fmt: skip
