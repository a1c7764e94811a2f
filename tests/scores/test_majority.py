"""The expected plurality vote against its definition: every subset is enumerated, in fractions."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from fractions import Fraction
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btrans_eval.scores import estimators as es
from btrans_eval.scores.rows import class_sizes

Labels = Sequence[Hashable | None]
Row = list[tuple[Hashable | None, float]]
quiet = settings(database=None, deadline=None, max_examples=60)
rows: st.SearchStrategy[Row] = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", 7, None]), st.sampled_from([0.0, 0.5, 1.0])),
    min_size=1,
    max_size=8,
)


def split(row: Row) -> tuple[list[Hashable | None], list[float]]:
    return [label for label, _ in row], [score for _, score in row]


def class_means(labels: Labels, scores: Sequence[float]) -> dict[Hashable, Fraction]:
    found: dict[Hashable, list[Fraction]] = {}
    for label, score in zip(labels, scores, strict=True):
        if label is not None:
            found.setdefault(label, []).append(Fraction(score))
    return {label: sum(own, Fraction()) / len(own) for label, own in found.items()}


def brute_maj(labels: Labels, scores: Sequence[float], k: int) -> Fraction:
    """Every k-subset votes; the mean of the expected scores of the winners."""
    means = class_means(labels, scores)
    subsets = list(combinations(range(len(labels)), k))
    total = Fraction()
    for subset in subsets:
        votes = [labels[i] for i in subset if labels[i] is not None]
        top = max((votes.count(label) for label in means), default=0)
        tied = [label for label in means if top and votes.count(label) == top]
        if tied:
            total += sum((means[label] for label in tied), Fraction()) / len(tied)
    return total / len(subsets)


def exact_maj(sizes: Sequence[int], means: Sequence[Fraction], invalid: int, k: int) -> Fraction:
    """One class after another, subsets counted by (votes used, rivals tied), in whole numbers."""
    total = Fraction()
    for mine, (size, mean) in enumerate(zip(sizes, means, strict=True)):
        rivals = [other for i, other in enumerate(sizes) if i != mine]
        for top in range(1, min(size, k) + 1) if mean else ():
            state = {(u, 0): math.comb(invalid, u) for u in range(min(invalid, k - top) + 1)}
            for rival in rivals:
                fresh: dict[tuple[int, int], int] = {}
                for (used, tied), ways in state.items():
                    for u in range(min(rival, top, k - top - used) + 1):
                        key = (used + u, tied + (u == top))
                        fresh[key] = fresh.get(key, 0) + ways * math.comb(rival, u)
                state = fresh
            for (used, tied), ways in state.items():
                if used == k - top:
                    total += mean * Fraction(math.comb(size, top) * ways, tied + 1)
    return total / math.comb(sum(sizes) + invalid, k)


def expand(
    sizes: Sequence[int], means: Sequence[Fraction], invalid: int
) -> tuple[list[Hashable | None], list[float]]:
    labels: list[Hashable | None] = [None] * invalid
    scores = [1.0] * invalid  # an invalid response's own score must not count
    for label, (size, mean) in enumerate(zip(sizes, means, strict=True)):
        labels += [label] * size
        scores += [float(mean)] * size
    return labels, scores


@quiet
@given(rows)
def test_maj_is_the_mean_over_all_subsets(row: Row) -> None:
    labels, scores = split(row)
    for k in range(1, len(row) + 1):
        exact = brute_maj(labels, scores, k)
        assert es.maj_at_k(labels, scores, k) == pytest.approx(float(exact), rel=1e-13, abs=0)


@quiet
@given(rows, st.randoms(use_true_random=False))
def test_maj_does_not_see_the_order(row: Row, random: Any) -> None:
    other = list(row)
    random.shuffle(other)
    for k in range(1, len(row) + 1):
        assert es.maj_at_k(*split(row), k) == es.maj_at_k(*split(other), k)


@quiet
@given(rows)
def test_maj_at_1_is_the_mean_of_class_means_with_invalid_as_zero(row: Row) -> None:
    labels, scores = split(row)
    means = class_means(labels, scores)
    expected = sum(means[label] if label is not None else Fraction() for label in labels)
    got = es.maj_at_k(labels, scores, 1)
    assert got == pytest.approx(float(expected / len(row)), rel=1e-14, abs=0)


@pytest.mark.parametrize(
    ("labels", "scores", "k", "expected"),
    [
        (["a", "b"], [1, 0], 2, 0.5),
        (["a", "b", "c"], [1, 0, 0], 3, 1 / 3),
        (["a", "a", "b"], [1, 1, 0], 2, 2 / 3),  # aa, ab, ab: (1 + 1/2 + 1/2) / 3
        (["a", "a", "b"], [1, 1, 0], 3, 1.0),
        (["a", "b", None], [1, 0, 1], 2, 0.5),  # ab 1/2, a- 1, b- 0
        (["a", "a", "b", "b", None], [1, 1, 0, 0, 1], 5, 0.5),
        (["a", "a"], [1, 0], 1, 0.5),  # a class scores its mean
        (["a", "a", "b"], [1, 0, 1], 3, 0.5),
        ([None, None], [1, 1], 1, 0.0),
        ([None, None], [1, 1], 2, 0.0),
        ([None, None, "a"], [1, 1, 1], 1, 1 / 3),
        (["a"], [1], 1, 1.0),
        (["a"] * 5, [1] * 5, 3, 1.0),
        (["a"] * 7 + ["b"], [1] * 7 + [0], 4, 1.0),  # b can never win: exactly 1
        (["a", "b", "b", "b"], [1, 0, 0, 0], 3, 0.0),
        (["a", "b", "c", "d"], [1, 1, 1, 1], 3, 1.0),
    ],
)
def test_maj_by_hand(labels: Labels, scores: list[float], k: int, expected: float) -> None:
    got = es.maj_at_k(labels, scores, k)
    assert got == (expected if expected in (0, 0.5, 1) else pytest.approx(expected, rel=1e-14))


@pytest.mark.parametrize(
    ("sizes", "invalid", "k"),
    [
        ([1] * 64, 0, 32),
        ([8] * 8, 0, 32),
        ([12, 9, 7, 7, 5, 5, 3, 3, 3, 1, 1, 1, 1], 6, 32),
        ([20, 20, 4, 4, 2, 1], 13, 17),
        ([40, 3, 1, 1], 19, 63),
        ([500, 300, 200], 24, 6),
        ([400, 624], 0, 512),  # the right class all but never wins
        ([1], 1023, 512),
        ([1] * 1024, 0, 3),
        ([600, 1], 423, 1000),
    ],
)
def test_maj_keeps_twelve_digits(sizes: list[int], invalid: int, k: int) -> None:
    means = [Fraction(1)] + [Fraction(0)] * (len(sizes) - 1)
    got = es.maj_at_k(*expand(sizes, means, invalid), k)
    exact = exact_maj(sizes, means, invalid, k)
    assert exact > 0
    assert abs(Fraction(got) - exact) <= exact * Fraction(1, 10**12)


@quiet
@given(
    st.lists(st.tuples(st.integers(1, 7), st.integers(0, 4)), min_size=1, max_size=9),
    st.integers(0, 9),
    st.data(),
)
def test_maj_on_larger_rows(groups: list[tuple[int, int]], invalid: int, data: Any) -> None:
    sizes, means = [size for size, _ in groups], [Fraction(score, 4) for _, score in groups]
    k = data.draw(st.integers(1, sum(sizes) + invalid))
    exact = float(exact_maj(sizes, means, invalid, k))
    got = es.maj_at_k(*expand(sizes, means, invalid), k)
    assert got == pytest.approx(exact, rel=1e-12, abs=0)


@pytest.mark.parametrize("sizes", [[1] * 1024, [2] * 512, [512, 512], list(range(1, 45))])
def test_maj_at_scale_shares_all_credit_between_equal_scores(sizes: list[int]) -> None:
    half = [Fraction(i % 2) for i in range(len(sizes))]
    labels, scores = expand(sizes, half, 1024 - sum(sizes))
    flipped = [1 - s if label is not None else s for label, s in zip(labels, scores, strict=True)]
    for k in (1, 2, 33, 512, 1023, 1024):
        one, other = es.maj_at_k(labels, scores, k), es.maj_at_k(labels, flipped, k)
        assert 0 <= one <= 1 and 0 <= other <= 1
        if sum(sizes) == 1024:
            assert one + other == pytest.approx(1, rel=1e-12)


def test_the_plain_vote_is_right_to_the_last_bit() -> None:
    for n in range(2, 129):
        assert es.maj_at_k(range(n), [1] + [0] * (n - 1), n) == 1 / n


@quiet
@given(rows)
def test_the_general_path_agrees_with_the_plain_vote(row: Row) -> None:
    labels, scores = split(row)
    sizes, means = class_sizes(labels), es._class_means(labels, scores)
    got = es._expected_score(sizes, means, labels.count(None), len(row))
    assert got == pytest.approx(float(brute_maj(labels, scores, len(row))), rel=1e-13, abs=0)


@pytest.mark.parametrize("count", [1, 2, 3, 16, 63, 512])
def test_ties_are_shared_by_an_exact_integral(count: int) -> None:
    nodes = es._unit_gauss(count)
    for rivals in range(2 * count) if count < 100 else (0, 1, 2, 500, 1022, 1023):
        share = math.fsum(weight * y**rivals for y, weight in nodes)
        assert share * (rivals + 1) == pytest.approx(1, abs=2e-13)
