"""Whether some members are better than others: a table of a task's populations, in words too."""

from __future__ import annotations

from typing import Any

from btrans_eval.report.study import ReportedTask
from btrans_eval.report.tables import Cell, Row, Table, measured
from btrans_eval.report.text import file_name, number, span

_COLUMNS = {
    "best": "best m", "random": "any m", "all": "all K", "best_minus_random": "best m − any m",
    "best_minus_all": "best m − all K",
}  # fmt: skip


def table(task: ReportedTask) -> Table | None:
    """Votes of the best m members, of any m, and of all; None where nothing was selected."""
    rows: list[list[Cell]] = []
    records: list[Row] = []
    for arm, found in _selected(task):
        cells = [measured(found[name], percent=True, signed="minus" in name) for name in _COLUMNS]
        rows.append([Cell(arm), Cell(f"{found['m']} of {task.calls(arm)}"), *cells])
        records += [
            {"task": task.name, "arm": arm, "m": found["m"], "figure": name, **found[name]}
            for name in _COLUMNS
        ]
    columns = ("arm", "m of K", *_COLUMNS.values())
    return Table(file_name("selection", task.name), columns, rows, records) if rows else None


def sentences(task: ReportedTask) -> list[str]:
    """What the table shows, in a sentence for each selection."""
    return [_sentence(arm, found) for arm, found in _selected(task)]


def _selected(task: ReportedTask) -> list[tuple[str, Any]]:
    return [
        (arm, found)
        for arm, numbers in task.numbers["arms"].items()
        for found in (numbers.get("selection") or {"of": []})["of"]
    ]


def _sentence(arm: str, found: Any) -> str:
    m, gap = found["m"], found["best_minus_random"]
    who = f"{arm}: the best member" if m == 1 else f"{arm}: the best {m} members"
    rival = "a random one" if m == 1 else f"{m} random ones"
    size = number(abs(gap["estimate"]), percent=True).rstrip("%")
    side = "above" if gap["estimate"] > 0 else "below"
    said = f"{size} points {side} {rival}" if float(size) else f"level with {rival}"
    said = f"{who} on other questions {'is' if m == 1 else 'are'} {said}"
    if gap["low"] is None:
        return f"{said}; the questions give no interval."
    clear = gap["low"] > 0 or gap["high"] < 0
    ends = span(gap, percent=True, signed=True)
    return f"{said} ({ends}){'' if clear else ': no evidence that members differ'}."
