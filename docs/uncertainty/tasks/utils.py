"""Rows of btrans_arithmetic and btrans_demo, changed by rule: distracted, or with choices."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from btrans_eval.tasks.btrans_arithmetic import utils as arithmetic
from btrans_eval.tasks.btrans_demo import utils as demo

SENTENCES = (
    "A bus has {} seats.",
    "There are {} trees in the park.",
    "The film begins at {}.",
    "Page {} is missing.",
    "It rained for {} days.",
)
"""One of them stands before a distracted question, with a number from 2 to 99."""
OFFSETS = (-10, -2, -1, 1, 2, 10)
"""Wrong choices are the right number and three of these."""


def _drawn(row: Mapping[str, Any], what: str) -> int:
    """A number that the row and what it is for decide."""
    return int.from_bytes(hashlib.sha256(f"{what} {row['id']}".encode()).digest()[:8])


def _distracted(row: dict[str, Any]) -> dict[str, Any]:
    sentence = SENTENCES[_drawn(row, "sentence") % len(SENTENCES)]
    number = 2 + _drawn(row, "number") % 98
    return {**row, "question": f"{sentence.format(number)} {row['question']}"}


def _with_choices(row: dict[str, Any]) -> dict[str, Any]:
    """Yes or no; or the right number and three others, in order of size."""
    answer = row["answer"]
    if answer in ("yes", "no"):
        return {**row, "choices": ["yes", "no"]}
    numbers = {int(answer)}
    for place in range(len(OFFSETS)):
        near = int(answer) + OFFSETS[(_drawn(row, "choices") + place) % len(OFFSETS)]
        if near > 0 and len(numbers) < 4:
            numbers.add(near)
    return {**row, "choices": [str(number) for number in sorted(numbers)]}


def _of(loaded: dict[str, Any], split: str, *changes: Any) -> dict[str, Any]:
    import datasets

    rows = [dict(row) for row in loaded[split]]
    for change in changes:
        rows = [change(row) for row in rows]
    return {"test": datasets.Dataset.from_list(rows)}


def train(**_: Any) -> dict[str, Any]:
    return _of(arithmetic.load(), "train")


def distracted(**_: Any) -> dict[str, Any]:
    return _of(arithmetic.load(), "test", _distracted)


def distracted_demo(**_: Any) -> dict[str, Any]:
    return _of(demo.load(), "test", _distracted)


def choices(**_: Any) -> dict[str, Any]:
    return _of(arithmetic.load(), "test", _with_choices)


def choices_of_train(**_: Any) -> dict[str, Any]:
    return _of(arithmetic.load(), "train", _with_choices)


def distracted_choices(**_: Any) -> dict[str, Any]:
    return _of(arithmetic.load(), "test", _distracted, _with_choices)


doc_to_text = arithmetic.doc_to_text
