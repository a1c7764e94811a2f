"""How sure a vote is, and whether it is right when it is sure: calibration and abstention.

All figures are over questions, of a confidence c in [0, 1] and a credit y in [0, 1]: the chance
that the answer is right. It is 0 or 1 but where a vote is tied, whose winner is drawn among the
tied classes; such a question counts as right with weight y and as wrong with weight 1 - y.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import ceil, log
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from btrans_eval.errors import UserError
from btrans_eval.scores.questions import per_question, same_shape
from btrans_eval.scores.rows import check_integer, class_sizes

Floats = NDArray[np.float64]

BINS = 20
"""Of equal width in the expected calibration error, as lm-polygraph 0.7 has them."""
COVERAGES = (0.5, 0.8, 0.9)


class Confidence(NamedTuple):
    """How sure the vote over one question is.

    Attributes:
        share: votes of the largest class over all responses; 0 where no answer is valid.
        of_valid: the same over the valid answers; 0 where there is none.
        certainty: 1 - H / ln n, H the entropy of the answer classes in nats (discrete semantic
            entropy, Kuhn et al. 2023, arXiv 2302.09664, Farquhar et al. 2024), every invalid
            answer a class of its own, n responses; of one response 1, or 0 if it is invalid.
    """

    share: float
    of_valid: float
    certainty: float


def confidence(classes: Sequence[Hashable | None]) -> Confidence:
    """Of the classes of a question's answers, None where invalid; UserError if there is none."""
    check_integer("responses", len(classes), 1)
    sizes = list(class_sizes(classes).values())
    n, valid = len(classes), sum(sizes)
    if not valid:
        return Confidence(0.0, 0.0, 0.0)
    shares = [size / n for size in sizes] + [1 / n] * (n - valid)
    entropy = -sum(share * log(share) for share in shares)
    certainty = 1 - entropy / log(n) if n > 1 else 1.0
    return Confidence(max(sizes) / n, max(sizes) / valid, max(certainty, 0.0))


class Brier(NamedTuple):
    """Brier score and its parts over groups of equal confidence: score = calibration + refinement.

    ``calibration`` is 0 where each confidence is the share that is right; ``refinement`` where
    questions of one confidence are all right or all wrong (DeGroot & Fienberg 1983).
    """

    score: float
    calibration: float
    refinement: float


def brier(confidences: ArrayLike, credits: ArrayLike) -> Brier:
    """Mean of y (1 - c)^2 + (1 - y) c^2 (Brier 1950); shapes (questions,).

    Raises:
        UserError: on no question, unequal lengths, or a value outside [0, 1].
    """
    c, y = _checked(confidences, credits)
    calibration = refinement = 0.0
    for group in _groups(c):
        right = y[group].mean()
        calibration += len(group) * (c[group[0]] - right) ** 2
        refinement += len(group) * right * (1 - right)
    n = len(c)
    score = float((y * (1 - c) ** 2 + (1 - y) * c**2).mean())
    return Brier(score, float(calibration / n), float(refinement / n))


def expected_calibration_error(
    confidences: ArrayLike, credits: ArrayLike, bins: int | None = None
) -> float:
    """Mean distance of confidence and share right within bins, weighted by questions.

    Naeini et al. 2015, Guo et al. 2017 (arXiv 1706.04599). It is biased upward where bins hold
    few questions; `squared_calibration_error` is not.

    Args:
        confidences, credits: shapes (questions,).
        bins: of equal width on [0, 1], each with its upper end; None: one for each confidence.

    Raises:
        UserError: as `brier`.
    """
    c, y = _checked(confidences, credits)
    gaps = [len(g) * abs(c[g].mean() - y[g].mean()) for g in _binned(c, bins)]
    return float(sum(gaps) / len(c))


class SquaredError(NamedTuple):
    """Calibration error squared, without bias, over bins of at least two questions.

    ``questions`` counts those in them; ``value`` is None where there is none, and may be below 0.
    """

    value: float | None
    questions: int


def squared_calibration_error(
    confidences: ArrayLike, credits: ArrayLike, bins: int | None = None
) -> SquaredError:
    """Mean of (c - share right)^2 within bins, less what chance alone gives.

    (c - r)^2 - r (1 - r) / (m - 1) in a bin of m questions (Kumar, Liang & Ma 2019, arXiv
    1909.10155, section 5; Broecker 2012).

    Args: as `expected_calibration_error`.
    """
    c, y = _checked(confidences, credits)
    groups = [group for group in _binned(c, bins) if len(group) > 1]
    total = sum(map(len, groups))
    if not total:
        return SquaredError(None, 0)
    found = 0.0
    for group in groups:
        right, m = y[group].mean(), len(group)
        found += m * ((c[group].mean() - right) ** 2 - right * (1 - right) / (m - 1))
    return SquaredError(float(found / total), total)


