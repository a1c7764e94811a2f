"""Diversity against the definitions written out pair by pair and word by word."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btrans_eval.errors import UserError
from btrans_eval.scores import diversity as dv

quiet = settings(database=None, deadline=None, max_examples=60)
shapes = st.tuples(st.integers(1, 9), st.integers(1, 7), st.integers(0, 10**6))
texts_of = st.lists(st.text("aAb \n", max_size=9), min_size=1, max_size=5)
labels_of = st.lists(st.sampled_from(["x", "y", 3, None]), min_size=1, max_size=9)


def draw(shape: tuple[int, int, int]) -> Any:
    return np.random.default_rng(shape[2]).normal(size=shape[:2])


def cosine(one: Any, other: Any) -> float:
    return math.fsum(one * other) / math.sqrt(math.fsum(one * one) * math.fsum(other * other))


@quiet
@given(shapes)
def test_cosine_distance_is_the_mean_over_pairs(shape: tuple[int, int, int]) -> None:
    rows = draw((shape[0] + 1, *shape[1:]))
    pairs = [1 - cosine(a, b) for a, b in combinations(rows, 2)]
    assert dv.cosine_distance(rows) == pytest.approx(math.fsum(pairs) / len(pairs), abs=1e-14)


def test_cosine_distance_by_hand() -> None:
    assert dv.cosine_distance([[1, 0], [0, 5]]) == pytest.approx(1, rel=1e-15)
    assert dv.cosine_distance([[1, 0], [-2, 0]]) == 2
    assert dv.cosine_distance([[1, 0], [1, 0], [0, 1]]) == pytest.approx(2 / 3, rel=1e-15)
    assert dv.cosine_distance([[0.3, 0.1, 0.7]] * 5) == 0
    far = np.array([[3e200, 4e200], [3e-200, 4e-200]])
    assert dv.cosine_distance(far) == pytest.approx(0, abs=1e-15)
    near = dv.cosine_distance([[1.0, 0.0], [1.0, 1e-10]])  # 1 - cos loses this one wholly
    assert near == pytest.approx(0.5e-20, rel=1e-9)
    half = np.full((2, 4096), 300, dtype=np.float16)  # its squares overflow in float16
    assert dv.cosine_distance(half) == 0


@quiet
@given(shapes, st.integers(1, 9), st.integers(0, 10**6))
def test_cross_similarity_is_the_mean_over_all_pairs(
    shape: tuple[int, int, int], m: int, seed: int
) -> None:
    one, other = draw(shape), draw((m, shape[1], seed))
    pairs = [cosine(a, b) for a in one for b in other]
    expected = math.fsum(pairs) / len(pairs)
    assert dv.cross_similarity(one, other) == pytest.approx(expected, abs=1e-13)
    assert dv.cross_similarity(other, one) == pytest.approx(expected, abs=1e-13)


def test_cross_similarity_by_hand() -> None:
    assert dv.cross_similarity([[1, 0]], [[0, 5]]) == 0
    assert dv.cross_similarity([[2, 0]], [[7, 0], [-1, 0]]) == 0
    assert dv.cross_similarity([[1, 0]] * 3, [[9, 0]] * 2) == 1
    assert dv.cross_similarity([[1, 0]], [[1, 0], [0, 1]]) == pytest.approx(0.5)
    assert -1 <= dv.cross_similarity([[0.1, 0.3]], [[-0.1, -0.3]]) <= 0
    with pytest.raises(UserError, match="of one width"):
        dv.cross_similarity([[1, 0]], [[1, 0, 0]])
    with pytest.raises(UserError, match="zero vectors"):
        dv.cross_similarity([[1, 0]], [[0, 0]])


@quiet
@given(shapes)
def test_vendi_is_the_entropy_of_the_kernel(shape: tuple[int, int, int]) -> None:
    rows = draw(shape)
    kernel = np.array([[cosine(a, b) for b in rows] for a in rows])
    shares = [float(p) for p in np.linalg.eigvalsh(kernel / len(rows)) if p > 1e-15]
    expected = math.exp(-sum(p * math.log(p) for p in shares))
    assert dv.vendi(rows) == pytest.approx(expected, rel=1e-10)


def test_vendi_by_hand() -> None:
    assert dv.vendi([[0.2, 5.0]]) == 1
    assert dv.vendi(np.eye(6)) == pytest.approx(6, rel=1e-14)
    assert dv.vendi([[1, 0], [2, 0], [0, 1], [0, 9]]) == pytest.approx(2, rel=1e-14)
    assert dv.vendi([[1, 2, 3]] * 4) == pytest.approx(1, rel=1e-14)
    skew = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert dv.vendi([[1, 0], [1, 0], [1, 0], [0, 1]]) == pytest.approx(skew, rel=1e-14)
    assert dv.vendi([[1.0], [-1.0]]) == pytest.approx(1, rel=1e-14)  # one dimension, one kind


@quiet
@given(texts_of, st.integers(1, 3))
def test_distinct_n_is_the_share_of_new_n_grams(texts: list[str], n: int) -> None:
    grams = []
    for text in texts:
        words = [word.lower() for word in text.split()]
        grams += [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]
    assert dv.distinct_n(texts, n) == (len(set(grams)) / len(grams) if grams else 0)
    assert dv.mean_words(texts) == np.mean([len(text.split()) for text in texts])


def test_distinct_n_by_hand() -> None:
    assert dv.distinct_n(["The cat", "the dog\n THE"], 1) == 3 / 5
    assert dv.distinct_n(["a b", "c a b"], 2) == 2 / 3  # ab, ca, ab; "b c" crosses responses
    assert dv.distinct_n(["one", "two"], 2) == 0 == dv.distinct_n(["", "  "], 1)
    assert dv.mean_words(["one two", ""]) == 1


@quiet
@given(labels_of)
def test_answers_by_definition(labels: list[Any]) -> None:
    valid = [label for label in labels if label is not None]
    shares = [valid.count(label) / len(valid) for label in set(valid)]
    entropy = -sum(p * math.log(p) for p in shares)
    assert dv.answer_entropy(labels) == pytest.approx(entropy, abs=1e-15)
    assert dv.distinct_answers(labels) == len(set(valid))
    assert dv.invalid_rate(labels) == labels.count(None) / len(labels)


def test_answers_by_hand() -> None:
    assert dv.answer_entropy(["a", "b", None]) == math.log(2)
    assert str(dv.answer_entropy(["a", "a"])) == "0.0" == str(dv.answer_entropy([None]))
    assert dv.distinct_answers(["a", "a", 0, None]) == 2 and dv.distinct_answers([None]) == 0
    assert dv.invalid_rate([None, "a", "", 0]) == 0.25


BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: dv.cosine_distance([[1.0, 2.0]]), "at least 2 rows.*got 1"),
    (lambda: dv.cosine_distance([[1, 0], [0, 0]]), "zero.*row 1"),
    (lambda: dv.vendi([[1.0, 0.0], [0.0, math.nan]]), "finite.*row 1"),
    (lambda: dv.vendi([1.0, 2.0]), r"shape \(n, d\).*\(2,\)"),
    (lambda: dv.vendi(np.zeros((0, 3))), r"\(0, 3\)"),
    (lambda: dv.vendi([["1"]]), "numbers"),
    (lambda: dv.distinct_n(["a"], 0), "n must be.*0"),
    (lambda: dv.distinct_n(["a"], True), "n must be.*True"),
    (lambda: dv.distinct_n([], 1), "at least one"),
    (lambda: dv.distinct_n("one text", 1), "list of.*one text"),
    (lambda: dv.mean_words([]), "at least one"),
    (lambda: dv.mean_words(["a", None]), "strings.*NoneType at 1"),  # type: ignore[list-item]
    (lambda: dv.invalid_rate([]), "at least one"),
    (lambda: dv.answer_entropy([]), "at least one"),
    (lambda: dv.distinct_answers("abc"), "list of.*abc"),
]


@pytest.mark.parametrize(("call", "text"), BAD)
def test_mistakes_are_told(call: Callable[[], object], text: str) -> None:
    with pytest.raises(UserError, match=text):
        call()


@pytest.mark.parametrize(
    "text, n, share",
    [
        ("", 4, 0.0),
        ("one two three", 4, 0.0),
        ("a b c d", 4, 0.0),
        ("a b a b a b", 2, 3 / 5),
        ("A b a B", 1, 0.5),
        ("x x x x x x x", 4, 3 / 4),
    ],
)
def test_repetition_is_the_share_of_n_grams_that_came_before(text, n, share):
    assert dv.repetition(text, n) == pytest.approx(share)
