"""Equality of answers in a run: classes and scores, and what is told of them in the results."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from importlib.metadata import version

from btrans_eval import __version__
from btrans_eval.answers.equivalence import Judge, Key, classes
from btrans_eval.answers.extract import ANSWERS_SCHEME
from btrans_eval.answers.tolerance import is_near
from btrans_eval.harness import record
from btrans_eval.store.store import Store


def judge_with(store: Store | None) -> Judge:
    """A judge whose verdicts are kept in a store and taken from it, if there is one."""
    verdicts: MutableMapping[Key, bool | None] | None = None
    if store is not None:
        release = version("math-verify")
        verdicts = store.verdicts(
            f"answers {ANSWERS_SCHEME}, btrans-eval {__version__}, math-verify {release}"
        )
    return Judge(verdicts, record.current().judge.pool)


def label(
    answers: Sequence[str | None], kind: str, is_counted: bool = True, judge: Judge | None = None
) -> list[int | None]:
    """Class of each answer of a question; None where it is invalid.

    Args:
        is_counted: whether its splits are; not where the same answers are labelled again.
        judge: who compares them; None: the run's.
    """
    run = record.current()
    found = classes(answers, kind, judge or run.judge)
    if is_counted:
        run.add("class_splits", found.splits)
    _note_undecided(run, judge or run.judge)
    return found.labels


def correct(
    answers: Sequence[str | None], gold: str, kind: str, tolerance: float | None = None
) -> list[float]:
    """1.0 for each answer that equals the gold answer; an undecided pair is wrong.

    Args:
        tolerance: within which a measured number is right, too; None: none is.
    """
    run = record.current()
    distinct = list(dict.fromkeys(answer for answer in answers if answer is not None))
    verdicts = run.judge.equal_pairs([(answer, gold, kind) for answer in distinct])
    _note_undecided(run, run.judge)
    right = {answer for answer, equal in zip(distinct, verdicts, strict=True) if equal}
    if tolerance is not None:
        right |= {answer for answer in distinct if is_near(answer, gold, tolerance)}
    return [1.0 if answer in right else 0.0 for answer in answers]


def _note_undecided(run: record.Record, judge: Judge) -> None:
    run.note("undecided_pairs", judge.undecided)
    if judge.examples:
        run.note("undecided_examples", judge.examples)
