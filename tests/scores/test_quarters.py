"""Repetition and distinct words over length, against loops over words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btrans_eval.errors import UserError
from btrans_eval.scores import quarters as qt
from btrans_eval.scores.diversity import distinct_n, repetition

quiet = settings(database=None, deadline=None, max_examples=150)
text_of = st.lists(st.sampled_from(["a", "B", "b", "c"]), max_size=40).map(" ".join)
EMPTY = {"repetition": 0.0} | {
    f"{name}_q{place}": 0.0
    for name in ("repetition", "distinct_1", "distinct_2")
    for place in (1, 2, 3, 4)
}


def places(count: int, quarter: int) -> list[int]:
    """Numbers of the quarter's n-grams, of ``count``."""
    return [g for g in range(count) if (quarter - 1) * count // 4 <= g < quarter * count // 4]


@quiet
@given(text_of, st.integers(1, 5))
def test_repetition_of_a_quarter_is_what_stood_before(text: str, n: int) -> None:
    words = text.lower().split()
    count = max(len(words) - n + 1, 0)
    for quarter, share in enumerate(qt.repetition_by_quarter(text, n), 1):
        own = places(count, quarter)
        before = 0
        for g in own:
            before += any(words[h : h + n] == words[g : g + n] for h in range(g))
        assert share == (before / len(own) if own else 0)


@quiet
@given(text_of, st.integers(1, 5))
def test_quarters_make_up_the_whole(text: str, n: int) -> None:
    count = max(len(text.split()) - n + 1, 0)
    shares = qt.repetition_by_quarter(text, n)
    whole = sum(share * len(places(count, q)) for q, share in enumerate(shares, 1))
    assert whole == pytest.approx(repetition(text, n) * count)
    assert sorted(g for q in (1, 2, 3, 4) for g in places(count, q)) == list(range(count))


@quiet
@given(st.lists(text_of, min_size=1, max_size=4), st.integers(1, 3))
def test_distinct_of_a_quarter_is_pooled_over_responses(texts: list[str], n: int) -> None:
    for quarter, share in enumerate(qt.distinct_by_quarter(texts, n), 1):
        grams = []
        for text in texts:
            words = text.lower().split()
            for g in places(max(len(words) - n + 1, 0), quarter):
                grams.append(" ".join(words[g : g + n]))
        assert share == (len(set(grams)) / len(grams) if grams else 0)


def test_a_text_that_breaks_late_shows_late() -> None:
    words = [f"w{n}" for n in range(60)] + ["stuck"] * 20
    found = qt.quarter_columns([" ".join(words)])
    early = [found[f"repetition_q{place}"] for place in (1, 2, 3)]
    assert early == [0, 0, 0]
    assert found["repetition_q4"] == pytest.approx(16 / 20)  # 77 sequences: the last 20, 4 new
    assert found["distinct_1_q4"] == pytest.approx(1 / 20)
    assert found["distinct_1_q1"] == 1


def test_columns_are_means_over_responses() -> None:
    found = qt.quarter_columns(["a " * 11, "", "one two three"])
    assert found["repetition"] == pytest.approx((7 / 8 + 0 + 0) / 3)
    assert found["repetition_q1"] == pytest.approx((1 / 2 + 0 + 0) / 3)
    assert found["repetition_q4"] == pytest.approx(1 / 3)
    assert found["distinct_1_q1"] == pytest.approx(1 / 2)  # two of "a"; three words: none yet
    assert found["distinct_1_q4"] == pytest.approx(2 / 4)  # "a a a" and "three"
    assert found.keys() == EMPTY.keys()


@pytest.mark.parametrize("texts", [[""], ["a"], ["", " \n"], ["a b c"]])
def test_short_and_empty_texts(texts: list[str]) -> None:
    found = qt.quarter_columns(texts)
    assert found.keys() == EMPTY.keys()
    assert all(value == 0 for name, value in found.items() if name.startswith("repetition"))
    if not any(text.split() for text in texts):
        assert found == EMPTY
    assert distinct_n(texts, 1) in (0, 1)


def test_no_response_is_refused() -> None:
    for bad in ([], "text"):
        with pytest.raises(UserError, match="at least one response"):
            qt.quarter_columns(bad)
    with pytest.raises(UserError, match="n must be"):
        qt.repetition_by_quarter("a b", 0)
