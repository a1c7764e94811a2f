"""Tables of how alike responses are: within and between arms, and over their length."""

from __future__ import annotations

from btrans_eval.report.study import ReportedTask
from btrans_eval.report.tables import Cell, Row, Table, measured
from btrans_eval.report.text import file_name
from btrans_eval.scores.quarters import QUARTERS

_PLACES = range(1, QUARTERS + 1)
_OVER_LENGTH = {"repetition": "repeated", "distinct_1": "distinct words", "distinct_2": "pairs"}


def note(task: ReportedTask) -> str:
    """What the table shows and with which encoder, or why there is none; empty where not asked."""
    found = task.numbers.get("similarity")
    if found is None:
        return ""
    if "left_out" in found:
        return f"Left out: {found['left_out']}."
    return (
        "Mean cosine similarity of the embeddings of responses to one prompt: within an arm over "
        "its pairs of responses, between two arms over all pairs of one's with the other's. 1: all "
        f"alike. Encoder {found['encoder']}, which reads the first {found['max_length']} tokens; "
        "numbers of another encoder are not comparable."
    )


def table(task: ReportedTask) -> Table | None:
    """Arms by arms; None where nothing was embedded."""
    pairs = task.numbers.get("similarity", {}).get("pairs", [])
    if not pairs:
        return None
    arms = list(task.numbers["arms"])
    found = {frozenset((pair["a"], pair["b"])): pair for pair in pairs}
    rows = [
        [Cell(arm)] + [measured(found.get(frozenset((arm, other))), False) for other in arms]
        for arm in arms
    ]
    records: list[Row] = [{"task": task.name, **pair} for pair in pairs]
    return Table(file_name("similarity", task.name), ("arm", *arms), rows, records)


def over_length(task: ReportedTask) -> Table | None:
    """Arms by quarters of their responses; None where quarters were not counted."""
    arms = list(task.numbers["arms"])
    names = [f"{measure}_q{place}" for measure in _OVER_LENGTH for place in _PLACES]
    if not any(name in task.metrics(arm) for arm in arms for name in names):
        return None
    rows = [
        [Cell(arm)] + [measured(task.metrics(arm).get(name), percent=True) for name in names]
        for arm in arms
    ]
    heads = [f"{words}, quarter {place}" for words in _OVER_LENGTH.values() for place in _PLACES]
    records: list[Row] = [
        {"task": task.name, "arm": arm, "metric": name, **task.metrics(arm)[name]}
        for arm in arms
        for name in names
        if name in task.metrics(arm)
    ]
    return Table(file_name("length", task.name), ("arm", *heads), rows, records)
