"""How near to a measured gold answer a response may be, in cases that a reader can check."""

from __future__ import annotations

from fractions import Fraction

import pytest

from btrans_eval.answers.equivalence import Judge, classes
from btrans_eval.answers.tolerance import settled

TOLERANCE = Fraction("0.0001")

NEAR = [  # gold, answer
    ("2", "2"),
    ("1.6", "1.6"),
    ("1.6", "1.60016"),  # just in: 1.6 · 0.0001
    ("1.6", "1.59984"),
    ("-1.6", "-1.60016"),
    ("0.5613", "0.56128"),
    ("1.6", "8/5"),
    ("0.33", "0.33003"),
    ("-1./3", "-0.3333"),
    ("16.0", "16.0016"),
    ("24.4", "24.4012"),
    ("0.0", "0"),
    ("0.0", "0.000"),
    ("6e23", "6.0006e23"),
    ("6e23", "6.0006 \\times 10^{23}"),
    ("6 \\times 10^{23}", "6.0006e23"),
    ("6 \\times 10^{23}", "600000000000000000000000"),
    ("4.5e33", "4.50045e33"),
    ("1.325e-27", "1.32513e-27"),
    ("1.325e-27", "1.32513 \\cdot 10^{-27}"),
    ("1e-8", "0.000000010001"),
    ("3e8", "299990000"),
    ("2.7778e-6", "2.7777777e-6"),
    ("10^{5}", "100010"),
    ("1.6", "x = 1.60016"),
    ("1.6", "d \\approx 1.60016"),
    ("1.6", "1.60016 \\text{ cm}"),
    ("1.6 \\text{ cm}", "1.60016"),
    ("1.6 \\text{ cm}", "1.60016 \\mathrm{~cm}"),
    ("12.5\\%", "12.501\\%"),
    ("\\$12.50", "12.501"),
]
FAR = [
    ("1.6", "1.600161"),  # just out
    ("1.6", "1.599839"),
    ("1.6", "1.57"),
    ("1.6", "2"),
    ("1.6", "-1.6"),
    ("-1.6", "1.60016"),
    ("0.5613", "0.5612"),
    ("2", "2.0001"),  # an integer is exact
    ("41585", "41586"),
    ("15625", "15625.5"),
    ("0", "0.00001"),
    ("0", "1e-40"),
    ("0.0", "1e-40"),
    ("0.00", "0.00001"),
    ("\\frac{1}{3}", "0.3333"),  # so is a fraction
    ("-\\frac{3}{2}", "-1.50001"),
    ("6e23", "6.0007e23"),
    ("6e23", "6e22"),
    ("6e23", "6e-23"),
    ("6e23", "6 \\times 10^{24}"),
    ("1.325e-27", "0"),
    ("1.325e-27", "1.326e-27"),
    ("1e-8", "2e-8"),
    ("0.25", "25\\%"),
    ("0.25", "0.25001\\text{ cm}, 3"),
    ("25.0", "0.25"),
    ("12.5\\%", "0.12501"),
    ("1.6 \\text{ cm}", "1.60001 \\text{ m}"),
    ("1.6 \\text{ cm}", "0.016001 \\text{ m}"),  # nothing is converted
    ("12.5\\%", "12.501 \\text{ cm}"),
    ("x = 1.6", "y = 1.60001"),
    ("1.6", "1.60001 x"),
    ("2.2 \\tau", "2.20001 \\tau"),
    ("1.6", "\\{1.60001, 2\\}"),
    ("1.6", "1.60001, 1.59999"),
    ("(1.6, 2)", "(1.60001, 2)"),
    ("1.6", "\\text{1.60001 or so}"),
    ("125-1.25 P", "125-1.25001 P"),
]


@pytest.fixture(scope="module")
def judge():
    with Judge() as one:
        yield one


def scored(judge, gold: str, answer: str) -> bool:
    return judge.equal(settled(answer, gold, TOLERANCE), gold, "latex") is True


@pytest.mark.parametrize("gold, answer", NEAR)
def test_near(judge, gold, answer):
    assert scored(judge, gold, answer)


@pytest.mark.parametrize("gold, answer", FAR)
def test_far(judge, gold, answer):
    assert not scored(judge, gold, answer)


@pytest.mark.parametrize("gold", ["24.4", "24.4 \\text{ cm}", "24.4\\%", "T = 24.4", "2.44e1"])
@pytest.mark.parametrize(
    "around", ["{}", "{} \\text{{ cm}}", "{} \\text{{ m}}", "{}\\%", "T = {}", "S = {}", "-{}"]
)
def test_names_and_units_weigh_as_much_as_in_equality(judge, gold, around):
    """A near answer is right exactly where the gold's own number, so written, is."""
    exact = judge.equal(around.format("24.4"), gold, "latex")
    assert scored(judge, gold, around.format("24.4012")) is exact
    assert not scored(judge, gold, around.format("24.5"))


def test_nearness_never_joins_classes(judge):
    answers = ["1.6", "1.60016", "1.59984", "1.60"]
    assert classes(answers, "latex", judge).labels == [0, 1, 2, 0]
