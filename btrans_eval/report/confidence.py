"""How sure votes are: two pictures and two tables of a task's arms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from btrans_eval.report.curves import legend
from btrans_eval.report.study import ReportedTask
from btrans_eval.report.style import Look, Picture, figure, picture
from btrans_eval.report.tables import Cell, Row, Table, measured
from btrans_eval.report.text import file_name

_COLUMNS = {
    "brier": "Brier score", "ece": "calibration error",
    "squared_error": "squared, unbiased", "auroc": "AUROC", "aurc": "AURC",
    "rejection_ratio": "rejection ratio", "accuracy@80": "right of the surest 80%",
}  # fmt: skip
_PERCENT = ("accuracy@80",)
_KINDS = {"share": "share of votes", "certainty": "entropy of the answers"}


def _arms(task: ReportedTask) -> dict[str, Mapping[str, Any]]:
    """What comparison.json says of each arm that votes."""
    found = {name: arm.get("confidence") for name, arm in task.numbers["arms"].items()}
    return {name: said for name, said in found.items() if said is not None}


def pictures(task: ReportedTask, looks: Mapping[str, Look]) -> list[Picture]:
    """Share of votes against share right, and share wrong over coverage; none without votes."""
    return [_reliability(task, looks), _coverage(task, looks)] if _arms(task) else []


def _reliability(task: ReportedTask, looks: Mapping[str, Look]) -> Picture:
    with figure() as (drawn, axes):
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
        for name, said in _arms(task).items():
            look, points = looks[name], said["reliability"]
            shares = [point["share"] for point in points]
            right = [point["right"] for point in points]
            axes.plot(shares, right, color=look.colour, linestyle=look.line, linewidth=0.8)
            axes.scatter(
                shares, right, [8 + 160 * each["questions"] / task.questions for each in points],
                color=look.colour, marker=look.marker, label=look.label, alpha=0.75,
            )  # fmt: skip
        _of_shares(
            axes, "share of votes of the winning answer", "share of questions that are right"
        )
        legend(drawn, axes)
        caption = (
            "On the line a vote is as often right as it is sure; below it, it is too sure. The "
            "larger the mark, the more questions."
        )
        name = file_name("confidence", "reliability", task.name)
        return picture(name, "Is a vote right as often as it is sure?", caption, drawn)


def _coverage(task: ReportedTask, looks: Mapping[str, Look]) -> Picture:
    with figure() as (drawn, axes):
        for name, said in _arms(task).items():
            look, risk = looks[name], said["risk_coverage"]
            shares = [(place + 1) / len(risk) for place in range(len(risk))]
            axes.plot(shares, risk, color=look.colour, linestyle=look.line, linewidth=1.6,
                      label=look.label)  # fmt: skip
        _of_shares(axes, "share of questions that are answered, the surest first",
                   "share of them that is wrong")  # fmt: skip
        legend(drawn, axes)
        caption = (
            "What keeping silent buys: where a curve rises to the right, the questions that are "
            "answered last, with the fewest votes, are the ones that are wrong."
        )
        name = file_name("confidence", "coverage", task.name)
        return picture(name, "What does keeping silent buy?", caption, drawn)


def _of_shares(axes: Axes, across: str, up: str) -> None:
    """Both axes from 0 to 100%, with room for marks at the ends."""
    axes.set(xlabel=across, ylabel=up, xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1))


def table(task: ReportedTask) -> Table | None:
    """Each arm's figures, by its share of votes and by the entropy of its answers."""
    rows: list[list[Cell]] = []
    records: list[Row] = []
    for name, said in _arms(task).items():
        for kind, words in _KINDS.items():
            found = said["figures"][kind]
            cells = [measured(found.get(each), each in _PERCENT) for each in _COLUMNS]
            rows.append([Cell(name, words), *cells])
        for kind, of_kind in said["figures"].items():
            records += [
                {"task": task.name, "arm": name, "confidence": kind, "figure": each, **ends}
                for each, ends in of_kind.items()
            ]
    columns = ("arm", *_COLUMNS.values())
    return Table(file_name("confidence", task.name), columns, rows, records) if rows else None


def differences(task: ReportedTask) -> Table | None:
    """Differences of two arms, paired over questions; none where no two have votes of equal K."""
    found = task.numbers.get("confidence_pairs", [])
    if not found:
        return None
    rows = [
        [
            Cell(f"{each['a']} − {each['b']}"),
            Cell(_COLUMNS[each["figure"]]),
            measured(
                {**each, "estimate": each["difference"]}, each["figure"] in _PERCENT, signed=True
            ),
        ]
        for each in found
    ]
    columns = ("difference", "measure", "estimate")
    shown = Table(file_name("confidence", "pairs", task.name), columns, rows)
    return replace(shown, records=[{"task": task.name, **each} for each in found])
