"""Intervals against textbook definitions in loops, scipy and statsmodels; their ends and seeds."""

from __future__ import annotations

import math
import statistics
import tracemalloc
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from btrans_eval.errors import UserError
from btrans_eval.scores import intervals as iv

quiet = settings(database=None, deadline=None, max_examples=60)
eighths = st.integers(0, 8).map(lambda count: count / 8)
pairs_of = st.lists(st.tuples(eighths, eighths), min_size=2, max_size=30)
Z = NormalDist().inv_cdf(0.975)


def arms(n: int, seed: int = 0) -> tuple[Any, Any]:
    """Two skewed arms of unequal means, in eighths."""
    rng = np.random.default_rng(seed)
    rates = rng.beta(0.4, 1.2, (n, 1))
    a, b = ((rng.random((n, 8)) < rates + lift).mean(axis=1) for lift in (0.1, 0.0))
    return a, b


def tables(n: int = 40, k: int = 6, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    rates = rng.random((n, 1)) + rng.normal(0, 0.1, (1, k))
    a, b = ((rng.random((n, k)) < rates).astype(float) for _ in range(2))
    return a, b


def philox(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def global_state() -> str:
    return repr(np.random.get_state())


# One arm


@quiet
@given(st.integers(1, 300), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_solves_the_score_equation(n: int, share: float, confidence: float) -> None:
    right = round(share * n)
    values = [1.0] * right + [0.0] * (n - right)
    mean, low, high, method = iv.mean_interval(values, confidence)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    assert method == "wilson" and mean == right / n and 0 <= low <= mean <= high <= 1
    for end in (low, high):  # |share - end| is z standard errors of the end itself
        assert abs(mean - end) == pytest.approx(z * math.sqrt(end * (1 - end) / n), abs=1e-9)
    assert (low == 0) == (right == 0) and (high == 1) == (right == n)
    swapped = iv.mean_interval(values[::-1], confidence)
    assert swapped == (mean, low, high, method)


def test_wilson_is_scipys_and_statsmodels() -> None:
    proportion = pytest.importorskip(
        "statsmodels.stats.proportion", reason="statsmodels is not installed"
    )
    for right, n in ((0, 1), (1, 1), (0, 30), (3, 30), (250, 500), (500, 500)):
        found = iv.mean_interval([1] * right + [0] * (n - right))
        theirs = scipy.stats.binomtest(right, n).proportion_ci(method="wilson")
        assert found[1:3] == pytest.approx((theirs.low, theirs.high), abs=1e-14)
        low, high = proportion.proportion_confint(right, n, method="wilson")
        assert found[1:3] == pytest.approx((low, high), abs=1e-14)


def test_t_is_scipys() -> None:
    values = np.random.default_rng(0).normal(50, 9, 25)
    mean, low, high, method = iv.mean_interval(values, 0.9)
    theirs = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert (low, high) == pytest.approx((theirs.low, theirs.high), rel=1e-12) and method == "t"
    assert mean == pytest.approx(values.mean(), rel=1e-15)
    half = scipy.stats.t.ppf(0.95, 24) * statistics.stdev(values.tolist()) / 5
    assert high - low == pytest.approx(2 * half, rel=1e-12)


def test_t_of_rates_is_cut_and_of_others_is_not() -> None:
    values = [0.0] * 9 + [0.5]
    assert iv.mean_interval(values)[1:] == (0.0, iv.mean_interval(values, rate=False).high, "t")
    assert iv.mean_interval(values, rate=False).low < 0
    assert iv.mean_interval([1 - value for value in values]).high == 1
    assert iv.mean_interval([0.0, 1.0], rate=False).method == "t"
    assert iv.mean_interval([0.0, 1.0, 1.5]).method == "t"


def test_equal_rates_take_wilson() -> None:
    share, n = 1 / 3, 50
    found = iv.mean_interval([share] * n)
    z2 = Z * Z
    middle, root = share + z2 / (2 * n), Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    ends = [(middle - root) / (1 + z2 / n), (middle + root) / (1 + z2 / n)]
    assert [*found[1:3]] == pytest.approx(ends) and found.method == "wilson"
    assert found.estimate == pytest.approx(share, rel=1e-15)
    rounded = iv.mean_interval([0.1 + 0.2, 0.3] * 25)
    assert rounded.method == "wilson" and rounded.low < 0.2
    assert iv.mean_interval([0.0] * 100)[:3] == pytest.approx((0, 0, z2 / (100 + z2)))
    assert iv.mean_interval([0.5])[1:3] == pytest.approx((0.5 - 0.4456, 0.5 + 0.4456), abs=1e-3)
    assert iv.mean_interval([1.0])[1:3] == pytest.approx((1 / (1 + z2), 1))


def test_equal_values_without_a_range() -> None:
    assert iv.mean_interval([3.0] * 9) == (3, 3, 3, "no spread")
    assert iv.mean_interval([1.0] * 9, rate=False) == (1, 1, 1, "no spread")
    assert iv.mean_interval([3.0]) == (3, -math.inf, math.inf, "one question")


# Two arms


def slow_bca(gaps: list[float], seed: int, draws: int, confidence: float) -> list[float]:
    """Efron and Tibshirani 1993, eq. 14.10 to 14.15, with every jackknife mean computed."""
    n, stream, normal = len(gaps), philox(seed), NormalDist()
    resampled = []
    for _ in range(draws):
        resampled.append(math.fsum(gaps[i] for i in stream.integers(0, n, n)) / n)
    center = math.fsum(gaps) / n
    below = sum(mean < center - 1e-11 for mean in resampled)
    tied = sum(abs(mean - center) <= 1e-11 for mean in resampled)
    z0 = normal.inv_cdf((below + tied / 2) / draws)
    left_out = [math.fsum(gaps[:i] + gaps[i + 1 :]) / (n - 1) for i in range(n)]
    middle = math.fsum(left_out) / n
    cubes = math.fsum((middle - value) ** 3 for value in left_out)
    squares = math.fsum((middle - value) ** 2 for value in left_out)
    a, ends = cubes / (6 * squares**1.5), []
    for side in ((1 - confidence) / 2, (1 + confidence) / 2):
        z = z0 + normal.inv_cdf(side)
        place = normal.cdf(z0 + z / (1 - a * z)) * (draws - 1)
        ordered, i = sorted(resampled), int(place)
        ends.append(ordered[i] + (place - i) * (ordered[i + 1] - ordered[i]))
    return ends


@pytest.mark.parametrize(("n", "seed", "confidence"), [(2, 0, 0.8), (25, 3, 0.95), (80, 7, 0.9)])
def test_bca_by_definition(n: int, seed: int, confidence: float) -> None:
    a, b = arms(n, seed + 1)
    a[0], b[0] = 1, 0
    found = iv.paired_interval(a, b, seed, 400, confidence)
    assert found.estimate == pytest.approx(statistics.fmean((a - b).tolist()))
    expected = slow_bca((a - b).tolist(), seed, 400, confidence)
    assert [*found[1:3]] == pytest.approx(expected, abs=1e-12) and found.method == "bca"


def test_bca_is_scipys_up_to_the_draws() -> None:
    a, b = arms(60, 5)
    theirs = scipy.stats.bootstrap(
        (a - b,), np.mean, n_resamples=40_000, method="BCa", random_state=np.random.default_rng(0)
    ).confidence_interval
    found = iv.paired_interval(a, b, draws=40_000)
    assert found[1:3] == pytest.approx((theirs.low, theirs.high), abs=0.002)
    gaps = a - b
    skew = (gaps - gaps.mean()) ** 3
    assert skew.mean() > 0  # so the shift to the right is tested too
    assert found.high - found.estimate > found.estimate - found.low


@quiet
@given(pairs_of)
def test_swapped_arms_flip_the_interval(pairs: list[tuple[float, float]]) -> None:
    a, b = np.array(pairs).T
    ahead, back = iv.paired_interval(a, b, 1, 200), iv.paired_interval(b, a, 1, 200)
    flipped = (-back.estimate, -back.high, -back.low)
    assert ahead[:3] == pytest.approx(flipped, abs=1e-12) and ahead.method == back.method
    assert -1 <= ahead.low <= ahead.high <= 1
    if ahead.method == "bca":
        assert min(a - b) <= ahead.low <= ahead.high <= max(a - b)


def test_bca_is_seeded_and_chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = arms(50)
    before = global_state()
    found = iv.paired_interval(a, b, draws=1000)
    assert found == iv.paired_interval(a.copy(), b.tolist(), draws=1000)
    assert found != iv.paired_interval(a, b, seed=1, draws=1000)
    assert before == global_state()
    for cells in (1, 50 * 3, 50 * 1000):
        monkeypatch.setattr(iv, "CELLS", cells)
        assert iv.paired_interval(a, b, draws=1000) == pytest.approx(found, abs=1e-14)


def test_order_changes_the_resamples_only() -> None:
    a, b = arms(300)
    order = np.random.default_rng(0).permutation(300)
    found, other = iv.paired_interval(a, b), iv.paired_interval(a[order], b[order])
    assert found.estimate == other.estimate
    assert found[1:3] == pytest.approx(other[1:3], abs=0.05 * (found.high - found.low))


def test_memory_is_bounded() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 10_000))
    tracemalloc.start()
    iv.paired_interval(a, b, draws=10_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6


def test_equal_differences_of_rates_are_bounded() -> None:
    """The bound's own definition: n like differences have chance 2.5% if a share u is unlike."""
    n = 40
    same = [0.0, 1.0] * (n // 2)
    found = iv.paired_interval(same, same)
    unlike = found.high
    assert found == (0, -unlike, unlike, "equal")
    assert (1 - unlike) ** n == pytest.approx(0.025)
    exact = scipy.stats.binomtest(0, n).proportion_ci(method="exact")
    assert unlike == pytest.approx(exact.high, rel=1e-12)
    all_right = iv.paired_interval([1.0] * n, [0.0] * n)  # unlike ones may be as low as -1
    assert all_right[:3] == pytest.approx((1, 1 - 2 * unlike, 1), abs=1e-15)
    half = iv.paired_interval([0.75] * n, [0.25] * n)
    assert half[:3] == pytest.approx((0.5, 0.5 - 1.5 * unlike, 0.5 + 0.5 * unlike), abs=1e-15)
    assert all_right.method == half.method == "equal"
    thirds = iv.paired_interval([1 / 3 + 1e-13] * n, [1 / 3] * n)
    assert thirds.estimate == 0 and thirds.high == unlike
    assert iv.paired_interval([1.0], [1.0])[:3] == pytest.approx((0, -0.975, 0.975))


def test_equal_differences_without_a_range() -> None:
    assert iv.paired_interval([3.0, 4.0], [1.0, 2.0]) == (2, 2, 2, "no spread")
    assert iv.paired_interval([1.0, 0.0], [1.0, 0.0], rate=False) == (0, 0, 0, "no spread")
    assert iv.paired_interval([3.0], [1.0]) == (2, -math.inf, math.inf, "one question")


# Fresh members too


def slow_two_way(values: Any, tables: list[Any], confidence: float = 0.95) -> float:
    """Half the width, from the mean squares, in loops."""
    n = len(values)
    components = [(statistics.variance(values.tolist()) / n, n - 1)]
    for table in tables:
        k, whole = table.shape[1], table.mean()
        rows, columns = table.mean(axis=1), table.mean(axis=0)
        ms_members = n * sum((columns[j] - whole) ** 2 for j in range(k)) / (k - 1)
        squares = [
            (table[i, j] - rows[i] - columns[j] + whole) ** 2 for i in range(n) for j in range(k)
        ]
        ms_rest = math.fsum(squares) / ((n - 1) * (k - 1))
        if ms_members > ms_rest:
            components.append((ms_members / (n * k), k - 1))
            components.append((-ms_rest / (n * k), (n - 1) * (k - 1)))
    variance = sum(part for part, _ in components)
    freedom = variance**2 / sum(part**2 / df for part, df in components)
    return float(scipy.stats.t.ppf((1 + confidence) / 2, max(freedom, 1))) * variance**0.5


@pytest.mark.parametrize("seed", range(5))
def test_two_way_by_definition(seed: int) -> None:
    a, _ = tables(seed=seed)
    found = iv.two_way_interval(a, 0.9)
    half = slow_two_way(a.mean(axis=1), [a], 0.9)
    assert found[:3] == pytest.approx((a.mean(), a.mean() - half, a.mean() + half), abs=1e-12)
    assert found.method == "two-way"


def test_two_way_mean_squares_are_statsmodels() -> None:
    """`slow_two_way` rests on these."""
    a = tables(seed=1)[0] + np.linspace(0, 0.5, 6)
    n, k = a.shape
    long = {"y": a.ravel(), "row": np.repeat(np.arange(n), k), "member": np.tile(np.arange(k), n)}
    table = anova_lm(ols("y ~ C(row) + C(member)", pd.DataFrame(long)).fit())
    squares = table["sum_sq"] / table["df"]
    components = [(a.mean(axis=1).var(ddof=1) / n, n - 1)]
    components += [(squares["C(member)"] / (n * k), k - 1)]
    components += [(-squares["Residual"] / (n * k), (n - 1) * (k - 1))]
    variance = sum(part for part, _ in components)
    freedom = variance**2 / sum(part**2 / df for part, df in components)
    assert squares["C(member)"] > squares["Residual"]
    half = scipy.stats.t.ppf(0.975, freedom) * variance**0.5
    assert slow_two_way(a.mean(axis=1), [a]) == pytest.approx(half, rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_two_way_paired_by_definition(seed: int) -> None:
    a, b = tables(seed=seed)
    wide = np.hstack([b, b[:, :2]])  # samples of a stock model: as many as one likes
    for other, members, of_members in (
        (b, "shared", [a - b]),
        (b, "each", [a, b]),
        (wide, "a", [a]),
        (wide, "b", [wide]),
    ):
        gaps = a.mean(axis=1) - other.mean(axis=1)
        half = slow_two_way(gaps, of_members)
        found = iv.two_way_paired_interval(a, other, members)
        gap = a.mean() - other.mean()
        assert found[:3] == pytest.approx((gap, gap - half, gap + half), abs=1e-12)
        flipped = {"a": "b", "b": "a"}.get(members, members)
        back = iv.two_way_paired_interval(other, a, flipped)
        assert back[:3] == pytest.approx((-gap, -found.high, -found.low), abs=1e-12)


def test_two_way_sees_what_questions_alone_do_not() -> None:
    strict, lenient = np.zeros((50, 4)), np.zeros((50, 4))
    strict[:, 0], lenient[:, :3] = 1, 1  # every question is alike: the members differ
    assert iv.mean_interval(strict.mean(axis=1), rate=False).method == "no spread"
    found = iv.two_way_interval(strict, rate=False)
    half = scipy.stats.t.ppf(0.975, 3) * np.std([1, 0, 0, 0], ddof=1) / 2  # four members, one mean
    assert found[:3] == pytest.approx((0.25, 0.25 - half, 0.25 + half))
    assert iv.two_way_interval(strict)[:3] == pytest.approx((0.25, 0, 1))
    paired = iv.two_way_paired_interval(lenient, strict, "each")
    assert paired.estimate == 0.5 and paired.low < 0.1
    assert iv.two_way_paired_interval(strict, strict, "shared").method == "equal"
    assert iv.two_way_paired_interval(strict, strict, "each").high > 0.4


def test_two_way_of_members_alike_is_over_questions() -> None:
    """Where members differ less than chance, their part is left out, and no part is below 0."""
    a = np.random.default_rng(0).random((30, 1)) + np.zeros((1, 4))
    assert iv.two_way_interval(a)[:3] == pytest.approx(iv.mean_interval(a[:, 0])[:3], abs=1e-12)


def test_two_way_without_spread() -> None:
    thirds = np.full((30, 4), 1 / 3)
    assert iv.two_way_interval(thirds) == iv.mean_interval(thirds[:, 0])
    assert iv.two_way_interval(thirds, rate=False).method == "no spread"
    paired = iv.two_way_paired_interval(thirds, np.zeros((30, 4)), "each")
    assert paired == pytest.approx(iv.paired_interval(thirds[:, 0], np.zeros(30)), abs=1e-15)


BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: iv.mean_interval([]), r"values must have shape \(questions,\).*\(0,\)"),
    (lambda: iv.mean_interval([1, math.nan]), "values must be finite.*nan at question 1"),
    (lambda: iv.mean_interval([[1.0]]), r"\(questions,\)"),
    (lambda: iv.mean_interval(["1"]), "numbers"),
    (lambda: iv.mean_interval([1, 2], rate=True), "rates must lie.*2"),
    (lambda: iv.mean_interval([1, 0], 1.0), "confidence must be.*1.0"),
    (lambda: iv.mean_interval([1, 0], 95), "confidence must be.*95"),
    (lambda: iv.mean_interval([1, 0], math.nan), "confidence must be.*nan"),
    (lambda: iv.paired_interval([], []), "a must have shape"),
    (lambda: iv.paired_interval([1, 0], [1]), r"same shape.*\(2,\) and \(1,\)"),
    (lambda: iv.paired_interval([1, 0], [1, math.inf]), "b must be finite.*question 1"),
    (lambda: iv.paired_interval([1, 0], [1, -1], rate=True), "rates must lie.*-1"),
    (lambda: iv.paired_interval([1, 0], [1, 0], draws=99), "draws must be at least 100"),
    (lambda: iv.paired_interval([1, 0], [1, 0], seed=-1), "seed must be at least 0"),
    (lambda: iv.paired_interval([1, 0], [1, 0], seed=0.5), "seed must be an integer"),  # type: ignore[arg-type]
    (lambda: iv.two_way_interval([1, 0]), r"\(questions, members\)"),
    (lambda: iv.two_way_interval([[1, 0]]), "1 questions and 2 members"),
    (lambda: iv.two_way_interval([[1], [0]]), "2 questions and 1 members"),
    (lambda: iv.two_way_interval([[1.0, 0.0], [0.0, math.nan]]), "finite.*question 1"),
    (lambda: iv.two_way_interval(np.zeros((0, 3))), r"\(0, 3\)"),
    (lambda: iv.two_way_interval([[1, 0], [0, 3]], rate=True), "rates.*3"),
    (lambda: iv.two_way_interval(np.eye(2), 1.0), "confidence must be"),
    (lambda: iv.two_way_paired_interval(np.eye(2), np.eye(3)[:2], "shared"), "same shape"),
    (lambda: iv.two_way_paired_interval(np.eye(2), np.eye(3), "each"), "same shape"),
    (lambda: iv.two_way_paired_interval(np.eye(2), np.eye(2), "both"), "members must be.*both"),
]


@pytest.mark.parametrize(("call", "text"), BAD)
def test_mistakes_are_told(call: Callable[[], object], text: str) -> None:
    with pytest.raises(UserError, match=text) as told:
        call()
    assert "\n" not in str(told.value)
