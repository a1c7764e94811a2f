"""What one arm says on one task: its columns, their intervals, its members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from btrans_eval.results import AnsweredQuestion
from btrans_eval.scores import intervals, stats
from btrans_eval.scores.quarters import QUARTERS
from btrans_eval.scores.summary import question_columns

Floats = NDArray[np.float64]

RECORDED = (
    "cosine_distance", "vendi", "distinct_1", "distinct_2", "mean_words", "mean_tokens",
    "truncated_rate", "similarity", "distinct_k", "utility_k", "meaning_entropy", "repetition",
    *(f"{name}_q{place}" for name in ("repetition", "distinct_1", "distinct_2")
      for place in range(1, QUARTERS + 1)),
)  # fmt: skip
SHARES = (
    "pass@", "best@", "maj@", "invalid_rate", "tie_rate", "truncated_rate", "cosine_distance",
    "distinct_1", "distinct_2", "vote_share", "vote_brier", "repetition",
)  # fmt: skip


def columns_of(
    question: AnsweredQuestion, votes: bool, binary: bool, higher_is_better: bool = True
) -> dict[str, float]:
    """The numbers of one question, from its responses and from what was recorded with them.

    Args:
        votes: whether its answers have classes that vote.
        binary: whether the task's scores are 0 or 1, 1 being right: pass@k, else best@k.
        higher_is_better: whether best@k is the expected maximum or minimum.
    """
    scores = [one.score for one in question.responses if one.score is not None]
    found: dict[str, float] = {}
    if scores and len(scores) == len(question.responses):
        labels = [one.label for one in question.responses] if votes else None
        found |= question_columns(scores, labels, higher_is_better, binary)
    recorded = question.columns if len(question.responses) > 1 else {}
    return found | {name: recorded[name] for name in RECORDED if name in recorded}


def have_votes(questions: Sequence[AnsweredQuestion], higher_is_better: bool) -> bool:
    """Whether a task's answers vote: some arm has one, and scores are shares of being right.

    An arm without any valid answer has a vote too, which is wrong throughout.
    """
    labelled = any(one.label is not None for each in questions for one in each.responses)
    return labelled and higher_is_better and are_shares(questions)


def table_of(
    questions: Sequence[AnsweredQuestion], votes: bool, binary: bool, higher_is_better: bool = True
) -> dict[str, Floats]:
    """The arm's columns, each of shape (questions,); only those that every question has."""
    votes = votes and len(questions[0].responses) > 1
    rows = [columns_of(question, votes, binary, higher_is_better) for question in questions]
    names = [name for name in rows[0] if all(name in row for row in rows)]
    return {name: np.array([row[name] for row in rows]) for name in names}


def are_shares(questions: Sequence[AnsweredQuestion]) -> bool:
    """Whether all scores are in [0, 1]."""
    scores = [one.score for question in questions for one in question.responses]
    return all(score is None or 0 <= score <= 1 for score in scores)


def arm_on_task(
    questions: Sequence[AnsweredQuestion], table: Mapping[str, Floats], has_members: bool
) -> dict[str, Any]:
    """Every number of an arm on a task; ``table`` holds its columns."""
    calls = len(questions[0].responses)
    scores = scores_of(questions)
    return {
        "calls": calls,
        "metrics": {name: _interval(name, values) for name, values in table.items()},
        "two_way": _two_way(questions, has_members),
        "variance": _variance(scores),
        "agreed": _agreed(questions) if f"maj@{calls}" in table and calls > 1 else None,
        "members": _members(questions) if scores is not None and calls > 1 else [],
    }


def _interval(name: str, values: Floats) -> dict[str, Any]:
    rate = (name == "mean" or name.startswith(SHARES)) and bool(
        np.all((values >= 0) & (values <= 1))
    )
    return as_dict(intervals.mean_interval(values, rate=rate))


def as_dict(interval: intervals.Interval) -> dict[str, Any]:
    """JSON has no infinity: an end that is not bounded is None."""
    found = interval._asdict()
    return {key: None if value in (np.inf, -np.inf) else value for key, value in found.items()}


def scores_of(questions: Sequence[AnsweredQuestion]) -> Floats | None:
    """Score of each response, shape (questions, K); None where some have none."""
    rows = [[one.score for one in question.responses] for question in questions]
    if any(score is None for row in rows for score in row):
        return None
    return np.array(rows, dtype=np.float64)


def scores_by_member(questions: Sequence[AnsweredQuestion]) -> Floats | None:
    """Mean score of each member, shape (questions, members), whose mean over members is mean@K.

    None where a response has no score, or where members have not one number of samples throughout.
    """
    scores = scores_of(questions)
    asked = [[one.member for one in question.responses] for question in questions]
    members, counts = np.unique(asked[0], return_counts=True)
    if scores is None or np.ptp(counts) or any(sorted(row) != sorted(asked[0]) for row in asked):
        return None
    order = np.argsort(asked, axis=1, kind="stable")
    samples = np.take_along_axis(scores, order, axis=1).reshape(len(questions), len(members), -1)
    means: Floats = samples.mean(axis=2)
    return means


def _two_way(questions: Sequence[AnsweredQuestion], has_members: bool) -> dict[str, Any] | None:
    scores = scores_by_member(questions) if has_members else None
    if scores is None or min(scores.shape) < 2:
        return None
    return as_dict(intervals.two_way_interval(scores))


def _variance(scores: Floats | None) -> dict[str, Any] | None:
    if scores is None or min(scores.shape) < 2:
        return None
    return stats.variance_split(scores)._asdict()


def _agreed(questions: Sequence[AnsweredQuestion]) -> float:
    """Share of questions whose winning answer has at least two votes, where answers vote."""
    decided = 0
    for question in questions:
        labels = [one.label for one in question.responses if one.label is not None]
        decided += bool(labels) and max(labels.count(label) for label in set(labels)) >= 2
    return decided / len(questions)


def _members(questions: Sequence[AnsweredQuestion]) -> list[dict[str, Any]]:
    """Accuracy of each member over all its responses."""
    by_member: dict[int, list[float]] = {}
    for question in questions:
        for one in question.responses:
            by_member.setdefault(one.member, []).append(float(one.score or 0.0))
    return [
        {"member": member, "mean": sum(scores) / len(scores), "responses": len(scores)}
        for member, scores in sorted(by_member.items())
    ]
