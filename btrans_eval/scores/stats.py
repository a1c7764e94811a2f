"""Paired tests, Holm, and the figures that plan a study: all over per-question values."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr, ndtri

from btrans_eval.errors import UserError
from btrans_eval.scores.questions import (
    SAME,
    Floats,
    check_confidence,
    differences,
    mean,
    per_member,
    per_question,
)
from btrans_eval.scores.rows import check_integer

EXACT_UP_TO = 20
CELLS = 1 << 20
"""Signs held at once: some 10 MB, whatever the number of questions and flips."""


class McNemar(NamedTuple):
    """Questions that only the one arm got right, and the two-sided p of McNemar's exact test."""

    only_a: int
    only_b: int
    p: float


class VarianceSplit(NamedTuple):
    """Variance of a question's responses, and of the questions; whether the latter was below 0."""

    within: float
    between: float
    cut: bool


class Spread(NamedTuple):
    """A metric over runs with fresh members; sd is None for a single run."""

    mean: float
    sd: float | None
    low: float
    high: float
    seeds: int


def permutation_test(a: ArrayLike, b: ArrayLike, seed: int = 0, flips: int = 100_000) -> float:
    """Two-sided p of the sign-flip test of mean(a - b) = 0, statistic |mean difference|.

    Up to 20 non-zero differences the share of all 2^m signs whose statistic is at least the
    observed one; beyond, (count + 1) / (flips + 1) over random signs (Phipson & Smyth 2010). Ties
    count, up to rounding. Differences within 1e-12 of 0 are 0; all of them: 1.0. The same p for
    swapped arms and in any order of the questions. The null is that the two scores of a question
    could be exchanged.

    Args:
        a, b: the arms' values on the same questions in the same order, shape (questions,).
        seed: of numpy's Philox, >= 0.
        flips: number of random sign vectors, >= 1.

    Raises:
        UserError: on no value, NaN or infinity, or unequal lengths.
    """
    gaps = differences(a, b)
    check_integer("seed", seed, 0)
    check_integer("flips", flips, 1)
    sizes = np.sort(np.abs(gaps[gaps != 0]))
    if not len(sizes):
        return 1.0
    total = sizes.sum()
    reached = abs(gaps.sum()) - 1e-10 * total
    if len(sizes) <= EXACT_UP_TO:
        return float((np.abs(2 * _subset_sums(sizes) - total) >= reached).mean())
    generator = np.random.Generator(np.random.Philox(seed))
    count, width = 0, (len(sizes) + 7) // 8
    rows = max(CELLS // len(sizes), 1)
    for start in range(0, flips, rows):
        coins = np.frombuffer(generator.bytes(min(rows, flips - start) * width), dtype=np.uint8)
        heads = np.unpackbits(coins.reshape(-1, width), axis=1, count=len(sizes))
        count += int((np.abs(2 * (heads @ sizes) - total) >= reached).sum())
    return (count + 1) / (flips + 1)


def mcnemar_exact(a: ArrayLike, b: ArrayLike) -> McNemar:
    """McNemar's exact test for 0/1 scores: two-sided binomial p of the unlike pairs, at 1/2.

    min(1, 2 P(X <= min(only_a, only_b))), X ~ Binomial(only_a + only_b, 1/2); no unlike pair: 1.0.
    It is the sign-flip test of such scores, exact for any number of questions.

    Raises:
        UserError: on no value, unequal lengths, or a score that is not 0 or 1.
    """
    gaps = differences(a, b)
    for name, scores in (("a", per_question(a)), ("b", per_question(b))):
        if len(other := scores[~np.isin(scores, (0.0, 1.0))]):
            raise UserError(f"McNemar's test takes scores 0 and 1, got {other[0]} in {name}")
    only_a, only_b = int((gaps > 0).sum()), int((gaps < 0).sum())
    tail = float(bdtr(min(only_a, only_b), only_a + only_b, 0.5))
    return McNemar(only_a, only_b, min(1.0, 2 * tail))


def holm(p_values: ArrayLike) -> Floats:
    """Holm's adjusted p values, in the order given, shape (tests,) (Holm 1979).

    The i-th smallest of m (from 0) times m - i, at least those before it, at most 1: rejecting
    those <= alpha keeps the chance of any false rejection <= alpha, however the tests depend.
    UserError on no value or one outside [0, 1].
    """
    given = per_question(p_values, "p_values")
    if ((given < 0) | (given > 1)).any():
        raise UserError(f"p_values must lie between 0 and 1, got {given.tolist()}")
    order = np.argsort(given, kind="stable")
    steps = given[order] * np.arange(len(given), 0, -1)
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def variance_split(scores: ArrayLike) -> VarianceSplit:
    """Variance within questions and between them, from shape (questions, members), both >= 2.

    within = mean of the questions' s^2 (divisor members - 1); between = variance of their means
    (divisor questions - 1) - within / members, unbiased; where that is below 0 it is cut at 0 and
    ``cut`` says so. UserError on NaN or infinity, or another shape.
    """
    table = per_member(scores)
    within = mean(table.var(axis=1, ddof=1))
    between = float(table.mean(axis=1).var(ddof=1)) - within / table.shape[1]
    return VarianceSplit(within, max(between, 0.0), between < 0)


def questions_needed(
    a: ArrayLike, b: ArrayLike, power: float = 0.8, confidence: float = 0.95
) -> int | None:
    """Questions that a new study needs to find the difference seen, two-sided. Planning only.

    ((z of confidence + z of power) sd(a - b) / |mean(a - b)|)^2 rounded up, at least 1: the
    normal approximation, taking the difference seen as the true one. It says nothing about the
    study at hand (Hoenig & Heisey 2001). None where there is no such number: no mean difference,
    or a single question. UserError on no value, NaN or infinity, or unequal lengths.
    """
    gaps = differences(a, b)
    check_confidence(confidence)
    if not 0.5 <= power < 1:
        raise UserError(f"power must be at least 0.5 and below 1, got {power}")
    gap = abs(mean(gaps))
    if gap < SAME or len(gaps) == 1:
        return None
    z = float(ndtri((1 + confidence) / 2) + ndtri(power))
    return max(ceil((z * float(gaps.std(ddof=1)) / gap) ** 2), 1)


def seed_spread(values: ArrayLike) -> Spread:
    """Spread of one metric over runs with different seeds, shape (seeds,); sd's divisor is S - 1.

    UserError on no value, NaN or infinity.
    """
    runs = per_question(values)
    sd = float(runs.std(ddof=1)) if len(runs) > 1 else None
    return Spread(mean(runs), sd, float(runs.min()), float(runs.max()), len(runs))


def _subset_sums(sizes: Floats) -> Floats:
    """Sums of all subsets, shape (2^m,)."""
    sums = np.zeros(1)
    for size in sizes:
        sums = np.concatenate([sums, sums + size])
    return sums
