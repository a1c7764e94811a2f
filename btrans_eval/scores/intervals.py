"""Confidence intervals over questions: one arm's mean, the mean difference of two arms.

They hold for the members drawn: a question's K responses are one observation. The two-way
intervals hold for fresh members too. Nothing draws from a global generator; the same seed gives
the same bytes under one numpy release.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri, stdtrit

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
from btrans_eval.scores.rows import check_whole

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
    scores: ArrayLike,
    seed: int = 0,
    draws: int = 10_000,
    confidence: float = 0.95,
    rate: bool | None = None,
) -> Interval:
    """Interval of mean@K for fresh questions and fresh members: both resampled, independently.

    Percentiles of the pigeonhole bootstrap (Owen 2007, doi 10.1214/07-AOAS122), u' S v / (n K)
    with multinomial counts u of the questions and v of the members; BCa's acceleration is not
    defined for two crossed samples. It counts a response's noise about three times, so it is wide
    where members hardly differ, and it is narrow where few members differ much
    (`benchmarks/coverage.py` has figures).
    All scores equal: `mean_interval` of the questions' means.

    Args:
        scores: shape (questions, members), both >= 2; column j is one member throughout.
        seed: of numpy's Philox, >= 0.
        draws: number of resamples, >= 100.
        confidence: in (0, 0.999].
        rate: whether the metric is a share in [0, 1]; None: whether these values are.

    Raises:
        UserError: on NaN or infinity, another shape, or a rate outside [0, 1].
    """
    table = per_member(scores)
    _check_draws(seed, draws, confidence)
    rates = are_rates(table, rate)
    if np.ptp(table) < SAME:
        return mean_interval(table.mean(axis=1), confidence, rates)
    generator, width = _generator(seed), table.shape[1]
    members = _counts(generator.integers(0, width, (draws, width)))
    resampled = _two_way_sums(table, [members], generator) / table.size
    return Interval(mean(table), *_percentiles(resampled, confidence), "two-way")


def two_way_paired_interval(
    a: ArrayLike,
    b: ArrayLike,
    shared_members: bool,
    seed: int = 0,
    draws: int = 10_000,
    confidence: float = 0.95,
    rate: bool | None = None,
) -> Interval:
    """Interval of the difference of two arms' mean@K for fresh questions and fresh members.

    `two_way_interval` with the questions resampled in common. Members are resampled in common
    where column j is the same member in both arms, else for each arm by itself; then every
    resample of the questions serves twice, the arms' members swapped, so that swapping the arms
    flips the interval. No spread at all: `paired_interval` of the questions' means.

    Args:
        a, b: one shape (questions, members), both >= 2, the same questions in the same order.
        shared_members: whether column j is the same member in both arms.
        seed: of numpy's Philox, >= 0.
        draws: number of resamples, >= 100; rounded up to even where members are not shared.
        confidence: in (0, 0.999].
        rate: whether the metric is a share in [0, 1]; None: whether these values are.

    Raises:
        UserError: on NaN or infinity, other or unequal shapes, or a rate outside [0, 1].
    """
    one, other = per_member(a, "a"), per_member(b, "b")
    same_shape(one, other)
    _check_draws(seed, draws, confidence)
    rates = are_rates(np.stack([one, other]), rate)
    generator, width = _generator(seed), one.shape[1]
    if shared_members:
        members = _counts(generator.integers(0, width, (draws, width)))
        sums = _two_way_sums(one - other, [members], generator)
    else:
        twice = _counts(generator.integers(0, width, (2 * ((draws + 1) // 2), width)))
        first, second = twice[::2], twice[1::2]
        weights = [np.hstack([first, second]), np.hstack([second, first])]
        sums = _two_way_sums(np.hstack([one, -other]), weights, generator)
    resampled = sums / one.size
    if np.ptp(resampled) < SAME:
        means = one.mean(axis=1), other.mean(axis=1)
        return paired_interval(*means, seed, draws, confidence, rates)
    ends = _percentiles(resampled, confidence)
    return Interval(mean(one) - mean(other), *ends, "two-way")


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


def _percentiles(resampled: Floats, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2]).tolist()
    return low, high


def _generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def _questions(generator: np.random.Generator, n: int, draws: int) -> Iterator[Ints]:
    """Draws of n of n questions with replacement, by chunks of shape (some draws, n)."""
    rows = max(CELLS // n, 1)
    for start in range(0, draws, rows):
        yield generator.integers(0, n, (min(rows, draws - start), n))


def _counts(drawn: Ints) -> Ints:
    """How often each of 0 ... n - 1 was drawn, for each row of n draws; same shape."""
    rows, n = drawn.shape
    places = drawn + n * np.arange(rows)[:, None]
    return np.bincount(places.ravel(), minlength=rows * n).reshape(rows, n)


def _two_way_sums(table: Floats, weights: list[Ints], generator: np.random.Generator) -> Floats:
    """u' table v: a fresh u for each row v of the weights, the same u's for each weights."""
    sums: list[list[Floats]] = [[] for _ in weights]
    start = 0
    for drawn in _questions(generator, len(table), len(weights[0])):
        members = _counts(drawn) @ table
        for own, weight in zip(sums, weights, strict=True):
            own.append((members * weight[start : start + len(drawn)]).sum(axis=1))
        start += len(drawn)
    return np.concatenate([part for own in sums for part in own])


def _check_draws(seed: int, draws: int, confidence: float) -> None:
    check_whole("seed", seed, 0)
    check_whole("draws", draws, 100)
    check_confidence(confidence)
