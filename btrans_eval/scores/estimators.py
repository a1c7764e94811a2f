"""What n responses to one question say about k of them: mean, pass@k, best@k, maj@k.

Expectations are over uniformly random k-subsets, computed, never sampled. Class None is invalid.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from math import comb, fsum
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from btrans_eval.errors import UserError
from btrans_eval.scores.rows import check_integer, class_sizes, finite_scores

Floats = NDArray[np.float64]
Int = int | np.integer[Any]
Ints = Int | NDArray[np.integer[Any]]
Labels = Sequence[Hashable | None]
Means = dict[Hashable, float]
Groups = tuple[tuple[int, int], ...]


@overload
def pass_at_k(n: Int, c: Int, k: Int) -> float: ...
@overload
def pass_at_k(n: Ints, c: Ints, k: Ints) -> float | Floats: ...
def pass_at_k(n: Ints, c: Ints, k: Ints) -> float | Floats:
    """Chance that k of n responses, c of them correct, hold a correct one.

    1 - C(n-c, k) / C(n, k) (Chen et al. 2021, arXiv 2107.03374), correctly rounded. Integers or
    integer arrays of shapes that broadcast; a float for scalars, else float64 of the common shape,
    in [0, 1]. UserError unless 1 <= k <= n and 0 <= c <= n, all of them integers.

    Example:
        >>> pass_at_k(n=8, c=2, k=4)  # 1 - 15/70
        0.7857142857142857
    """
    try:
        arrays = np.broadcast_arrays(n, c, k)
    except ValueError as error:
        raise UserError(f"n, c and k must have shapes that broadcast: {error}") from None
    flat = zip(*(array.ravel().tolist() for array in arrays), strict=True)
    values = np.array([_pass(*triple) for triple in flat], dtype=np.float64)
    return float(values[0]) if arrays[0].ndim == 0 else values.reshape(arrays[0].shape)


@lru_cache(maxsize=1 << 16, typed=True)  # typed: True and 1.0 are refused, 1 is not
def _pass(n: int, c: int, k: int) -> float:
    check_integer("n", n, 1)
    check_integer("c", c, 0, n)
    check_integer("k", k, 1, n)
    return (comb(n, k) - comb(n - c, k)) / comb(n, k)


def mean_at_k(scores: ArrayLike) -> float:
    """Mean of the scores, shape (n,), n >= 1. UserError if empty or not finite."""
    values = finite_scores(scores)
    return fsum(values) / len(values)


def best_at_k(scores: ArrayLike, k: int, higher_is_better: bool = True) -> float:
    """Expected maximum (minimum, if lower is better) of k of the n scores.

    Sum over the distinct scores v of v * (C(#(<= v), k) - C(#(< v), k)) / C(n, k): order
    statistics without replacement. For scores 0 and 1 it is `pass_at_k`, to the last bit.
    `scores` has shape (n,). UserError if empty, not finite, or unless 1 <= k <= n.
    """
    values = finite_scores(scores)
    check_integer("k", k, 1, len(values))
    subsets, terms, below = comb(len(values), k), [], 0
    for value, count in sorted(Counter(values).items(), reverse=not higher_is_better):
        ways = comb(below + count, k) - comb(below, k)
        terms.append(value * (ways / subsets))
        below += count
    return min(max(fsum(terms), min(values)), max(values))


def maj_at_k(classes: Labels, scores: ArrayLike, k: int) -> float:
    """Expected score of the plurality vote of k of the n responses, by exact counting.

    Invalid answers do not vote; tied classes share the credit equally; a class scores the mean
    score of all its responses; no valid answer scores 0. At k = n this is the plain vote.
    `classes` holds n labels (equal labels are one class), `scores` has shape (n,), in [0, 1].
    Returns a float in [0, 1], the same for every order of the responses. Relative error < 1e-12
    up to n = 1024 (results < 1e-290 apart), the last bit only at k = n. UserError for unequal
    lengths, no response, a label that is NaN or not hashable, or k outside 1..n.

    Example:
        >>> maj_at_k(["7", "7", "8"], [1, 1, 0], k=3)
        1.0
        >>> maj_at_k(["7", "8", None], [1, 0, 0], k=3)  # a tie; None is no valid answer
        0.5
    """
    sizes, values = class_sizes(classes), finite_scores(scores)
    if len(values) != len(classes):
        counts = f"{len(values)} scores for {len(classes)} responses"
        raise UserError(f"scores must hold one score per response, got {counts}")
    if wrong := [value for value in values if not 0 <= value <= 1]:
        raise UserError(f"scores must lie between 0 and 1, got {wrong[0]}")
    check_integer("k", k, 1, len(values))
    means = _class_means(classes, values)
    if k == len(values):
        tied = [means[label] for label, size in sizes.items() if size == max(sizes.values())]
        return fsum(tied) / len(tied) if tied else 0.0
    return _expected_score(sizes, means, len(values) - sum(sizes.values()), int(k))


def vote_tie(classes: Labels) -> bool:
    """Whether two or more classes share the most votes of all responses; all invalid: False."""
    counts = list(class_sizes(classes).values())
    return counts.count(max(counts, default=0)) > 1


def curve_ks(n: int) -> list[int]:
    """The k of a curve over k: the powers of two below n, then n. UserError unless n >= 1."""
    check_integer("n", n, 1)
    return [1 << i for i in range((int(n) - 1).bit_length())] + [int(n)]


def _class_means(classes: Labels, scores: Sequence[float]) -> Means:
    own: dict[Hashable, list[float]] = {}
    for label, score in zip(classes, scores, strict=True):
        if label is not None:
            own.setdefault(label, []).append(score)
    return {label: fsum(values) / len(values) for label, values in own.items()}


def _expected_score(sizes: Mapping[Hashable, int], means: Means, invalid: int, k: int) -> float:
    """Sum over classes of mean * P(win): classes of one size win alike, so sizes are grouped."""
    groups = tuple(sorted(Counter(sizes.values()).items()))
    wins, nobody = _win_masses(groups, invalid, k)
    credit = [
        win * fsum(means[label] for label in means if sizes[label] == size)
        for (size, _), win in zip(groups, wins, strict=True)
    ]
    everything = [win * count for (_, count), win in zip(groups, wins, strict=True)]
    return min(fsum(credit) / fsum([*everything, nobody]), 1.0)


@lru_cache(maxsize=4096)
def _win_masses(groups: Groups, invalid: int, k: int) -> tuple[tuple[float, ...], float]:
    """Win mass of one class per (size, count) of `groups`, and the mass of "no valid answer".

    Each response joins independently with chance k/n; given that k joined, they are a uniform
    k-subset. So all masses here are P(k joined and ...), all terms positive, none overflows.
    A tie of j + 1 classes goes to each with chance 1/(j+1), the integral of y^j over (0, 1):
    Gauss-Legendre nodes y, enough of them for the highest j, make that exact too.
    """
    n = invalid + sum(size * count for size, count in groups)
    spare = _joined(invalid, n, k)
    joined = [_joined(size, n, k) for size, _ in groups]
    wins = np.zeros(len(groups))
    for top in range(1, min(k, groups[-1][0] if groups else 0) + 1):
        able = sum(count for size, count in groups if size >= top)
        rivals = min(able - 1, k // top - 1)
        for y, weight in _unit_gauss(rivals // 2 + 1):
            wins += weight * _wins_with(groups, joined, spare, top, y, k - top)
    nobody = spare[k] * ((n - k) ** (n - invalid) / n ** (n - invalid)) if k <= invalid else 0.0
    return tuple(wins.tolist()), float(nobody)


def _wins_with(
    groups: Groups, joined: list[Floats], spare: Floats, top: int, y: float, rest: int
) -> Floats:
    """Per group: mass of "one class has `top` votes, no rival more, `rest` joined besides".

    A polynomial per class (powers count votes), a factor y where a rival has `top` too; all but
    one class are multiplied: those before, its equals, those after.
    """
    rivals = [np.append(own[:top], own[top : top + 1] * y)[: rest + 1] for own in joined]
    equals = [_power(p, count - 1, rest) for p, (_, count) in zip(rivals, groups, strict=True)]
    after = [np.ones(1)]
    for own, same in zip(rivals[:0:-1], equals[:0:-1], strict=True):
        after.append(_times(after[-1], _times(own, same, rest), rest))
    wins, before = np.zeros(len(groups)), spare[: rest + 1]
    for i, (own, same) in enumerate(zip(rivals, equals, strict=True)):
        others = _times(before, same, rest)
        if top < len(joined[i]):
            wins[i] = joined[i][top] * _times(others, after[-1 - i], rest)[rest:].sum()
        before = _times(others, own, rest)
    return wins


def _joined(size: int, n: int, k: int) -> Floats:
    """P(u of `size` joined), u = 0..size, each with chance k/n: whole numbers, rounded once."""
    whole = n**size
    return np.array([comb(size, u) * k**u * (n - k) ** (size - u) / whole for u in range(size + 1)])


def _times(one: Floats, other: Floats, degree: int) -> Floats:
    return np.convolve(one, other)[: degree + 1]


def _power(base: Floats, exponent: int, degree: int) -> Floats:
    if exponent == 0:
        return np.ones(1)
    half = _power(base, exponent // 2, degree)
    square = _times(half, half, degree)
    return _times(square, base, degree) if exponent % 2 else square


@lru_cache(maxsize=512)
def _unit_gauss(count: int) -> list[tuple[float, float]]:
    """Gauss-Legendre nodes and weights on (0, 1), exact for polynomials of degree < 2 * count.

    Newton on P(1 - 2z); steps P_m - P_(m-1) keep the digits near 0 and 1 that leggauss loses.
    """
    z = np.sin(np.pi * (4 * np.arange(1, count // 2 + 1) - 1) / (8 * count + 4)) ** 2
    for _ in range(5):
        value, step = np.ones_like(z), np.zeros_like(z)
        for m in range(count):
            step = (m * step - (4 * m + 2) * z * value) / (m + 1)
            value = value + step
        slope = count * (step - 2 * z * value) / (2 * z * (1 - z))
        z = z - value / slope
    half = (1 / (z * (1 - z) * slope**2)).tolist()
    middle = [(0.5, 1 - 2 * fsum(half))] if count % 2 else []
    return [*zip(z.tolist(), half, strict=True), *zip((1 - z).tolist(), half, strict=True), *middle]
