"""The vote weighted by log-probability against its definition, in 60 decimals."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btrans_eval.errors import UserError
from btrans_eval.scores.estimators import maj_at_k
from btrans_eval.scores.weighted import weighted_vote

quiet = settings(database=None, deadline=None, max_examples=200)
rows = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", 7, None]),
        st.sampled_from([0.0, 0.5, 1.0]),
        st.integers(-400, 0).map(lambda number: number / 100),
    ),
    min_size=1,
    max_size=9,
)


def loop(row) -> float:
    """One class after another; each weight is the root of a product of probabilities."""
    with localcontext() as context:
        context.prec = 60
        weights: dict = {}
        for label, _, logprob in row:
            if label is not None:
                weights[label] = weights.get(label, Decimal(0)) + Decimal(logprob).exp()
        if not weights:
            return 0.0
        most = max(weights.values())
        winners = [
            label for label, each in weights.items() if most - each <= most * Decimal("1e-12")
        ]
    credit = 0.0
    for label in winners:
        own = [score for each, score, _ in row if each == label]
        credit += sum(own) / len(own)
    return credit / len(winners)


def vote(row) -> float:
    return weighted_vote(*(list(column) for column in zip(*row, strict=True)))


@quiet
@given(rows)
def test_it_is_its_definition(row):
    assert vote(row) == pytest.approx(loop(row), abs=1e-12)


@quiet
@given(rows, st.randoms())
def test_order_and_a_common_factor_change_nothing(row, random):
    shuffled = random.sample(row, len(row))
    assert vote(shuffled) == vote(row)
    assert vote([(label, score, logprob - 0.25) for label, score, logprob in row]) == vote(row)


@quiet
@given(rows, st.sampled_from([0.0, -0.3, -900.0]))
def test_of_equal_weights_it_is_the_plain_vote(row, logprob):
    labels, scores, _ = (list(column) for column in zip(*row, strict=True))
    found = weighted_vote(labels, scores, [logprob] * len(row))
    assert found == maj_at_k(labels, scores, len(labels))


def test_one_sure_response_outvotes_two_unsure_ones():
    labels, scores = ["right", "wrong", "wrong"], [1.0, 0.0, 0.0]
    assert maj_at_k(labels, scores, 3) == 0
    assert weighted_vote(labels, scores, [-0.1, -1.5, -1.5]) == 1
    assert weighted_vote(labels, scores, [-0.1, -0.5, -0.5]) == 0


def test_the_weight_is_the_geometric_mean_of_probabilities_and_not_of_their_product():
    """Else a long response would weigh less than a short one of the same probability a token."""
    long, short = [0.8] * 50, [0.7] * 2
    means = [sum(map(math.log, each)) / len(each) for each in (long, short)]
    assert weighted_vote(["long", "short"], [1.0, 0.0], means) == 1


def test_ties_share_the_credit():
    assert weighted_vote(["a", "b"], [1.0, 0.0], [-0.5, -0.5]) == 0.5
    # 0.1 + 0.2 against 0.3, which floats have otherwise
    weights = [math.log(each) for each in (0.1, 0.2, 0.3)]
    assert weighted_vote(["a", "a", "b"], [1.0, 1.0, 0.0], weights) == 0.5


def test_invalid_answers_do_not_vote_and_need_no_weight():
    assert weighted_vote([None, None], [1.0, 1.0], [None, -0.1]) == 0
    assert weighted_vote([None, "a"], [0.0, 1.0], [None, -9.0]) == 1
    assert weighted_vote(["a"], [0.5], [-700.0]) == 0.5


def test_weights_too_small_for_floats_are_told_apart():
    assert weighted_vote(["a", "b"], [0.0, 1.0], [-2000.0, -1000.0]) == 1


@pytest.mark.parametrize(
    "row, said",
    [
        ((["a", "b"], [1.0], [0.0, 0.0]), "classes must have one each, got 1 scores and 2 log"),
        ((["a"], [1.0], [-0.1, -0.1]), "got 1 scores and 2 log-probabilities for 1 responses"),
        (([], [], []), "classes must be a list of at least one label"),
        ((["a"], [2.0], [0.0]), "scores must lie between 0 and 1, got 2"),
        ((["a"], [1.0], [None]), "logprobs: must be finite and at most 0, got None"),
        ((["a"], [1.0], [0.1]), "logprobs: must be finite and at most 0, got 0.1"),
        ((["a"], [1.0], [float("-inf")]), "logprobs: must be finite and at most 0, got -inf"),
        ((["a"], [1.0], [float("nan")]), "logprobs: must be finite and at most 0, got nan"),
    ],
)
def test_what_is_refused(row, said):
    with pytest.raises(UserError, match=said):
        weighted_vote(*row)