def auroc(confidences: ArrayLike, credits: ArrayLike) -> float | None:
    """Chance that a right answer is more confident than a wrong one of another question.

    Equal confidences count half (Mann-Whitney). None where all are right, or all wrong: there is
    no such pair.
    """
    c, y = _checked(confidences, credits)
    right, wrong = y.sum(), (1 - y).sum()
    pairs = right * wrong - (y * (1 - y)).sum()  # not of a question with itself
    if pairs <= 0:
        return None
    found, below = -0.5 * float((y * (1 - y)).sum()), 0.0
    for group in _groups(c):
        r, w = y[group].sum(), (1 - y[group]).sum()
        found += r * (below + w / 2)
        below += w
    return float(found / pairs)


def auprc(confidences: ArrayLike, credits: ArrayLike) -> float | None:
    """Average precision of finding the right answers by confidence; None where none is right.

    Sum over thresholds of (recall - recall before) * precision, without interpolation.
    """
    c, y = _checked(confidences, credits)
    if not y.sum():
        return None
    found = taken = right = 0.0
    for group in reversed(_groups(c)):
        gained = y[group].sum()
        right, taken = right + gained, taken + len(group)
        found += gained * right / taken
    return float(found / y.sum())


def risk_coverage(confidences: ArrayLike, credits: ArrayLike) -> Floats:
    """Share wrong among the n most confident answers, for n = 1 to questions.

    El-Yaniv & Wiener 2010. Questions of equal confidence come in random order: the expectation.
    """
    c, y = _checked(confidences, credits)
    wrong: list[float] = []
    before = 0.0
    for group in reversed(_groups(c)):
        rate = float((1 - y[group]).mean())
        wrong += [before + rate * (place + 1) for place in range(len(group))]
        before = wrong[-1]
    return np.array(wrong) / np.arange(1, len(wrong) + 1)


def aurc(confidences: ArrayLike, credits: ArrayLike) -> float:
    """Mean of the `risk_coverage` curve (Geifman & El-Yaniv 2017); 0 is best."""
    return float(risk_coverage(confidences, credits).mean())


def rejection_ratio(confidences: ArrayLike, credits: ArrayLike) -> float | None:
    """Prediction rejection ratio: 1 if the wrong are rejected first, 0 if any are.

    (mean risk - AURC) / (mean risk - AURC of the right order), Malinin et al. 2017, over all
    coverages. None where all are right, or all wrong.
    """
    c, y = _checked(confidences, credits)
    risk = float((1 - y).mean())
    best = risk - aurc(y, y)
    return None if best <= 0 else (risk - aurc(c, y)) / best


def accuracy_at(confidences: ArrayLike, credits: ArrayLike, coverage: float) -> float:
    """Share right among the most confident answers, ``coverage`` of all, rounded up."""
    if not 0 < coverage <= 1:
        raise UserError(f"coverage: must be above 0 and at most 1, got {coverage}")
    curve = risk_coverage(confidences, credits)
    return float(1 - curve[ceil(coverage * len(curve) - 1e-9) - 1])


def figures(confidences: ArrayLike, credits: ArrayLike) -> dict[str, float | None]:
    """All figures by name; None where one has no value."""
    c, y = _checked(confidences, credits)
    parts = brier(c, y)
    return {
        "brier": parts.score,
        "calibration": parts.calibration,
        "refinement": parts.refinement,
        "ece": expected_calibration_error(c, y),
        f"ece_{BINS}": expected_calibration_error(c, y, BINS),
        "squared_error": squared_calibration_error(c, y).value,
        "auroc": auroc(c, y),
        "auprc": auprc(c, y),
        "aurc": aurc(c, y),
        "rejection_ratio": rejection_ratio(c, y),
        **{f"accuracy@{round(100 * each)}": accuracy_at(c, y, each) for each in COVERAGES},
    }


def _checked(confidences: ArrayLike, credits: ArrayLike) -> tuple[Floats, Floats]:
    pair = per_question(confidences, "confidences"), per_question(credits, "credits")
    same_shape(*pair)
    for name, values in zip(("confidences", "credits"), pair, strict=True):
        if (outside := values[(values < 0) | (values > 1)]).size:
            raise UserError(f"{name}: must lie between 0 and 1, got {outside[0]}")
    return pair


def _groups(values: Floats) -> list[NDArray[np.intp]]:
    """Places of equal values, by rising value."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.split(np.argsort(inverse, kind="stable"), np.cumsum(counts)[:-1])


def _binned(values: Floats, bins: int | None) -> list[NDArray[np.intp]]:
    if bins is None:
        return _groups(values)
    check_integer("bins", bins, 1)
    # each bin with its upper end, the first with 0, too; 3/20 in floats is not above 0.15
    return _groups(np.maximum(np.ceil(np.round(values * bins, 9)), 1.0))
