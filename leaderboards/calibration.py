"""How sure an exported vote is: Brier score and calibration error, from the responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

from btrans_eval.compare.confidence import votes_of
from btrans_eval.leaderboards import refusals
from btrans_eval.leaderboards.numbers import CALIBRATION, Number
from btrans_eval.results import AnsweredQuestion
from btrans_eval.scores import counted, uncertainty
from btrans_eval.scores.folds import DRAWS

_METHOD = f"percentiles of {DRAWS:,} draws"


def calibration_of(
    what: str, entry: Mapping[str, Any], questions: Sequence[AnsweredQuestion]
) -> dict[str, Number]:
    """The numbers of an arm's vote by kind; none where its answers do not vote.

    Args:
        what: task and arm, for errors.
        entry: the arm's in comparison.json.
        questions: with all their responses.

    Raises:
        UserError: where comparison.json and the responses do not say the same.
    """
    if "confidence" not in entry:
        return {}
    recorded = entry["confidence"]["figures"]["share"]
    votes = votes_of(questions)
    c, y = votes.share, votes.credit
    deviation = float(uncertainty.squared_errors(c, y).std(ddof=1)) if len(c) > 1 else None
    found = {}
    for kind, value in {
        "brier": uncertainty.brier(c, y).score,
        "ece": uncertainty.expected_calibration_error(c, y, counted.BINS),
    }.items():
        said = recorded[CALIBRATION[kind]]
        refusals.refuse_other(f"{what}, {CALIBRATION[kind]}", said, value)
        is_mean = kind == "brier"  # over questions: only a mean has an error over them
        found[kind] = Number(
            kind=kind,
            n=len(questions[0].responses),
            value=value,
            low=said["low"],
            high=said["high"],
            method=_METHOD,
            stderr=deviation / sqrt(len(c)) if is_mean and deviation is not None else None,
            deviation=deviation if is_mean else None,
            questions=len(c),
            bins=None if is_mean else counted.BINS,
        )
    return found
