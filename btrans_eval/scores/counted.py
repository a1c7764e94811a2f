"""Figures of confidence over many draws of the questions at once: `uncertainty` says what they are.

Questions that are equally confident are counted together, since no figure tells them apart.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from btrans_eval.scores.questions import SAME
from btrans_eval.scores.rows import check_integer

Floats = NDArray[np.float64]

BINS = 20
"""Of equal width in the expected calibration error, as lm-polygraph 0.7 has them."""
COVERAGES = (0.5, 0.8, 0.9)


class Counted(NamedTuple):
    """Questions by their confidence: all that any figure depends on.

    ``values`` (groups,), rising; of each draw and group ``n`` questions, of which ``right`` are
    right, (draws, groups); ``tied`` is the sum of y (1 - y), (draws,).
    """

    values: Floats
    n: Floats
    right: Floats
    tied: Floats


def count(values: Floats, y: Floats, rows: NDArray[np.int64] | None = None) -> Counted:
    """Args: places of the questions of each draw, (draws, questions); None: all of them, once."""
    rows = np.arange(len(values))[None] if rows is None else rows
    distinct, group = np.unique(values, return_inverse=True)
    draws, groups = len(rows), len(distinct)
    cells = (group[rows] + groups * np.arange(draws)[:, None]).ravel()

    def total(weights: Floats | None) -> Floats:
        found = np.bincount(cells, weights, draws * groups).reshape(draws, groups)
        return found.astype(np.float64)

    credit = y[rows]
    return Counted(
        distinct, total(None), total(credit.ravel()), (credit * (1 - credit)).sum(axis=1)
    )


def figures(counted: Counted, best: Counted) -> dict[str, Floats]:
    calibration, refinement = brier(counted)
    return {
        "brier": calibration + refinement,
        "calibration": calibration,
        "refinement": refinement,
        "ece": ece(counted, None),
        f"ece_{BINS}": ece(counted, BINS),
        "squared_error": squared_error(counted, None)[0],
        "auroc": auroc(counted),
        "auprc": auprc(counted),
        "aurc": aurc(counted),
        "rejection_ratio": rejection(counted, best),
        **{
            f"accuracy@{round(100 * each)}": accuracy(counted, kept(each, counted))
            for each in COVERAGES
        },
    }


def brier(counted: Counted) -> tuple[Floats, Floats]:
    rate, whole = _over(counted.right, counted.n), counted.n.sum(axis=1)
    calibration = (counted.n * (counted.values - rate) ** 2).sum(axis=1) / whole
    return calibration, (counted.n * rate * (1 - rate)).sum(axis=1) / whole


def binned(counted: Counted, bins: int | None) -> tuple[Floats, Floats, Floats]:
    """Questions, mean confidence and share right of each bin, (draws, bins)."""
    n, right, sure = counted.n, counted.right, counted.n * counted.values
    if bins is not None:
        check_integer("bins", bins, 1)
        # each bin with its upper end, the first with 0, too; 3/20 in floats is not above 0.15
        own = np.maximum(np.ceil(np.round(counted.values * bins, 9)), 1.0)
        member = (own[:, None] == np.unique(own)).astype(np.float64)
        n, right, sure = n @ member, right @ member, sure @ member
    return n, _over(sure, n), _over(right, n)


def ece(counted: Counted, bins: int | None) -> Floats:
    n, sure, rate = binned(counted, bins)
    found: Floats = (n * np.abs(sure - rate)).sum(axis=1) / n.sum(axis=1)
    return found


def squared_error(counted: Counted, bins: int | None) -> tuple[Floats, Floats]:
    n, sure, rate = binned(counted, bins)
    n = np.where(n > 1, n, 0.0)
    found = (n * ((sure - rate) ** 2 - _over(rate * (1 - rate), n - 1))).sum(axis=1)
    whole = n.sum(axis=1)
    return _over(found, whole, np.nan), whole


def auroc(counted: Counted) -> Floats:
    right, wrong = counted.right, counted.n - counted.right
    below = wrong.cumsum(axis=1) - wrong
    won = (right * (below + wrong / 2)).sum(axis=1) - counted.tied / 2
    # a question makes no pair with itself
    pairs = right.sum(axis=1) * wrong.sum(axis=1) - counted.tied
    return _over(won, np.where(pairs > SAME, pairs, 0.0), np.nan)


def auprc(counted: Counted) -> Floats:
    n, right = counted.n[:, ::-1], counted.right[:, ::-1]
    precision = _over(right.cumsum(axis=1), n.cumsum(axis=1))
    return _over((right * precision).sum(axis=1), right.sum(axis=1), np.nan)


def _sure_first(counted: Counted) -> tuple[Floats, Floats, Floats, Floats]:
    """By falling confidence: questions before and after a group, wrong before it, share wrong."""
    n, wrong = counted.n[:, ::-1], (counted.n - counted.right)[:, ::-1]
    after = n.cumsum(axis=1)
    return after - n, after, wrong.cumsum(axis=1) - wrong, _over(wrong, n)


def aurc(counted: Counted) -> Floats:
    before, after, wrong, rate = _sure_first(counted)
    questions = int(after[0, -1])
    harmonic = np.concatenate([[0.0], (1 / np.arange(1, questions + 1)).cumsum()])
    # the sum over n in a group of (wrong + rate * (n - before)) / n
    logs = harmonic[after.astype(int)] - harmonic[before.astype(int)]
    found: Floats = (rate * (after - before) + (wrong - rate * before) * logs).sum(axis=1)
    return found / questions


def rejection(counted: Counted, best: Counted) -> Floats:
    """Args: questions by confidence, and by credit."""
    risk = 1 - counted.right.sum(axis=1) / counted.n.sum(axis=1)
    room = risk - aurc(best)
    return _over(risk - aurc(counted), np.where(room > SAME, room, 0.0), np.nan)


def accuracy(counted: Counted, kept: int) -> Floats:
    before, after, wrong, rate = _sure_first(counted)
    last = (after >= kept).argmax(axis=1)[:, None]  # the group that the last one kept is in
    at = [np.take_along_axis(each, last, axis=1)[:, 0] for each in (before, wrong, rate)]
    return 1 - (at[1] + at[2] * (kept - at[0])) / kept


def kept(coverage: float, counted: Counted) -> int:
    return ceil(coverage * int(counted.n[0].sum()) - 1e-9)


def _over(part: Floats, whole: Floats, otherwise: float = 0.0) -> Floats:
    """The quotient; where the whole is 0 or less, otherwise."""
    found: Floats = np.divide(part, whole, out=np.full(part.shape, otherwise), where=whole > 0)
    return found
