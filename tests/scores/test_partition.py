"""NoveltyBench's classes and figures against its rules written out one pair at a time."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btrans_eval.errors import UserError
from btrans_eval.scores.diversity import answer_entropy
from btrans_eval.scores.partition import (
    distinct_k,
    few_words_alike,
    partitions,
    quality,
    utility_k,
)

quiet = settings(database=None, deadline=None, max_examples=150)
rows_of = st.lists(
    st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=9), min_size=1, max_size=4
)


def one_at_a_time(row: list[str], alike: Callable[[str, str], bool]) -> list[int]:
    """The first without a class opens one; each later one without a class is asked after it."""
    labels: dict[int, int] = {}
    classes = 0
    for i in range(len(row)):
        if i in labels:
            continue
        labels[i] = classes
        for j in range(i + 1, len(row)):
            if j not in labels and alike(row[i], row[j]):
                labels[j] = classes
        classes += 1
    return [labels[i] for i in range(len(row))]


@quiet
@given(rows_of, st.sets(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh"))))
def test_all_questions_at_once_are_each_one_pair_at_a_time(
    rows: list[list[str]], similar: set[tuple[str, str]]
) -> None:
    """For any relation: neither symmetric, nor transitive, nor true of a text and itself."""
    asked: list[tuple[str, str]] = []

    def alike(pairs):
        asked.extend(pairs)
        return [pair in similar for pair in pairs]

    found = partitions(rows, alike)
    assert found == [one_at_a_time(row, lambda a, b: (a, b) in similar) for row in rows]
    assert len(asked) == len(set(asked))


def test_classes_by_hand() -> None:
    chain = {("a", "b"), ("b", "c"), ("c", "d")}

    def alike(pairs):
        return [pair in chain for pair in pairs]

    assert partitions([list("abcd")], alike) == [[0, 0, 1, 1]]  # c is asked after a, not after b
    assert partitions([list("bcda")], alike) == [[0, 0, 1, 2]]
    assert partitions([list("dcba"), ["a"], list("ab")], alike) == [[0, 1, 2, 3], [0], [0, 0]]
    assert partitions([["same"] * 5], lambda pairs: [True] * len(pairs)) == [[0] * 5]
    assert partitions([], alike) == []


def test_single_responses_ask_nothing() -> None:
    def never(pairs):
        raise AssertionError("there is no pair")

    assert partitions([["x"], ["y"]], never) == [[0], [0]]


@pytest.mark.parametrize("rows", [[[]], [["a"], []], ["text"]])
def test_a_question_without_responses_is_refused(rows) -> None:
    with pytest.raises(UserError, match="must have a response"):
        partitions(rows, lambda pairs: [True] * len(pairs))


def test_every_pair_needs_a_verdict() -> None:
    with pytest.raises(UserError, match="alike must decide each of 2 pairs, got 1"):
        partitions([["a", "b", "c"]], lambda pairs: [True])


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("Brad Pitt\n", "brad  pitt", True),
        ("Brad Pitt", "Tom Hanks", False),
        ("Nairobi", "Nairobi, Kenya", False),  # "nairobi" is not "nairobi,"
        ("Nairobi Kenya", "Nairobi", True),  # one of two
        ("a b c", "a", False),  # one of three
        ("a b c d e", "a b c", True),
        ("a b c d e", "a b", False),
        ("no no no", "no", False),  # one word in common, of three
        ("no no", "no", True),
        ("", "", True),
        ("", "a", False),
        ("a b c d e f", "a", None),
        ("a", "a b c d e f", None),
        (" \n", "a b c d e f", None),
    ],
)
def test_few_words_are_compared_by_words(one: str, other: str, expected: bool | None) -> None:
    assert few_words_alike(one, other) is expected
    assert few_words_alike(other, one) is expected


@pytest.mark.parametrize(
    ("labels", "qualities", "expected"),
    [  # of the submission that is published beside the code (gemini-1.5-pro, nb-curated)
        ([0] * 10, [10] + [0] * 9, 2.2405804992033427),
        ([0, 1, 2, 1, 3, 4, 5, 6, 1, 2], [5, 8, 7, 0, 9, 2, 2, 9, 0, 0], 5.0712144671895265),
        ([0, 1, 1, 1, 1, 0, 2, 3, 0, 1], [7, 2, 0, 0, 0, 0, 6, 5, 0, 0], 2.5142539636980357),
        ([0, 0, 1, 1, 0, 1, 2, 1, 3, 3], [9, 0, 10, 0, 0, 0, 9, 0, 9, 0], 4.317429556722693),
        ([0, 1, 2, 3, 4, 0, 0, 5, 2, 6], [10, 8, 9, 10, 9, 0, 0, 9, 0, 7], 7.57167454261184),
    ],
)
def test_utility_is_that_of_the_published_submission(labels, qualities, expected) -> None:
    assert utility_k(labels, qualities) == pytest.approx(expected, rel=1e-13)
    seen = [quality or 3 for quality in qualities]  # what repeats a class is worth nothing
    assert utility_k(labels, seen) == pytest.approx(expected, rel=1e-13)


@quiet
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 10)), min_size=1, max_size=12))
def test_utility_is_the_papers_formula(row: list[tuple[int, int]]) -> None:
    p, k, total = 0.8, len(row), 0.0
    for i in range(k):
        if all(row[j][0] != row[i][0] for j in range(i)):
            total += p**i * row[i][1]
    expected = (1 - p) / (1 - p**k) * total
    labels, qualities = zip(*row, strict=True)
    assert utility_k(labels, qualities) == pytest.approx(expected, rel=1e-12)
    assert utility_k(labels, qualities, 1.0) == pytest.approx(
        sum(q for n, (label, q) in enumerate(row) if label not in labels[:n]) / k
    )


def test_utility_by_hand() -> None:
    assert utility_k([0], [7]) == 7
    assert utility_k([0, 1], [10, 10]) == pytest.approx(10)
    assert utility_k([0, 0], [10, 10]) == pytest.approx(10 / 1.8)


@pytest.mark.parametrize(
    ("labels", "qualities", "patience"),
    [([], [], 0.8), ([0], [1, 2], 0.8), ([0], [1], 0), ([0], [1], 1.1), ([0], [1], math.nan)],
)
def test_utility_refuses(labels, qualities, patience) -> None:
    with pytest.raises(UserError, match="patience must lie|labels and qualities must be"):
        utility_k(labels, qualities, patience)


def test_a_reward_is_worth_one_to_ten() -> None:
    steps = [-7.71875, -6.28125, -6.0, -5.71875, -5.5, -5.0, -4.375, -3.4375, -2.046875]
    for number, step in enumerate(steps, 1):
        assert quality(step) == number  # a reward on a step is below it
        assert quality(math.nextafter(step, 0)) == number + 1
    assert (quality(-1e9), quality(1e9)) == (1, 10)
    for bad in (math.nan, math.inf):
        with pytest.raises(UserError, match="finite"):
            quality(bad)


def test_classes_are_counted() -> None:
    assert distinct_k([0, 1, 1, 2]) == 3
    assert distinct_k([0]) == 1
    assert answer_entropy([0, 0, 1, 1]) == pytest.approx(math.log(2))
    with pytest.raises(UserError, match="at least one response"):
        distinct_k([])
