"""The vote weighted by log-probability, beside the plain vote of the same responses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from btrans_eval.compare.columns import Floats, as_dict
from btrans_eval.compare.pairs import paired
from btrans_eval.results import AnsweredQuestion
from btrans_eval.scores import intervals
from btrans_eval.scores.weighted import weighted_vote

LABEL = "exploratory"
"""No primary test is of it: the plain vote was decided on before it."""


def of_arm(questions: Sequence[AnsweredQuestion], plain: Floats) -> dict[str, Any]:
    """The weighted vote at k = K, and what it is above the plain vote, paired over questions.

    Args:
        questions: of an arm that votes.
        plain: maj@K of each, shape (questions,).
    """
    answers = [one for each in questions for one in each.responses if one.label is not None]
    lacking = sum(one.mean_logprob is None for one in answers)
    found: dict[str, Any] = {
        "label": LABEL,
        "k": len(questions[0].responses),
        "answers": len(answers),
        "lacking": lacking,
        "reason": _reason(lacking, len(answers)) if lacking else None,
        "estimate": None,
        "against_plain": None,
    }
    if lacking:
        return found
    values = np.array([_vote(question) for question in questions], dtype=np.float64)
    gap = paired(values, plain)
    return {
        **found,
        **as_dict(intervals.mean_interval(values, rate=True)),
        "against_plain": {name: gap[name] for name in ("difference", "low", "high", "method", "p")},
    }


def _vote(question: AnsweredQuestion) -> float:
    labels = [one.label for one in question.responses]
    scores = [float(one.score or 0.0) for one in question.responses]
    return weighted_vote(labels, scores, [one.mean_logprob for one in question.responses])


def _reason(lacking: int, answers: int) -> str:
    return (
        f"{lacking} of {answers} answers have no log-probability: their responses were stored or "
        "logged before one was kept, or come from a way of generating that has none"
    )
