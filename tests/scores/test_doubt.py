"""Two kinds of doubt against their definitions, by loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from btrans_eval.errors import UserError
from btrans_eval.scores.doubt import doubt, summary
from btrans_eval.scores.uncertainty import auroc, expected_calibration_error


def drawn(questions=12, members=3, choices=4, seed=0):
    draws = np.random.default_rng(seed)
    return [
        doubt(draws.normal(-20, 3, (members, choices)), int(draws.integers(choices)))
        for _ in range(questions)
    ]


def entropy(shares):
    return -sum(share * math.log(share) for share in shares if share > 0)


def test_probabilities_are_softmaxes_and_their_mean():
    table = [[-1.0, -2.0, -3.0], [-800.0, -801.0, -799.0]]
    found = doubt(table, 1)
    expected = []
    for row in table:
        weights = [math.exp(value - max(row)) for value in row]
        expected.append([weight / sum(weights) for weight in weights])
    assert found.members == pytest.approx(np.array(expected))
    mean = [(a + b) / 2 for a, b in zip(*expected, strict=True)]
    assert found.mean == pytest.approx(np.array(mean))
    assert found.entropy == pytest.approx(entropy(mean))
    assert found.aleatoric == pytest.approx((entropy(expected[0]) + entropy(expected[1])) / 2)
    assert found.epistemic == pytest.approx(found.entropy - found.aleatoric)


def test_epistemic_doubt_is_the_mutual_information():
    for one in drawn():
        count = len(one.members)
        direct = sum(
            share / count * math.log(share / one.mean[choice])
            for row in one.members
            for choice, share in enumerate(row)
        )
        assert one.epistemic == pytest.approx(direct)


def test_members_that_agree_have_no_epistemic_doubt_and_sure_ones_that_do_not_all_of_it():
    same = doubt([[-1.0, -2.0]] * 4, 0)
    assert (
        same.epistemic == 0 and same.entropy == pytest.approx(same.aleatoric) and same.entropy > 0
    )
    apart = doubt([[0.0, -math.inf], [-math.inf, 0.0]], 0)
    assert apart.aleatoric == 0 and apart.epistemic == pytest.approx(math.log(2))


def test_the_most_probable_choice_is_not_always_the_likeliest():
    """A member to whom the question is likely in all counts for more in the mean likelihood."""
    one = doubt([[math.log(0.6), math.log(0.4)], *[[math.log(0.001), math.log(0.009)]] * 2], 1)
    assert one.mean.argmax() == 1 and one.likeliest == 0
    found = summary([one])
    assert found["accuracy"] == 1 and found["accuracy_of_mean_likelihood"] == 0


def test_figures_are_those_of_loops():
    questions = drawn(40)
    found = summary(questions)
    right = [float(max(range(4), key=lambda c, q=q: q.mean[c]) == q.gold) for q in questions]
    assert found["accuracy"] == pytest.approx(sum(right) / 40)
    own = [float(row.argmax() == q.gold) for q in questions for row in q.members]
    assert found["accuracy_of_a_member"] == pytest.approx(sum(own) / len(own))
    assert found["nll"] == pytest.approx(sum(-math.log(q.mean[q.gold]) for q in questions) / 40)
    nll = [-math.log(row[q.gold]) for q in questions for row in q.members]
    assert found["nll_of_a_member"] == pytest.approx(sum(nll) / len(nll))
    brier = [
        sum((share - (choice == q.gold)) ** 2 for choice, share in enumerate(q.mean))
        for q in questions
    ]
    assert found["brier"] == pytest.approx(sum(brier) / 40)
    sure = [max(q.mean) for q in questions]
    assert found["ece_20"] == pytest.approx(expected_calibration_error(sure, right, 20))
    calm = [1 - q.epistemic / math.log(4) for q in questions]
    assert found["auroc_epistemic"] == pytest.approx(auroc(calm, right))
    assert found["entropy"] == pytest.approx(found["aleatoric"] + found["epistemic"])
    # the mean is never less likely than members are on average (Jensen)
    assert found["nll"] < found["nll_of_a_member"] and found["brier"] < found["brier_of_a_member"]


def test_members_that_are_the_same_tell_nothing_apart():
    draws = np.random.default_rng(3)
    rows = [draws.normal(-20, 3, 4) for _ in range(30)]
    found = summary([doubt([row] * 3, int(draws.integers(4))) for row in rows])
    assert found["auroc_epistemic"] == 0.5 and found["epistemic"] == pytest.approx(0)


def test_a_chance_too_small_for_a_float_has_a_logarithm():
    assert summary([doubt([[-2000.0, 0.0]], 0)])["nll"] == pytest.approx(2000)


def test_what_has_no_value_is_none():
    certain = doubt([[0.0, -math.inf], [0.0, -math.inf]], 1)
    found = summary([certain])
    assert found["nll"] is None and found["auroc_entropy"] is None and found["accuracy"] == 0


@pytest.mark.parametrize(
    "table, gold, said",
    [
        ([[1.0]], 0, "shape"),
        ([], 0, "shape"),
        ([[math.nan, 0.0]], 0, "NaN"),
        ([[math.inf, 0.0]], 0, "inf"),
        ([[-math.inf, -math.inf]], 0, "likelihood 0"),
        ([[0.0, 1.0]], 2, "gold"),
        ([[0.0, 1.0]], -1, "gold"),
    ],
)
def test_what_is_no_likelihood_is_refused(table, gold, said):
    with pytest.raises(UserError, match=said):
        doubt(table, gold)


def test_no_question_is_refused():
    with pytest.raises(UserError, match="questions"):
        summary([])
