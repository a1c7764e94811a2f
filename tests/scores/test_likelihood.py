"""Log of a mean likelihood against its definition in exact arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from btrans_eval.errors import UserError
from btrans_eval.scores.likelihood import log_mean


@pytest.mark.parametrize(
    "values", [[-1.0], [-1.0, -2.0], [0.0, -30.0, -0.5], [-3.0] * 8, [-5.0, -math.inf]]
)
def test_it_is_the_log_of_the_mean(values):
    mean = sum(Fraction(math.exp(value)) for value in values) / len(values)
    assert log_mean(values) == pytest.approx(math.log(mean), rel=1e-14)


def test_likelihoods_that_underflow_do_not():
    assert log_mean([-2000.0, -2000.0]) == -2000.0
    assert log_mean([-2000.0, -5000.0]) == pytest.approx(-2000.0 - math.log(2), rel=1e-15)


def test_a_single_value_is_returned_as_it_is():
    assert log_mean([-0.1]) == -0.1
    assert log_mean([-math.inf, -math.inf]) == -math.inf


def test_nan_stays_nan_and_nothing_is_an_error():
    assert math.isnan(log_mean([math.nan, -1.0]))
    with pytest.raises(UserError, match="log_likelihoods"):
        log_mean([])
