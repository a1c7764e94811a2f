"""Estimators against textbook definitions: every subset is enumerated, in exact fractions."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btrans_eval.errors import UserError
from btrans_eval.scores import estimators as es
from btrans_eval.scores.rows import check_row

quiet = settings(database=None, deadline=None, max_examples=60)
score_lists = st.lists(st.sampled_from([0.0, 0.25, 1.0, -3.0, 1e6]), min_size=1, max_size=8)


def test_pass_by_definition_in_exact_fractions() -> None:
    for n in range(1, 9):
        for c in range(n + 1):
            values = [es.pass_at_k(n, c, k) for k in range(1, n + 1)]
            for k, value in enumerate(values, 1):
                subsets = list(combinations([1] * c + [0] * (n - c), k))
                assert value == float(Fraction(sum(map(max, subsets)), len(subsets)))
            assert values == sorted(values) and values[-1] == (1.0 if c else 0.0)
            assert values[0] == c / n


def test_pass_at_1024_is_exactly_rounded_and_monotone() -> None:
    for c in (0, 1, 17, 512, 1023, 1024):
        values = [es.pass_at_k(1024, c, k) for k in range(1, 1025)]
        assert values == sorted(values) and 0 <= values[0] and values[-1] == (c > 0)
        exact = 1 - Fraction(math.comb(1024 - c, 100), math.comb(1024, 100))
        assert values[99] == float(exact)


def test_pass_takes_arrays() -> None:
    got = es.pass_at_k(np.array([[4], [8]]), np.array([0, 1, 4], dtype=np.uint8), 2)
    assert isinstance(got, np.ndarray) and got.dtype == np.float64
    assert got.tolist() == [[es.pass_at_k(n, c, 2) for c in (0, 1, 4)] for n in (4, 8)]
    assert type(es.pass_at_k(np.int64(4), 1, np.int32(2))) is float
    assert np.shape(es.pass_at_k(np.zeros(0, dtype=int), 0, 1)) == (0,)


@quiet
@given(score_lists)
def test_best_is_the_mean_over_all_subsets(scores: list[float]) -> None:
    for k in range(1, len(scores) + 1):
        subsets = list(combinations(map(Fraction, scores), k))
        for higher, pick in ((True, max), (False, min)):
            exact = float(sum(map(pick, subsets)) / len(subsets))
            assert es.best_at_k(scores, k, higher) == pytest.approx(exact, rel=1e-12, abs=1e-9)


def test_best_of_right_and_wrong_is_pass_and_constants_stay() -> None:
    for n, c in ((1, 0), (8, 3), (64, 63), (1024, 5)):
        for k in es.curve_ks(n):
            assert es.best_at_k([1] * c + [0] * (n - c), k) == es.pass_at_k(n, c, k)
    assert es.best_at_k([0.1] * 7, 3) == 0.1 == es.best_at_k([0.1] * 7, 3, False)
    assert es.best_at_k([-5e-324, 0.0], 1) <= 0


def test_small_ones() -> None:
    assert es.mean_at_k([1, 0, 0, 1]) == 0.5 and es.mean_at_k(np.array([True, False])) == 0.5
    assert es.mean_at_k([0.1] * 10) == 0.1 and es.mean_at_k([np.True_, np.float32(0)]) == 0.5
    rows_and_ties = {"ab": True, "aab": False, "aabb": True, "aabbc": True, "a": False}
    assert {row: es.vote_tie(list(row)) for row in rows_and_ties} == rows_and_ties
    assert not es.vote_tie([None, None]) and not es.vote_tie(["a", None, None])
    assert es.vote_tie(["a", "b", None])
    assert [es.curve_ks(n) for n in (1, 2, 3, 8)] == [[1], [1, 2], [1, 2, 3], [1, 2, 4, 8]]
    assert es.curve_ks(1000) == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000]
    check_row(["x"] * 8, 8, "q7")


BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: es.pass_at_k(8, 1, 0), "k must be at least 1 and at most 8, got 0"),
    (lambda: es.pass_at_k(8, 1, 9), "k must be at least 1 and at most 8, got 9"),
    (lambda: es.pass_at_k(8, -1, 1), "c must be at least 0 and at most 8, got -1"),
    (lambda: es.pass_at_k(np.array([9, 8]), 9, 1), "c must be .* got 9"),
    (lambda: es.pass_at_k(8, 1.0, 1), "c must be .*float"),  # type: ignore[call-overload]
    (lambda: (es.pass_at_k(8, 1, 1), es.pass_at_k(8, True, 1)), "c must be .*bool"),
    (lambda: es.pass_at_k(np.array([1, 2]), np.array([1, 1, 1]), 1), "shapes"),
    (lambda: es.mean_at_k([]), "n >= 1"),
    (lambda: es.mean_at_k([1, math.nan]), "finite.*nan"),
    (lambda: es.mean_at_k([[1.0]]), r"shape \(n,\)"),
    (lambda: es.mean_at_k(["1"]), "numbers"),
    (lambda: es.best_at_k([1, 0], 3), "k must be .*3"),
    (lambda: es.best_at_k([1, math.inf], 1), "finite"),
    (lambda: es.maj_at_k(["a"], [1, 0], 1), "2 scores for 1 "),
    (lambda: es.maj_at_k(["a"], [1.5], 1), "between 0 and 1.*1.5"),
    (lambda: es.maj_at_k(["a"], [1], 2), "k must be .*2"),
    (lambda: es.maj_at_k(["a"], [1], True), "k must be .*True"),
    (lambda: es.maj_at_k([], [], 1), "at least one"),
    (lambda: es.maj_at_k([math.nan], [1], 1), "NaN"),
    (lambda: es.maj_at_k([["a"]], [1], 1), "hashable"),  # type: ignore[list-item]
    (lambda: es.vote_tie([]), "at least one"),
    (lambda: es.curve_ks(0), "n must be .*0"),
    (lambda: check_row(["x"] * 7, 8, "q7"), "^question q7 has 7 responses, 8 expected$"),
    (lambda: check_row(["x"] * 9, 8), "^a question has 9 responses, 8 expected$"),
]


@pytest.mark.parametrize(("call", "text"), BAD)
def test_mistakes_are_told(call: Callable[[], object], text: str) -> None:
    with pytest.raises(UserError, match=text):
        call()
