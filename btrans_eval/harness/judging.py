"""One judge of equal answers for the whole process: its workers are started once."""

from __future__ import annotations

import atexit
import functools
from collections.abc import Sequence

from btrans_eval.answers.equivalence import Judge, classes
from btrans_eval.harness import notes


@functools.lru_cache(maxsize=1)
def shared_judge() -> Judge:
    """The judge of this process; its workers start when the first pair needs them."""
    judge = Judge()
    atexit.register(judge.close)
    return judge


def label(answers: Sequence[str | None], kind: str) -> list[int | None]:
    """Class of each answer of a question; None where it is invalid."""
    found = classes(answers, kind, shared_judge())
    notes.add("class_splits", found.splits)
    _note_undecided()
    return found.labels


def correct(answers: Sequence[str | None], gold: str, kind: str) -> list[float]:
    """1.0 for each answer that equals the gold answer; an undecided pair is wrong."""
    distinct = list(dict.fromkeys(answer for answer in answers if answer is not None))
    verdicts = shared_judge().equal_pairs([(answer, gold, kind) for answer in distinct])
    _note_undecided()
    right = {answer for answer, equal in zip(distinct, verdicts, strict=True) if equal}
    return [1.0 if answer in right else 0.0 for answer in answers]


def _note_undecided() -> None:
    judge = shared_judge()
    notes.note("undecided_pairs", judge.undecided)
    if judge.examples:
        notes.note("undecided_examples", judge.examples)
