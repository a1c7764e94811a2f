"""What a mathematician who grades MATH would call the same answer, decided before it was run."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from btrans_eval.answers.equivalence import Classes, Judge, classes
from btrans_eval.answers.normalize import normalize
from btrans_eval.answers.workers import Pool

HERE = Path(__file__).parent


def pairs(name: str) -> list[tuple[str, str]]:
    """The pairs of a table, one a line."""
    lines = (HERE / f"pairs_{name}.txt").read_text(encoding="utf-8").splitlines()
    found = [line.split(" ≡ ") for line in lines if not line.startswith("#")]
    return [(a, b) for a, b in found]


@pytest.fixture(scope="module")
def judge():
    with Judge() as one:
        yield one


@pytest.mark.parametrize("a, b", pairs("same"))
def test_same(judge, a, b):
    assert judge.equal(a, b, "latex") is True


@pytest.mark.parametrize("a, b", pairs("apart"))
def test_apart(judge, a, b):
    assert judge.equal(a, b, "latex") is False


@pytest.mark.parametrize("a, b", pairs("missed"))
def test_what_is_missed_is_known(judge, a, b):
    assert judge.equal(a, b, "latex") is not True


@pytest.mark.parametrize("table", ["same", "apart"])
def test_equality_is_symmetric_and_survives_normalization(judge, table):
    answers = pairs(table)
    there = judge.equal_pairs([(a, b, "latex") for a, b in answers])
    fresh = Judge(pool=judge.pool)
    assert fresh.equal_pairs([(b, a, "latex") for a, b in answers]) == there
    again = [(normalize(a, "latex"), normalize(b, "latex"), "latex") for a, b in answers]
    assert fresh.equal_pairs(again) == there


@pytest.mark.parametrize(
    "kind, a, b, same",
    [
        ("letter", "C", "C", True),
        ("letter", "C", "D", False),
        ("integer", "70", "70", True),
        ("number", "0.5", "1/2", False),  # extraction writes a number in one form only
        ("text", "Foo  Bar", "foo bar", True),
        ("text", "x=5", "5", False),
    ],
)
def test_other_kinds_are_compared_as_texts(kind, a, b, same):
    judge = Judge()
    assert judge.equal(a, b, kind) is same
    assert not judge.pool.workers


def test_structure_alone_needs_no_worker():
    judge = Judge()
    answers = ["1/2", "0.3", "(1,2)", "\\{1,2\\}", "\\text{even}", "5\\text{ cm}", "x=6", "50\\%"]
    assert not any(judge.equal_pairs([(a, b, "latex") for a, b in combinations(answers, 2)]))
    assert not judge.pool.workers


def test_verdicts_are_kept_and_used():
    kept: dict[tuple[str, str, str], bool | None] = {}
    with Judge(kept) as judge:
        assert judge.equal("\\sqrt{12}", "2\\sqrt{3}", "latex")
    assert kept == {("latex", "2\\sqrt{3}", "\\sqrt{12}"): True}
    kept["latex", "2\\sqrt{3}", "\\sqrt{12}"] = False
    again = Judge(kept)
    assert again.equal("2\\sqrt3", "\\sqrt{12}", "latex") is False
    assert not again.pool.workers


def test_an_undecided_pair_is_unequal_counted_and_shown():
    tower, other = "9^{9^{9^9}}", "9^{9^{9^8}}"
    with Judge(pool=Pool(cpu_seconds=0.5)) as judge:
        found = classes([tower, other, "1/2", tower, "0.5"], "latex", judge)
        assert found.labels == [0, 1, 2, 0, 2]
        assert found.undecided == judge.undecided >= 1
        assert all(reason == "timed out" for _, _, reason in judge.examples)
        texts = {normalize(tower, "latex"), normalize(other, "latex")}
        assert texts in [{a, b} for a, b, _ in judge.examples]
        before = judge.undecided
        assert judge.equal(tower, other, "latex") is None
        assert judge.undecided == before  # the same pair counts once


def test_classes_of_answers(judge):
    answers = ["\\frac12", None, "0.5", "2", "1/2", " ", "x = 2", None]
    assert classes(answers, "latex", judge) == Classes([0, None, 0, 1, 0, None, 1, None], 0, 0)
    assert classes([], "latex", judge) == Classes([], 0, 0)
    assert classes([None, None], "latex", judge) == Classes([None, None], 0, 0)
    assert classes(["C"], "letter", judge) == Classes([0], 0, 0)


@pytest.mark.parametrize(
    "answers, labels",
    [
        (["x=5", "5", "y=5"], [0, 0, 1]),  # sorted: 5, x=5, y=5; the bare value joins x first
        (["y=5", "x=5", "5"], [0, 1, 1]),
        (["5\\text{ m}", "5", "5\\text{ cm}"], [0, 1, 1]),
    ],
)
def test_what_is_no_clique_is_split(judge, answers, labels):
    assert classes(answers, "latex", judge) == Classes(labels, 1, 0)


class Fake:
    """An equality that is symmetric and nothing else."""

    def __init__(self, equal):
        self.equal = {frozenset(pair) for pair in equal}

    def equal_pairs(self, pairs):
        return [frozenset((a, b)) in self.equal for a, b, _ in pairs]


ANSWERS = st.lists(st.sampled_from([None, *"abcdefg"]), max_size=12)
EQUAL = st.lists(st.sampled_from(list(combinations("abcdefg", 2))), unique=True)


def partition(answers, found):
    """Which answers share a class."""
    return {frozenset(a for a, at in zip(answers, found.labels, strict=True) if at == label)
            for label in found.labels if label is not None}  # fmt: skip


@given(ANSWERS, EQUAL, st.randoms())
def test_the_order_of_the_responses_does_not_matter(answers, equal, random):
    shuffled = random.sample(answers, len(answers))
    one, other = (classes(each, "text", Fake(equal)) for each in (answers, shuffled))
    assert partition(answers, one) == partition(shuffled, other)
    assert one.splits == other.splits


@given(ANSWERS, EQUAL)
def test_classes_are_numbered_cliques(answers, equal):
    fake = Fake(equal)
    found = classes(answers, "text", fake)
    assert [label is None for label in found.labels] == [answer is None for answer in answers]
    seen = [label for label in found.labels if label is not None]
    assert list(dict.fromkeys(seen)) == list(range(len(set(seen))))  # in order of appearance
    for group in partition(answers, found):
        assert all(frozenset(pair) in fake.equal for pair in combinations(group, 2))


@given(st.lists(st.sampled_from("abcdefg"), max_size=10), st.integers(0, 3))
def test_an_equality_that_is_transitive_is_never_split(answers, modulus):
    of = {letter: ord(letter) % (modulus + 1) for letter in "abcdefg"}
    fake = Fake(p for p in combinations("abcdefg", 2) if of[p[0]] == of[p[1]])
    found = classes(answers, "text", fake)
    assert found.splits == 0
    for (a, i), (b, j) in combinations(zip(answers, found.labels, strict=True), 2):
        assert (i == j) == (of[a] == of[b])
