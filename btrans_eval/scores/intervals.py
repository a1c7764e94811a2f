"""Confidence intervals over questions: one arm's mean, the mean difference of two arms.

They hold for the members drawn: a question's K responses are one observation. The two-way
intervals hold for fresh members too. The bootstrap draws from a generator of its own; the same
seed gives the same bytes under one numpy release.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri, stdtrit

from btrans_eval.errors import UserError
from btrans_eval.scores.questions import (
    SAME,
    Floats,
    are_rates,
    check_confidence,
    differences,
    mean,
    per_member,
    per_question,
    same_shape,
)
from btrans_eval.scores.rows import check_integer

Ints = NDArray[np.int64]

CELLS = 1 << 20
"""Resampled values held at once: some 25 MB, whatever the number of questions and draws."""


class Interval(NamedTuple):
    """A two-sided interval around an estimate, and the method that gave its ends.

    ``wilson``, ``t``, ``bca`` and ``two-way`` are in full in the functions. ``equal``: all values
    were equal, and what could still differ is bounded; ``no spread``: they were, and scores
    without a range have no such bound, so the interval has no width and shows no certainty;
    ``one question``: one such score, so the ends are infinite.
    """

    estimate: float
    low: float
    high: float
    method: str


def mean_interval(
    values: ArrayLike, confidence: float = 0.95, rate: bool | None = None
) -> Interval:
    """Interval of the mean over questions.

    Wilson's score interval for 0/1 scores (Wilson 1927); else Student's t, cut to [0, 1] for
    rates. Rates that are all equal, or a single one, take Wilson's with n times their mean as the
    number of successes: a score in [0, 1] varies no more than a 0/1 score of the same mean.

    Args:
        values: one per question, shape (questions,).
        confidence: in (0, 0.999].
        rate: whether the metric is a share in [0, 1]; None: whether these values are. Say False
            for a length or a count, which may happen to be 1 everywhere.

    Raises:
        UserError: on no value, NaN or infinity, or a rate outside [0, 1].
    """
    scores = per_question(values)
    check_confidence(confidence)
    rates, n, center = are_rates(scores, rate), len(scores), mean(scores)
    if rates and (np.ptp(scores) < SAME or np.isin(scores, (0.0, 1.0)).all()):
        return Interval(center, *_wilson(center, n, confidence), "wilson")
    if n == 1:
        return Interval(center, -inf, inf, "one question")
    if np.ptp(scores) < SAME:
        return Interval(center, center, center, "no spread")
    half = float(stdtrit(n - 1, (1 + confidence) / 2) * scores.std(ddof=1)) / sqrt(n)
    low, high = (0.0, 1.0) if rates else (-inf, inf)
    return Interval(center, max(center - half, low), min(center + half, high), "t")


def paired_interval(
    a: ArrayLike,
    b: ArrayLike,
    seed: int = 0,
    draws: int = 10_000,
    confidence: float = 0.95,
    rate: bool | None = None,
) -> Interval:
    """BCa bootstrap interval of mean(a - b), questions resampled (Efron 1987; jackknife a).

    Differences within 1e-12 of 0 are 0. Swapping the arms flips the interval; another order of
    the questions resamples others (sort them by hash to get the same bytes). With few
    questions or rare successes it is narrow: `benchmarks/coverage.py` has figures.

    Where all differences are one c, the bootstrap knows nothing. For rates, let u be
    Clopper and Pearson's upper bound on the share of questions whose difference is another one,
    1 - ((1 - confidence) / 2)^(1/n) after none in n; these lie in [-1, 1], so the mean lies in
    [c - u(1 + c), c + u(1 - c)]. Other scores have no such bound: see `Interval`.

    Args:
        a, b: the arms' values on the same questions in the same order, shape (questions,).
        seed: of numpy's Philox, >= 0.
        draws: number of resamples, >= 100.
        confidence: in (0, 0.999].
        rate: whether the metric is a share in [0, 1]; None: whether these values are.

    Raises:
        UserError: on no value, NaN or infinity, unequal lengths, or a rate outside [0, 1].
    """
    gaps = differences(a, b)
    _check_draws(seed, draws, confidence)
    rates = are_rates(np.concatenate([per_question(a), per_question(b)]), rate)
    if np.ptp(gaps) < SAME:
        return _equal_differences(mean(gaps), len(gaps), confidence, rates)
    center = mean(gaps)
    resampled = np.concatenate(
        [gaps.take(rows).mean(axis=1) for rows in _questions(_generator(seed), len(gaps), draws)]
    )
    return Interval(center, *_bca(gaps, center, resampled, confidence), "bca")


def two_way_interval(
    scores: ArrayLike, confidence: float = 0.95, rate: bool | None = None
) -> Interval:
    """Interval of mean@K for fresh questions and fresh members.

    Student's t with two crossed random effects, from the analysis of variance (Searle, Casella
    and McCulloch 1992, section 4.2). Variance: that of the questions' means / questions, plus
    (MS members - MS rest) / (questions K) where that is above 0. Degrees of freedom: Satterthwaite
    (1946), at least 1. Rates are cut to [0, 1]. No spread: `mean_interval` of the questions' means.
    `benchmarks/coverage.py` has its coverage, beside that of questions alone.

    Args:
        scores: shape (questions, members), both >= 2; column j is one member throughout.
        confidence: in (0, 0.999].
        rate: whether the metric is a share in [0, 1]; None: whether these values are.

    Raises:
        UserError: on NaN or infinity, another shape, or a rate outside [0, 1].
    """
    table = per_member(scores)
    check_confidence(confidence)
    rates, means = are_rates(table, rate), table.mean(axis=1)
    half = _two_way_half(means, [table], confidence)
    if not half:
        return mean_interval(means, confidence, rates)
    low, high = (0.0, 1.0) if rates else (-inf, inf)
    center = mean(table)
    return Interval(center, max(center - half, low), min(center + half, high), "two-way")


def two_way_paired_interval(
    a: ArrayLike,
    b: ArrayLike,
    members: str,
    confidence: float = 0.95,
    rate: bool | None = None,
) -> Interval:
    """Interval of the difference of two arms' mean@K for fresh questions and fresh members.

    As `two_way_interval`, over the questions' differences, with the members' part of each arm
    that has members. No spread: `paired_interval` of the questions' means.

    Args:
        a, b: shapes (questions, members), both >= 2, the same questions in the same order.
        members: whose columns are members: ``a``, ``b``, ``each`` (other members in each arm) or
            ``shared`` (column j is the same member in both arms, of one shape). The columns of
            an arm without members are samples, drawn afresh for every question.
        confidence: in (0, 0.999].
        rate: whether the metric is a share in [0, 1]; None: whether these values are.

    Raises:
        UserError: on NaN or infinity, other shapes or members, or a rate outside [0, 1].
    """
    one, other = per_member(a, "a"), per_member(b, "b")
    check_confidence(confidence)
    if members == "shared":
        same_shape(one, other)
    means = one.mean(axis=1), other.mean(axis=1)
    gaps = differences(*means)
    tables = {"a": [one], "b": [other], "each": [one, other]}
    if members not in (*tables, "shared"):
        raise UserError(f"members must be a, b, each or shared, got {members!r}")
    of_members = [one - other] if members == "shared" else tables[members]
    half = _two_way_half(gaps, of_members, confidence)
    if not half:
        rates = are_rates(np.concatenate([one.ravel(), other.ravel()]), rate)
        return paired_interval(*means, confidence=confidence, rate=rates)
    center = mean(one) - mean(other)
    return Interval(center, center - half, center + half, "two-way")


def _two_way_half(values: Floats, tables: list[Floats], confidence: float) -> float:
    """Half the width: of the questions' values, and of each table of members; 0: no spread."""
    n = len(values)
    parts = [(float(values.var(ddof=1)) / n, n - 1)]
    for table in tables:
        k, means = table.shape[1], table.mean(axis=0)
        rest = table - table.mean(axis=1, keepdims=True) - means + table.mean()
        of_members = float(means.var(ddof=1)) / k
        of_rest = float((rest**2).sum()) / ((n - 1) * (k - 1)) / (n * k)
        if of_members > of_rest:
            parts += [(of_members, k - 1), (-of_rest, (n - 1) * (k - 1))]
    variance = sum(part for part, _ in parts)
    if variance < SAME**2:
        return 0.0
    freedom = max(variance**2 / sum(part**2 / df for part, df in parts), 1.0)
    return float(stdtrit(freedom, (1 + confidence) / 2)) * sqrt(variance)


