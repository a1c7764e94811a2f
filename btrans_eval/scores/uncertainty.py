"""How sure a vote is, and whether it is right when it is sure: calibration and abstention.

All figures are over questions, of a confidence c in [0, 1] and a credit y in [0, 1]: the chance
that the answer is right. It is 0 or 1 but where a vote is tied, whose winner is drawn among the
tied classes; such a question counts as right with weight y and as wrong with weight 1 - y.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import fsum, log
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from btrans_eval.errors import UserError
from btrans_eval.scores import counted
from btrans_eval.scores.folds import DRAWS, resamples
from btrans_eval.scores.questions import per_question, same_shape
from btrans_eval.scores.rows import check_integer, class_sizes

Floats = NDArray[np.float64]

_CELLS = 1 << 20


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
    # in any order, and of partitions that are equally sure, the same bits: ties must be ties
    entropy = -fsum(sorted(share * log(share) for share in shares))
    certainty = round(1 - entropy / log(n), 12) if n > 1 else 1.0
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
    calibration, refinement = counted.brier(_counted(confidences, credits))
    return Brier(float(calibration[0] + refinement[0]), float(calibration[0]), float(refinement[0]))


def squared_errors(confidences: ArrayLike, credits: ArrayLike) -> Floats:
    """What each question adds to `brier`, which is their mean; same shapes and errors."""
    c, y = _checked(confidences, credits)
    found: Floats = y * (1 - c) ** 2 + (1 - y) * c**2
    return found


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
    return float(counted.ece(_counted(confidences, credits), bins)[0])


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
    values, counts = counted.squared_error(_counted(confidences, credits), bins)
    return SquaredError(_known(values), int(counts[0]))


def auroc(confidences: ArrayLike, credits: ArrayLike) -> float | None:
    """Chance that a right answer is more confident than a wrong one of another question.

    Equal confidences count half (Mann-Whitney). None where all are right, or all wrong: there is
    no such pair.
    """
    return _known(counted.auroc(_counted(confidences, credits)))


def auprc(confidences: ArrayLike, credits: ArrayLike) -> float | None:
    """Average precision of finding the right answers by confidence; None where none is right.

    Sum over thresholds of (recall - recall before) * precision, without interpolation.
    """
    return _known(counted.auprc(_counted(confidences, credits)))


def risk_coverage(confidences: ArrayLike, credits: ArrayLike) -> Floats:
    """Share wrong among the n most confident answers, for n = 1 to questions.

    El-Yaniv & Wiener 2010. Questions of equal confidence come in random order: the expectation.
    """
    whole = _counted(confidences, credits)
    questions = int(whole.n.sum())
    return np.array([1 - counted.accuracy(whole, n)[0] for n in range(1, questions + 1)])


def aurc(confidences: ArrayLike, credits: ArrayLike) -> float:
    """Mean of the `risk_coverage` curve (Geifman & El-Yaniv 2017); 0 is best."""
    return float(counted.aurc(_counted(confidences, credits))[0])


def rejection_ratio(confidences: ArrayLike, credits: ArrayLike) -> float | None:
    """Prediction rejection ratio: 1 if the wrong are rejected first, 0 if any are.

    (mean risk - AURC) / (mean risk - AURC of the right order), Malinin et al. 2017, over all
    coverages. None where all are right, or all wrong.
    """
    c, y = _checked(confidences, credits)
    return _known(counted.rejection(counted.count(c, y), counted.count(y, y)))


def accuracy_at(confidences: ArrayLike, credits: ArrayLike, coverage: float) -> float:
    """Share right among the most confident answers, ``coverage`` of all, rounded up."""
    if not 0 < coverage <= 1:
        raise UserError(f"coverage: must be above 0 and at most 1, got {coverage}")
    whole = _counted(confidences, credits)
    return float(counted.accuracy(whole, counted.kept(coverage, whole))[0])


def figures(confidences: ArrayLike, credits: ArrayLike) -> dict[str, float | None]:
    """All figures by name; None where one has no value."""
    c, y = _checked(confidences, credits)
    return {
        name: _known(values)
        for name, values in counted.figures(counted.count(c, y), counted.count(y, y)).items()
    }


def resampled(
    confidences: ArrayLike, credits: ArrayLike, draws: int = DRAWS, seed: int = 0
) -> dict[str, Floats]:
    """`figures` of questions drawn with replacement, by name, shape (draws,); NaN: there is none.

    The draws depend on the number of questions and the seed alone: those of two arms with the same
    questions in the same order are paired.

    Args:
        confidences, credits: shapes (questions,).
        draws: at least 100.
        seed: of numpy's Philox, at least 0.
    """
    c, y = _checked(confidences, credits)
    every = resamples(draws, len(c), seed)
    parts: list[dict[str, Floats]] = []
    at_once = max(_CELLS // len(c), 1)
    for start in range(0, draws, at_once):
        rows = every[start : start + at_once]
        parts.append(counted.figures(counted.count(c, y, rows), counted.count(y, y, rows)))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def ends(values: Floats, confidence: float = 0.95) -> tuple[float, float] | None:
    """Percentile interval of resampled values; None where a draw in twenty or more has none."""
    known = values[np.isfinite(values)]
    if len(known) * 20 <= len(values) * 19:
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(known, [tail, 1 - tail]).tolist()
    return low, high


def interval(
    value: float | None, drawn: Floats, centred: bool = False
) -> tuple[float | None, float | None]:
    """Ends of a figure's 95% interval, from its values in draws of the questions.

    None where the figure has no value, a draw in twenty or more has none, or no draw differs, which
    is no certainty.

    Args:
        value: of all questions.
        drawn: shape (draws,).
        centred: whether to leave out what drawing adds on average.
    """
    if value is None:
        return None, None
    if centred and np.isfinite(drawn).any():
        drawn = drawn - (np.nanmean(drawn) - value)
    low, high = ends(drawn) or (None, None)
    return (None, None) if low == high else (low, high)


def _counted(confidences: ArrayLike, credits: ArrayLike) -> counted.Counted:
    return counted.count(*_checked(confidences, credits))


def _known(values: Floats) -> float | None:
    return None if np.isnan(values[0]) else float(values[0])


def _checked(confidences: ArrayLike, credits: ArrayLike) -> tuple[Floats, Floats]:
    pair = per_question(confidences, "confidences"), per_question(credits, "credits")
    same_shape(*pair)
    for name, values in zip(("confidences", "credits"), pair, strict=True):
        if (outside := values[(values < 0) | (values > 1)]).size:
            raise UserError(f"{name}: must lie between 0 and 1, got {outside[0]}")
    return pair
