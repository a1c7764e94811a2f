"""``btrans-eval abstain``: which questions a vote would leave unanswered, and what that buys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from btrans_eval.compare.columns import have_votes
from btrans_eval.compare.confidence import votes_of
from btrans_eval.errors import UserError
from btrans_eval.report.study import ReportedTask, Study, read

KINDS = ("share", "of_valid", "certainty")


def lines(folder: Path, coverage: float, kind: str = "share", arm: str | None = None) -> list[str]:
    """A JSON line for each question of each arm that votes, and one that sums them up before.

    Answered are the ``coverage`` of the questions that are surest, rounded up; of those that are
    equally sure at the boundary the ones that come first.

    Args:
        folder: of a comparison.
        coverage: share of the questions to answer, above 0 and at most 1.
        kind: one of KINDS: share of votes, of the valid ones, or 1 less the answers' entropy.
        arm: its name; None: all that vote.

    Raises:
        UserError: if there is no such comparison or arm, or nothing votes.
    """
    if not 0 < coverage <= 1:
        raise UserError(
            f"coverage: must be above 0 and at most 1, got {coverage:g}; 0.8 answers four in five"
        )
    if kind not in KINDS:
        raise UserError(f"by: must be one of {', '.join(KINDS)}, got {kind}")
    study = read(folder)
    names = [each.name for each in study.arms]
    if arm is not None and arm not in names:
        raise UserError(f"arm: must be one of {', '.join(names)}, got {arm}")
    wanted = names if arm is None else [arm]
    found = [json.dumps(line, ensure_ascii=False) for line in _lines(study, coverage, kind, wanted)]
    if not found:
        raise UserError(
            "abstain: no arm has several responses with answers that vote; compare with --repeats"
        )
    return found


def _lines(study: Study, coverage: float, kind: str, arms: list[str]) -> Iterator[dict[str, Any]]:
    for task in study.tasks:
        everything = [one for of_arm in task.joined.arms.values() for one in of_arm]
        if have_votes(everything, task.joined.higher_is_better):
            for arm in arms:
                if task.calls(arm) > 1:
                    yield from _of_arm(task, arm, coverage, kind)


def _of_arm(task: ReportedTask, arm: str, coverage: float, kind: str) -> Iterator[dict[str, Any]]:
    questions = task.joined.arms[arm]
    votes = votes_of(questions)
    sure = getattr(votes, kind)
    kept = ceil(coverage * len(questions) - 1e-9)
    order = np.argsort(-sure, kind="stable")
    answered = np.zeros(len(questions), dtype=bool)
    answered[order[:kept]] = True
    boundary = sure[order[kept - 1]]
    yield {
        "task": task.name,
        "arm": arm,
        "by": kind,
        "questions": len(questions),
        "answered": kept,
        "right_of_all": float(votes.credit.mean()),
        "right_of_answered": float(votes.credit[answered].mean()),
        "least_sure_answered": float(boundary),
        "as_sure_and_not_answered": int(((sure == boundary) & ~answered).sum()),
    }
    for place in np.argsort(sure, kind="stable"):
        question = questions[place]
        yield {
            "task": task.name,
            "arm": arm,
            "doc_id": question.doc_id,
            "document": question.document,
            "answered": bool(answered[place]),
            **{each: float(getattr(votes, each)[place]) for each in KINDS},
            "right": float(votes.credit[place]),
        }
