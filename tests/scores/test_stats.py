"""Tests and planning figures against slow definitions, scipy and statsmodels."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from btrans_eval.errors import UserError
from btrans_eval.scores import questions, stats

quiet = settings(database=None, deadline=None, max_examples=60)
eighths = st.integers(0, 8).map(lambda count: count / 8)
pairs_of = st.lists(st.tuples(eighths, eighths), min_size=1, max_size=9)
bits = st.integers(0, 1).map(float)
bit_pairs = st.lists(st.tuples(bits, bits), min_size=1, max_size=24)


def columns(pairs: list[tuple[float, float]]) -> tuple[Any, Any]:
    a, b = np.array(pairs).T
    return a, b


def arms(n: int, seed: int = 0, values: int = 9) -> tuple[Any, Any]:
    a, b = np.random.default_rng(seed).integers(0, values, (2, n)) / (values - 1)
    return a, b


@quiet
@given(pairs_of)
def test_permutation_is_the_share_of_all_signs(pairs: list[tuple[float, float]]) -> None:
    gaps = [Fraction(a) - Fraction(b) for a, b in pairs if a != b]
    observed: Fraction = abs(sum(gaps, Fraction(0)))
    signs = list(itertools.product((1, -1), repeat=len(gaps)))
    flipped = [
        abs(sum((s * gap for s, gap in zip(sign, gaps, strict=True)), Fraction(0)))
        for sign in signs
    ]
    reached = [value >= observed for value in flipped]
    a, b = columns(pairs)
    assert stats.permutation_test(a, b) == sum(reached) / len(reached)
    assert stats.permutation_test(b, a) == stats.permutation_test(a[::-1], b[::-1])


def test_permutation_is_scipys() -> None:
    a, b = arms(12, seed=3)
    a[0] = b[0]
    for scale in (1.0, 1 / 3, 1e6):  # thirds tie only up to rounding
        theirs = scipy.stats.permutation_test(
            (scale * (a - b),),
            lambda gaps, axis: np.abs(gaps.mean(axis=axis)),
            permutation_type="samples",
            n_resamples=np.inf,
            alternative="greater",
        )
        assert stats.permutation_test(scale * a, scale * b) == theirs.pvalue


def test_permutation_counts_ties_of_rounded_thirds() -> None:
    a = np.array([0.1, 0.2, 0.7])
    b = a + np.array([1, 1, -1]) * np.array([0.1, 0.2, 0.3])  # -0.1 - 0.2 + 0.3: observed 0
    assert stats.permutation_test(a, b) == 1
    assert stats.permutation_test([0.1, 0.2, 0.0], [0.0, 0.0, 0.3]) == 1
    assert stats.permutation_test([0.3, 0.0, 0.0], [0.0, 0.1, 0.1]) == 1.0  # 0.1: all reach it
    assert stats.permutation_test([0.1, 0.2, 0.3], [0, 0, 0]) == 2 / 8


def test_permutation_without_a_difference_is_1() -> None:
    assert stats.permutation_test([0.5], [0.5]) == 1 == stats.permutation_test([1.0], [0.0])
    a = np.full(40, 1 / 3)
    assert stats.permutation_test(a, a + 5e-13) == 1


def test_random_flips_by_definition() -> None:
    a, b = arms(30, seed=1)
    gaps = np.sort(np.abs((a - b)[a != b]))
    m, flips = len(gaps), 500
    assert m > stats.EXACT_UP_TO
    stream = np.random.Generator(np.random.Philox(5))
    count = 0
    for _ in range(flips):
        coins = "".join(f"{byte:08b}" for byte in stream.bytes((m + 7) // 8))[:m]
        total = sum(
            gap if coin == "1" else -gap for coin, gap in zip(coins, gaps.tolist(), strict=True)
        )
        count += abs(total) >= abs((a - b).sum()) - 1e-9
    assert 0 < count < flips
    assert stats.permutation_test(a, b, seed=5, flips=flips) == (count + 1) / (flips + 1)


def test_random_flips_agree_with_the_exact_test_of_bits() -> None:
    for n, lead in ((60, 6), (400, 30), (1000, 0)):
        a, b = np.zeros((2, n))
        a[: (n // 2) + lead], b[(n // 2) + lead :] = 1, 1
        exact = stats.mcnemar_exact(a, b).p
        p = stats.permutation_test(a, b)
        assert abs(p - exact) <= 4 * math.sqrt(exact * (1 - exact) / 100_000) + 1e-5


def test_random_flips_are_seeded_and_chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = arms(200, seed=2)
    before = repr(np.random.get_state())
    p = stats.permutation_test(a, b, flips=5000)
    assert p == stats.permutation_test(a, b, flips=5000) == stats.permutation_test(b, a, 0, 5000)
    order = np.random.default_rng(0).permutation(200)
    assert p == stats.permutation_test(a[order], b[order], flips=5000)
    assert p != stats.permutation_test(a, b, seed=1, flips=5000)
    assert before == repr(np.random.get_state())
    m = int((a != b).sum())
    monkeypatch.setattr(stats, "CELLS", 7 * m)
    small = stats.permutation_test(a, b, flips=5000)
    assert small == pytest.approx(p, abs=4 * math.sqrt(0.5 / 5000))


def test_a_sure_difference_never_gets_p_0() -> None:
    assert stats.permutation_test(np.ones(100), np.zeros(100)) == 1 / 100_001
    assert stats.permutation_test(np.ones(20), np.zeros(20)) == 2 / 2**20


@quiet
@given(bit_pairs)
def test_mcnemar_is_the_binomial_and_the_sign_flip_test(pairs: list[tuple[float, float]]) -> None:
    a, b = columns(pairs)
    found = stats.mcnemar_exact(a, b)
    assert (found.only_a, found.only_b) == (pairs.count((1.0, 0.0)), pairs.count((0.0, 1.0)))
    unlike = found.only_a + found.only_b
    if unlike:
        theirs = scipy.stats.binomtest(found.only_a, unlike).pvalue
        assert found.p == pytest.approx(theirs, rel=1e-12)
    else:
        assert found.p == 1
    if unlike <= stats.EXACT_UP_TO:
        assert found.p == pytest.approx(stats.permutation_test(a, b), rel=1e-12)
    assert stats.mcnemar_exact(b, a) == (found.only_b, found.only_a, found.p)


def test_mcnemar_is_statsmodels() -> None:
    tables = pytest.importorskip(
        "statsmodels.stats.contingency_tables", reason="statsmodels is not installed"
    )
    for only_a, only_b in ((0, 0), (0, 3), (7, 7), (12, 30), (400, 300), (5000, 5200)):
        a = np.repeat([1.0, 0.0, 1.0], [only_a, only_b, 5])
        b = np.repeat([0.0, 1.0, 1.0], [only_a, only_b, 5])
        found = stats.mcnemar_exact(a, b)
        if only_a + only_b:
            theirs = tables.mcnemar([[5, only_a], [only_b, 0]], exact=True).pvalue
            assert found[:2] == (only_a, only_b)
            assert found.p == pytest.approx(min(theirs, 1.0), rel=1e-9)
        else:
            assert found.p == 1


p_lists = st.lists(st.floats(0, 1) | st.sampled_from([0.01, 0.02]), min_size=1, max_size=12)


@quiet
@given(p_lists)
def test_holm_by_definition(given_p: list[float]) -> None:
    adjusted = stats.holm(given_p)
    m = len(given_p)
    for p, value in zip(given_p, adjusted, strict=True):
        below = sorted(q for q in given_p if q <= p)
        expected = min(1.0, max((m - i) * q for i, q in enumerate(below)))
        assert value == expected and value >= p
    assert stats.holm(given_p[::-1]).tolist() == adjusted[::-1].tolist()


@quiet
@given(p_lists)
def test_holm_is_statsmodels(given_p: list[float]) -> None:
    multitest = pytest.importorskip(
        "statsmodels.stats.multitest", reason="statsmodels is not installed"
    )
    theirs = multitest.multipletests(given_p, method="holm")[1]
    assert stats.holm(given_p).tolist() == pytest.approx(theirs.tolist(), rel=1e-12)


def test_holm_by_hand() -> None:
    assert stats.holm([0.01, 0.04, 0.03]).tolist() == [0.03, 0.06, 0.06]
    assert stats.holm([0.7, 0.6]).tolist() == [1, 1] and stats.holm([0.2]).tolist() == [0.2]


def test_variance_split_by_definition() -> None:
    table = np.random.default_rng(0).integers(0, 2, (50, 8)).astype(float)
    table[:20] = 1
    within = statistics.fmean(statistics.variance(row) for row in table.tolist())
    means = [statistics.fmean(row) for row in table.tolist()]
    split = stats.variance_split(table)
    assert split == pytest.approx((within, statistics.variance(means) - within / 8, False))
    order = np.random.default_rng(1).permutation(50)
    assert stats.variance_split(table[order]) == pytest.approx(split, rel=1e-12)


def test_variance_split_finds_both_and_cuts_at_0() -> None:
    rng = np.random.default_rng(2)
    table = rng.normal(0, 2, (4000, 1)) + rng.normal(0, 3, (4000, 4))
    split = stats.variance_split(table)
    assert split.within == pytest.approx(9, rel=0.05) and not split.cut
    assert split.between == pytest.approx(4, rel=0.1)
    assert stats.variance_split([[0, 1], [1, 0]]) == (0.5, 0, True)
    assert stats.variance_split([[1, 1], [1, 1]]) == (0, 0, False)


def test_questions_needed_by_definition() -> None:
    a, b = arms(60, seed=4)
    gaps = (a - b).tolist()
    normal = statistics.NormalDist()
    z = normal.inv_cdf(0.975) + normal.inv_cdf(0.8)
    expected = math.ceil((z * statistics.stdev(gaps) / abs(statistics.fmean(gaps))) ** 2)
    assert stats.questions_needed(a, b) == expected == stats.questions_needed(b, a)
    assert (stats.questions_needed(a, b, power=0.9) or 0) > expected
    power = pytest.importorskip("statsmodels.stats.power", reason="statsmodels is not installed")
    effect = abs(statistics.fmean(gaps)) / statistics.stdev(gaps)
    theirs = power.normal_power(effect, expected, 0.05)
    assert theirs >= 0.8 > power.normal_power(effect, expected - 1, 0.05) - 1e-6


def test_questions_needed_where_there_is_no_number() -> None:
    assert stats.questions_needed([1, 0], [0, 1]) is None
    assert stats.questions_needed([0.5, 0.5], [0.5, 0.5]) is None
    assert stats.questions_needed([1], [0]) is None
    assert stats.questions_needed([1, 1], [0, 0]) == 1


def test_seed_spread() -> None:
    runs = [0.5, 0.25, 0.75, 0.625]
    expected = (statistics.fmean(runs), statistics.stdev(runs), 0.25, 0.75, 4)
    assert stats.seed_spread(runs) == pytest.approx(expected)
    assert stats.seed_spread([0.3]) == (0.3, None, 0.3, 0.3, 1)
    assert stats.seed_spread([0.1] * 3).sd == pytest.approx(0, abs=1e-16)


def test_the_mean_is_one_number_in_every_order() -> None:
    values = np.random.default_rng(0).normal(size=1000) * 1e3
    assert questions.mean(values) == questions.mean(np.sort(values)) == math.fsum(values) / 1000


BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: stats.permutation_test([], []), r"a must have shape \(questions,\).*\(0,\)"),
    (lambda: stats.permutation_test([1, 0], [1]), r"same shape.*\(2,\) and \(1,\)"),
    (lambda: stats.permutation_test([1], [1, 0]), r"same shape.*\(1,\) and \(2,\)"),
    (lambda: stats.permutation_test([1, math.nan], [1, 0]), "a must be finite.*nan at question 1"),
    (lambda: stats.permutation_test([1, 1], [math.inf, 0]), "b must be finite.*inf at question 0"),
    (lambda: stats.permutation_test(["1"], [0]), "a must be numbers"),
    (lambda: stats.permutation_test(np.array([None]), [0]), "a must be numbers"),
    (lambda: stats.permutation_test([[1]], [[1]]), r"\(questions,\)"),
    (lambda: stats.permutation_test([1], [0], seed=-1), "seed must be.*-1"),
    (lambda: stats.permutation_test([1], [0], flips=0), "flips must be.*0"),
    (lambda: stats.mcnemar_exact([1, 0.5], [1, 0]), "0 and 1, got 0.5 in a"),
    (lambda: stats.mcnemar_exact([1, 0], [1, 2]), "0 and 1, got 2.0 in b"),
    (lambda: stats.mcnemar_exact([1, 0], [1]), "same shape"),
    (lambda: stats.holm([]), "p_values must have shape"),
    (lambda: stats.holm([0.5, 1.5]), "between 0 and 1.*1.5"),
    (lambda: stats.holm([math.nan]), "p_values must be finite"),
    (lambda: stats.variance_split([1, 0]), r"\(questions, members\)"),
    (lambda: stats.variance_split([[1, 0]]), "at least 2.*1 questions and 2 members"),
    (lambda: stats.variance_split([[1], [0]]), "at least 2.*2 questions and 1 members"),
    (lambda: stats.variance_split([[1.0, 0.0], [math.nan, 0.0]]), "finite.*question 1"),
    (lambda: stats.questions_needed([1], [0], power=1), "power must be.*1"),
    (lambda: stats.questions_needed([1], [0], confidence=1), "confidence must be.*1"),
    (lambda: stats.questions_needed([1], []), "b must have shape"),
    (lambda: stats.seed_spread([]), "values must have shape"),
]


@pytest.mark.parametrize(("call", "text"), BAD)
def test_mistakes_are_told(call: Callable[[], object], text: str) -> None:
    with pytest.raises(UserError, match=text) as told:
        call()
    assert "\n" not in str(told.value)
