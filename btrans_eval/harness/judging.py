"""One judge of equal answers for the whole process: its workers are started once."""

from __future__ import annotations

import atexit
import functools
from collections.abc import Sequence
from importlib.metadata import version

from btrans_eval import __version__
from btrans_eval.answers.equivalence import Judge, classes
from btrans_eval.answers.extract import ANSWERS_SCHEME
from btrans_eval.harness import notes
from btrans_eval.store.store import Store


def keep_verdicts(store: Store) -> None:
    """From now on, verdicts are kept in a store and taken from it."""
    release = version("math-verify")
    scheme = f"answers {ANSWERS_SCHEME}, btrans-eval {__version__}, math-verify {release}"
    shared_judge().verdicts = store.verdicts(scheme)


@functools.lru_cache(maxsize=1)
def shared_judge() -> Judge:
    """The judge of this process; its workers start when the first pair needs them."""
    judge = Judge()
    atexit.register(judge.close)
    return judge


def forget() -> None:
    """Count undecided pairs from 0 again, for another run."""
    shared_judge().forget()


def label(answers: Sequence[str | None], kind: str, is_counted: bool = True) -> list[int | None]:
    """Class of each answer of a question; None where it is invalid.

    Args:
        is_counted: whether its splits are; not where the same answers are labelled again.
    """
    found = classes(answers, kind, shared_judge())
    if is_counted:
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
