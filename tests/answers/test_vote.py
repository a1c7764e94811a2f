"""The vote that decides which response a stock task gets."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from btrans_eval.answers.vote import plurality


@pytest.mark.parametrize(
    "classes, chosen, tied",
    [
        (["a"], 0, False),
        (["a", "b", "b"], 1, False),
        (["a", "b", "b", "a"], 0, True),  # a tie goes to the class of the lowest member
        ([None, "b", "a", "a", "b"], 1, True),
        (["a", None, None, None], 0, False),  # invalid answers do not vote
        ([None, None], 0, False),  # nobody votes: member 0
        ([None, None, "c"], 2, False),
        (["a", "b", "c"], 0, True),
    ],
)
def test_plurality(classes, chosen, tied):
    vote = plurality(classes)
    assert (vote.chosen, vote.tied) == (chosen, tied)


@given(st.lists(st.sampled_from([None, "a", "b", "c"]), min_size=1, max_size=9))
def test_plurality_is_the_slow_definition(classes):
    counts = Counter(label for label in classes if label is not None)
    best = [i for i, label in enumerate(classes) if label and counts[label] == max(counts.values())]
    vote = plurality(classes)
    assert vote.chosen == (best[0] if best else 0)
    assert vote.counts == dict(counts)
    assert vote.tied == (list(counts.values()).count(max(counts.values(), default=0)) > 1)
