"""The columns of a question's vote against loops over its responses."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from btrans_eval.scores import uncertainty
from btrans_eval.scores.summary import (
    LOWER_IS_BETTER,
    NEITHER_IS_BETTER,
    answer_columns,
    question_columns,
)

SURE = {"vote_share", "vote_brier"}


def cases(count=200):
    draws = random.Random(3)
    for _ in range(count):
        n = draws.randint(2, 9)
        yield (
            [draws.choice(["a", "b", "c", 7, None]) for _ in range(n)],
            [float(draws.randint(0, 1)) for _ in range(n)],
        )


def slow(labels, scores):
    """The winner is drawn among the tied classes, its response among the class's: a mean."""
    votes = Counter(label for label in labels if label is not None)
    if not votes:
        return 0.0, 0.0
    most = max(votes.values())
    share = most / len(labels)
    tied = [label for label in votes if votes[label] == most]
    brier = 0.0
    for winner in tied:
        own = [score for label, score in zip(labels, scores, strict=True) if label == winner]
        brier += sum((right - share) ** 2 for right in own) / len(own) / len(tied)
    return share, brier


def test_share_and_brier_of_a_vote_are_those_of_their_definition():
    for labels, scores in cases():
        found = question_columns(scores, labels)
        assert (found["vote_share"], found["vote_brier"]) == pytest.approx(slow(labels, scores))


def test_the_mean_of_the_columns_is_the_brier_score_over_questions():
    every = [question_columns(scores, labels) for labels, scores in cases()]
    credits = [
        next(found[f"maj@{k}"] for k in range(9, 1, -1) if f"maj@{k}" in found) for found in every
    ]
    shares = [found["vote_share"] for found in every]
    mean = sum(found["vote_brier"] for found in every) / len(every)
    assert mean == pytest.approx(uncertainty.brier(shares, credits).score)


@pytest.mark.parametrize(
    "labels, scores, share, brier",
    [
        ([0, 0, 0, 1], [1, 1, 1, 0], 3 / 4, 1 / 16),
        ([0, 0, 0, 1], [0, 0, 0, 1], 3 / 4, 9 / 16),
        ([0, 0, None, None], [1, 1, 0, 0], 1 / 2, 1 / 4),  # invalid answers count
        ([0, 1], [1, 0], 1 / 2, 1 / 4),  # a tie
        ([0, 0], [1.0, 0.5], 1.0, 1 / 4),  # partial credit: right with weight 3/4
        ([None, None], [0, 0], 0.0, 0.0),  # sure of nothing, and wrong
        ([4, 4], [1, 1], 1.0, 0.0),
    ],
)
def test_by_hand(labels, scores, share, brier):
    found = question_columns(scores, labels, binary=False)
    assert (found["vote_share"], found["vote_brier"]) == pytest.approx((share, brier))


def test_a_single_response_is_no_vote_and_scores_alone_are_none():
    assert not SURE & question_columns([1.0], ["a"]).keys()
    assert not SURE & question_columns([1.0], [None]).keys()
    assert not SURE & question_columns([1.0, 0.0], None).keys()
    assert "maj@1" in question_columns([1.0], ["a"])


def test_answers_without_scores_have_a_share_and_no_brier_score():
    assert SURE & answer_columns(["a", "b"]).keys() == {"vote_share"}


def test_less_is_better_of_columns_that_exist():
    found = question_columns([1.0, 0.0], ["a", "b"]).keys() | {"truncated_rate"}
    of_texts = {name for name in LOWER_IS_BETTER if name.startswith("repetition")}
    assert found >= LOWER_IS_BETTER - of_texts and "vote_brier" in LOWER_IS_BETTER
    assert "vote_share" in NEITHER_IS_BETTER and not NEITHER_IS_BETTER & LOWER_IS_BETTER
