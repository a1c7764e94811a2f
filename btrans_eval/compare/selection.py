"""Whether some members are better than others, on questions that they were not chosen by.

Everything here is exploratory: no test of a comparison's primary family is among it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from btrans_eval.compare.columns import Floats
from btrans_eval.results import AnsweredQuestion
from btrans_eval.scores import selection, uncertainty
from btrans_eval.scores.folds import DRAWS, Ints, copies, folds, resamples


def sizes(members: int) -> list[int]:
    """How many members are selected: one, and half of them."""
    return sorted({1, max(members // 2, 1)})


def of_arm(
    documents: Sequence[str], questions: Sequence[AnsweredQuestion]
) -> dict[str, Any] | None:
    """Best m members, m random ones and all, with intervals and paired differences.

    None where members have not one response each to every question.

    Args:
        documents: names of the questions; what follows a # numbers copies of one.
        questions: in the same order, answered by members, with votes.
    """
    members = sorted(one.member for one in questions[0].responses)
    asked = [sorted(one.member for one in each.responses) for each in questions]
    if len(set(members)) < max(len(members), 2) or any(row != members for row in asked):
        return None
    fold = folds([name.partition("#")[0] for name in documents])
    if fold is None:
        why = "needs two different questions or more"
        return {"exploratory": True, "folds": None, "why": why, "of": []}
    ordered = [sorted(each.responses, key=lambda one: one.member) for each in questions]
    classes = [[one.label for one in row] for row in ordered]
    scores = [[float(one.score or 0.0) for one in row] for row in ordered]
    given = selection.answers(classes, scores)
    weights = copies(resamples(DRAWS, len(questions)))
    everyone = selection.anyone(classes, scores, len(members))
    return {
        "exploratory": True,
        "folds": int(fold.max()) + 1,
        "of": [
            _of_size(m, given, fold, weights, selection.anyone(classes, scores, m), everyone)
            for m in sizes(len(members))
        ],
    }


def _of_size(
    m: int, given: selection.Answers, fold: Ints, weights: Ints, anyone: Floats, everyone: Floats
) -> dict[str, Any]:
    once = np.ones((1, len(fold)), dtype=np.int64)
    best = [selection.selected(given, fold, m, each) for each in (once, weights)]
    some, whole = (
        [each @ credit / each.sum(axis=1) for each in (once, weights)]
        for credit in (anyone, everyone)
    )
    return {
        "m": m,
        "best": _told(*best),
        "random": _told(*some),
        "all": _told(*whole),
        "best_minus_random": _told(best[0] - some[0], best[1] - some[1]),
        "best_minus_all": _told(best[0] - whole[0], best[1] - whole[1]),
    }


def _told(value: Floats, drawn: Floats) -> dict[str, Any]:
    estimate = float(value[0])
    low, high = uncertainty.interval(estimate, drawn)
    return {"estimate": estimate, "low": low, "high": high}
