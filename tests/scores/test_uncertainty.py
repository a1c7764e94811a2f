"""Calibration and abstention against loops, against scikit-learn, and on what has no value."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
from sklearn import metrics

from btrans_eval.errors import UserError
from btrans_eval.scores import counted
from btrans_eval.scores import uncertainty as u


def cases(count=40, ties=True):
    """Confidences that often agree, credits of which some are of ties."""
    draws = random.Random(7)
    for _ in range(count):
        n = draws.randint(2, 30)
        c = [draws.randint(0, 8) / 8 for _ in range(n)]
        y = [draws.choice([0, 1, 0, 1, 0.5, 1 / 3] if ties else [0, 1]) for _ in range(n)]
        yield c, y


def drawn(y, random_numbers):
    return [float(draw < chance) for draw, chance in zip(random_numbers, y, strict=True)]


# --------------------------------------------------------------------------- confidence of votes
@pytest.mark.parametrize(
    "classes, share, of_valid, certainty",
    [
        ([0, 0, 0, 1], 3 / 4, 3 / 4, 0.75 * math.log(3) / math.log(4)),
        ([0, 0, None, None], 1 / 2, 1.0, 1 - 1.5 * math.log(2) / math.log(4)),
        ([0, 1, 2, 3], 1 / 4, 1 / 4, 0.0),
        ([5, 5, 5], 1.0, 1.0, 1.0),
        ([None, None], 0.0, 0.0, 0.0),
        ([3], 1.0, 1.0, 1.0),
        ([None], 0.0, 0.0, 0.0),
    ],
)  # fmt: skip
def test_confidence(classes, share, of_valid, certainty):
    assert u.confidence(classes) == pytest.approx((share, of_valid, certainty))


@pytest.mark.parametrize(
    "one, other",
    [
        ([0, 0, 0, 1, 1, 2], [0, 1, 1, 2, 2, 2]),
        ([0] * 4 + [1] * 3 + [2] * 3, [0] * 6 + [1] * 2 + [2, 3]),
        ([0] * 5 + [1] * 5 + [2] * 4 + [3] * 2, [0] * 10 + [1, 2, 3, 4, 5, 6]),
    ],
)
def test_equal_certainties_are_ties(one, other):
    assert u.confidence(one).certainty == u.confidence(other).certainty
    assert u.confidence(one[::-1]) == u.confidence(one)


def test_no_response_has_no_confidence():
    with pytest.raises(UserError, match="responses"):
        u.confidence([])


# ---------------------------------------------------------------------------------- calibration
def test_brier_is_the_mean_over_draws_and_the_sum_of_its_parts():
    for c, y in cases():
        found = u.brier(c, y)
        assert found.score == pytest.approx(found.calibration + found.refinement, abs=1e-12)
        loop = np.mean([v * (1 - p) ** 2 + (1 - v) * p**2 for p, v in zip(c, y, strict=True)])
        assert found.score == pytest.approx(loop)
    for c, y in cases(ties=False):
        assert u.brier(c, y).score == pytest.approx(metrics.brier_score_loss(y, c, pos_label=1))


def test_the_parts_of_brier_are_those_of_their_definition():
    for c, y in cases():
        calibration = refinement = 0.0
        for value in set(c):
            right = [v for p, v in zip(c, y, strict=True) if p == value]
            rate = sum(right) / len(right)
            calibration += len(right) / len(c) * (value - rate) ** 2
            refinement += len(right) / len(c) * rate * (1 - rate)
        found = u.brier(c, y)
        assert (found.calibration, found.refinement) == pytest.approx((calibration, refinement))


def slow_ece(c, y, bins):
    total = 0.0
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        inside = [i for i, p in enumerate(c) if low < p <= high or (number == 0 and p == 0)]
        if inside:
            gap = sum(c[i] for i in inside) / len(inside) - sum(y[i] for i in inside) / len(inside)
            total += len(inside) / len(c) * abs(gap)
    return total


@pytest.mark.parametrize("bins", [1, 3, 16, 20])
def test_calibration_error_in_bins(bins):
    for c, y in cases():
        assert u.expected_calibration_error(c, y, bins) == pytest.approx(slow_ece(c, y, bins))


def test_ends_of_bins_belong_to_the_lower_one():
    shares = [n / 20 for n in range(21)]  # 3/20 * 20 is 3.0000000000000004
    n, _, _ = counted.binned(counted.count(np.array(shares), np.zeros(21)), 20)
    assert n.tolist() == [[2] + [1] * 19]


def test_without_bins_each_confidence_is_one():
    c, y = [0.25, 0.25, 0.5, 1.0], [1, 0, 1, 0.5]
    assert u.expected_calibration_error(c, y) == pytest.approx((2 * 0.25 + 0.5 + 0.5) / 4)


def test_the_squared_error_has_no_bias():
    """Over all outcomes of questions whose chances are known, its mean is the true one."""
    c = [0.25, 0.25, 0.25, 0.75, 0.75]
    chance = [0.5, 0.5, 0.5, 0.6, 0.6]
    expected = 0.0
    plug_in = 0.0
    for outcome in itertools.product([0, 1], repeat=5):
        weight = math.prod(p if o else 1 - p for p, o in zip(chance, outcome, strict=True))
        expected += weight * u.squared_calibration_error(c, outcome).value
        plug_in += weight * u.brier(c, outcome).calibration
    true = (3 * 0.25**2 + 2 * 0.15**2) / 5
    assert expected == pytest.approx(true) and plug_in > true + 0.05


def test_bins_of_one_question_cannot_be_freed_of_bias():
    assert u.squared_calibration_error([0.1, 0.2, 0.3], [1, 0, 1]) == (None, 0)
    assert u.squared_calibration_error([0.1, 0.2, 0.2], [1, 0, 1]).questions == 2


# ----------------------------------------------------------------------------- right from wrong
def slow_auroc(c, y):
    won = pairs = 0.0
    for i, j in itertools.permutations(range(len(c)), 2):
        weight = y[i] * (1 - y[j])
        pairs += weight
        won += weight * ((c[i] > c[j]) + 0.5 * (c[i] == c[j]))
    return won / pairs if pairs else None


def test_auroc_is_the_chance_of_its_definition():
    for c, y in cases():
        expected = slow_auroc(c, y)
        assert u.auroc(c, y) == (None if expected is None else pytest.approx(expected))
    for c, y in cases(ties=False):
        if 0 < sum(y) < len(y):
            assert u.auroc(c, y) == pytest.approx(metrics.roc_auc_score(y, c))


def test_auprc_is_average_precision():
    for c, y in cases():
        if not sum(y):
            continue
        both = metrics.average_precision_score(
            [1] * len(c) + [0] * len(c), [*c, *c], sample_weight=[*y, *(1 - v for v in y)]
        )
        assert u.auprc(c, y) == pytest.approx(both)


@pytest.mark.parametrize("y", [[1, 1, 1], [0, 0, 0]])
def test_of_one_kind_alone_there_is_no_ranking(y):
    c = [0.2, 0.5, 0.9]
    assert u.auroc(c, y) is None and u.rejection_ratio(c, y) is None
    assert u.auprc(c, y) == (1.0 if y[0] else None)
    assert u.aurc(c, y) == 1 - y[0]
    found = u.figures(c, y)
    assert found["auroc"] is None and found["brier"] is not None


def test_one_question():
    found = u.figures([0.75], [1])
    assert found["brier"] == 0.0625 and found["ece"] == 0.25 and found["auroc"] is None
    assert found["accuracy@50"] == 1.0 and found["squared_error"] is None


# ---------------------------------------------------------------------------------- abstention
def slow_curve(c, y):
    """Mean over all orders in which questions of equal confidence may come."""
    orders = [
        order
        for order in itertools.permutations(range(len(c)))
        if all(c[a] >= c[b] for a, b in itertools.pairwise(order))
    ]
    risks = [
        [sum(1 - y[i] for i in order[:n]) / n for n in range(1, len(c) + 1)] for order in orders
    ]
    return np.mean(risks, axis=0)


def test_risk_coverage_is_the_mean_over_orders():
    for c, y in itertools.islice((pair for pair in cases(200) if len(pair[0]) <= 6), 12):
        curve = u.risk_coverage(c, y)
        assert curve == pytest.approx(slow_curve(c, y))
        assert u.aurc(c, y) == pytest.approx(float(np.mean(curve)))
        for coverage in (0.2, 0.5, 0.8, 1.0):
            kept = math.ceil(coverage * len(c) - 1e-9)
            assert u.accuracy_at(c, y, coverage) == pytest.approx(1 - curve[kept - 1])


def test_coverage_is_no_more_than_asked_for_by_rounding():
    c, y = [n / 10 for n in range(10)], [0] * 2 + [1] * 8
    assert u.accuracy_at(c, y, 0.8) == 1.0  # 0.8 * 10 is 8, not 9


def test_the_rejection_ratio_is_1_in_the_right_order_and_0_in_none():
    y = [0, 1, 0, 1, 1, 0.5]
    assert u.rejection_ratio(y, y) == pytest.approx(1)
    assert u.rejection_ratio([0.5] * 6, y) == pytest.approx(0)
    assert u.rejection_ratio([1 - v for v in y], y) < 0


@pytest.mark.parametrize(
    "c, y, said",
    [
        ([], [], "confidences"),
        ([0.5], [0.5, 1], "same shape"),
        ([1.2], [1], "confidences: must lie"),
        ([0.5], [-0.1], "credits: must lie"),
        ([math.nan], [1], "finite"),
    ],
)
def test_what_is_no_share_is_refused(c, y, said):
    with pytest.raises(UserError, match=said):
        u.figures(c, y)


def test_coverage_is_checked():
    with pytest.raises(UserError, match="coverage"):
        u.accuracy_at([0.5], [1], 0.0)


def test_resampled_figures_are_those_of_each_draw():
    for c, y in itertools.islice(cases(), 8):
        found = u.resampled(c, y, draws=100, seed=3)
        rows = np.random.Generator(np.random.Philox(3)).integers(0, len(c), (100, len(c)))
        for draw in range(0, 100, 9):
            some = u.figures(np.array(c)[rows[draw]], np.array(y)[rows[draw]])
            for name, value in some.items():
                expected = math.nan if value is None else value
                assert found[name][draw] == pytest.approx(expected, nan_ok=True), name


def test_ends_are_percentiles_and_none_where_many_draws_have_none():
    values = np.arange(1001.0)
    assert u.ends(values) == pytest.approx((25, 975))
    values[:40] = np.nan
    assert u.ends(values) is not None
    values[:60] = np.nan
    assert u.ends(values) is None