def _wilson(share: float, n: int, confidence: float) -> tuple[float, float]:
    """Ends for a share of n; exactly 0 below 0 of n, and exactly 1 above n of n."""
    z2 = float(ndtri((1 + confidence) / 2)) ** 2
    center = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return center - half if share > 0 else 0.0, center + half if share < 1 else 1.0


def _equal_differences(gap: float, n: int, confidence: float, rates: bool) -> Interval:
    if rates:
        unlike = 1 - ((1 - confidence) / 2) ** (1 / n)
        low, high = gap - unlike * (1 + gap), gap + unlike * (1 - gap)
        return Interval(gap, low, high, "equal")
    if n == 1:
        return Interval(gap, -inf, inf, "one question")
    return Interval(gap, gap, gap, "no spread")


def _bca(gaps: Floats, center: float, resampled: Floats, confidence: float) -> tuple[float, float]:
    """Percentiles moved by bias z0 and acceleration (Efron 1987, eq. 2.3 and 6.6).

    Resampled means equal to the estimate count half, so that -gaps gives the flipped interval.
    """
    spread = gaps - center
    acceleration = (spread**3).sum() / (6 * (spread**2).sum() ** 1.5)  # at most 1/6
    tied = np.abs(resampled - center) < SAME * np.abs(gaps).max()
    below = ((resampled < center) & ~tied).mean() + tied.mean() / 2
    margin = 0.5 / len(resampled)
    bias = ndtri(min(max(below, margin), 1 - margin))
    tail = ndtri((1 + confidence) / 2)
    z = bias + np.array([-tail, tail])
    low, high = np.quantile(resampled, ndtr(bias + z / (1 - acceleration * z))).tolist()
    return low, high


def _generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def _questions(generator: np.random.Generator, n: int, draws: int) -> Iterator[Ints]:
    """Draws of n of n questions with replacement, by chunks of shape (some draws, n)."""
    rows = max(CELLS // n, 1)
    for start in range(0, draws, rows):
        yield generator.integers(0, n, (min(rows, draws - start), n))


def _check_draws(seed: int, draws: int, confidence: float) -> None:
    check_integer("seed", seed, 0)
    check_integer("draws", draws, 100)
    check_confidence(confidence)
