"""How sure an arm's votes are, and whether they are right where they are sure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from btrans_eval.compare.columns import Floats
from btrans_eval.results import AnsweredQuestion
from btrans_eval.scores import uncertainty
from btrans_eval.scores.estimators import maj_at_k

RANKING = ("auroc", "auprc", "aurc", "rejection_ratio", "accuracy@50", "accuracy@80", "accuracy@90")
"""Figures that take nothing but the order of confidences: all that entropy has."""
COMPARED = ("brier", "squared_error", "auroc", "aurc", "accuracy@80")
"""Figures of which the difference of two arms is told."""
BIASED = ("calibration", "refinement", "squared_error")
"""Figures that are larger, or smaller, in draws of the questions than in the questions."""
UNBOUNDED = ("ece", "ece_20")
"""Figures that are so far off in draws that no interval is told."""


class Votes(NamedTuple):
    """The votes of an arm, shapes (questions,): confidences by kind, and what they earn."""

    share: Floats
    of_valid: Floats
    certainty: Floats
    credit: Floats


def votes_of(questions: Sequence[AnsweredQuestion]) -> Votes:
    """Confidence of each question's vote, and its expected credit under ties, as in maj@K."""
    rows = []
    for question in questions:
        labels = [one.label for one in question.responses]
        scores = [float(one.score or 0.0) for one in question.responses]
        rows.append((*uncertainty.confidence(labels), maj_at_k(labels, scores, len(labels))))
    return Votes(*np.array(rows, dtype=np.float64).T)


def of_arm(votes: Votes) -> dict[str, Any]:
    """Every figure by kind of confidence, with intervals over questions, and two curves."""
    kinds = {}
    for kind, names in (("share", None), ("of_valid", None), ("certainty", RANKING)):
        values = getattr(votes, kind)
        found = uncertainty.figures(values, votes.credit)
        drawn = uncertainty.resampled(values, votes.credit)
        kinds[kind] = {
            name: _told("estimate", name, found[name], drawn[name])
            for name in (names or tuple(found))
        }
    return {
        "figures": kinds,
        "reliability": _reliability(votes),
        "risk_coverage": uncertainty.risk_coverage(votes.share, votes.credit).tolist(),
    }


def of_pair(a: Votes, b: Votes) -> list[dict[str, Any]]:
    """Differences of two arms' figures, a minus b, paired over questions."""
    found = uncertainty.figures(*_shares(a)), uncertainty.figures(*_shares(b))
    drawn = uncertainty.resampled(*_shares(a)), uncertainty.resampled(*_shares(b))
    rows = []
    for name in COMPARED:
        one, other = found[0][name], found[1][name]
        gap = None if one is None or other is None else one - other
        apart = drawn[0][name] - drawn[1][name]
        rows.append({"figure": name, **_told("difference", name, gap, apart)})
    return rows


def _shares(votes: Votes) -> tuple[Floats, Floats]:
    return votes.share, votes.credit


def _told(what: str, name: str, value: float | None, drawn: Floats) -> dict[str, float | None]:
    """A figure, or a difference of two, with the ends of its interval."""
    ends = uncertainty.interval(value, drawn, centred=name in BIASED)
    low, high = (None, None) if name in UNBOUNDED else ends
    return {what: value, "low": low, "high": high}


def _reliability(votes: Votes) -> list[dict[str, float]]:
    """By distinct share of votes, the share of questions that are right, and how many there are."""
    points = []
    for share in np.unique(votes.share):
        credit = votes.credit[votes.share == share]
        points.append(
            {"share": float(share), "right": float(credit.mean()), "questions": len(credit)}
        )
    return points
