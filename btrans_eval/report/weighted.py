"""Votes weighted by log-probability, beside the plain ones: a table of a task's arms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from btrans_eval.report.study import ReportedTask
from btrans_eval.report.tables import Cell, Row, Table, measured
from btrans_eval.report.text import MISSING, file_name, p_value

_COLUMNS = ("arm", "maj@K", "weighted vote", "weighted − plain", "p")


def table(task: ReportedTask) -> Table | None:
    """Each arm that votes; where log-probabilities are lacking, how many, in place of numbers."""
    arms = task.numbers["arms"]
    said = {name: arm["weighted_vote"] for name, arm in arms.items() if "weighted_vote" in arm}
    rows = [_row(task, name, found) for name, found in said.items()]
    records = [_record(task, name, found) for name, found in said.items()]
    return Table(file_name("weighted", task.name), _COLUMNS, rows, records) if rows else None


def _row(task: ReportedTask, name: str, found: Mapping[str, Any]) -> list[Cell]:
    plain = measured(task.metrics(name).get(f"maj@{found['k']}"), task.is_share)
    gap = found["against_plain"]
    if gap is None:
        return [Cell(name), plain, Cell(MISSING, str(found["reason"])), *[Cell(MISSING)] * 2]
    ends = {**gap, "estimate": gap["difference"]}
    return [
        Cell(name),
        plain,
        measured(found, task.is_share),
        measured(ends, task.is_share, signed=True),
        Cell(p_value(gap["p"])),
    ]


def _record(task: ReportedTask, name: str, found: Mapping[str, Any]) -> Row:
    flat = {key: value for key, value in found.items() if key != "against_plain"}
    against = {
        f"against_plain_{key}": value for key, value in (found["against_plain"] or {}).items()
    }
    return {"task": task.name, "arm": name, **flat, **against}
