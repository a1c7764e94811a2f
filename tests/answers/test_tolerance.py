"""Within a relative tolerance of a measured gold; decided before it was run."""

from __future__ import annotations

import pytest

from btrans_eval.answers.equivalence import Judge
from btrans_eval.answers.tolerance import is_near

CASES = [
    # (answer, gold, near at 1e-4)
    ("1.6", "1.6", True),
    ("1.60016", "1.6", True),  # just in
    ("1.60017", "1.6", False),  # just out
    ("1.59984", "1.6", True),
    ("1.59983", "1.6", False),
    ("-1.6", "1.6", False),
    ("-1.6001", "-1.6", True),
    ("3.8301e35", "3.83e35", True),
    ("3.83 \\times 10^{35}", "3.83e35", True),
    ("3.84e35", "3.83e35", False),
    ("3.83e34", "3.83e35", False),
    ("6e23", "6.0221 \\times 10^{23}", False),
    ("6.0222e23", "6.0221 \\times 10^{23}", True),
    ("1e-20", "1.00005e-20", True),
    ("1e-20", "2.0e-20", False),
    ("0", "0.0", True),
    ("1e-30", "0.0", False),
    ("\\frac{1}{3}", "0.33333", True),
    ("\\frac{1}{3}", "0.333", False),
    ("\\frac{1}{3}", "0.3333", False),  # by a hair
    ("0.3333", "\\frac{1}{3}", False),  # a fraction is exact
    ("100.001", "100", False),  # an integer is exact
    ("1000.01", "1000.0", True),
    ("1.6\\text{ cm}", "1.6", True),
    ("1.6\\text{ cm}", "1.6\\text{ m}", False),
    ("1.60001\\text{ m}", "1.6\\text{ m}", True),
    ("12.5001\\%", "12.5\\%", True),
    ("0.125", "12.5\\%", False),
    ("v=1.60001", "1.6", True),
    ("v=1.60001", "w=1.6", False),
    ("\\sqrt{2}", "1.41421", False),  # no number as written
    ("x", "1.6", False),
    ("1.6", "x+1.6", False),
    ("1.6,1.6", "1.6", False),
    ("0.56128", "0.5613", True),
    ("8/5", "1.6", True),
    ("6.0006e23", "6e23", True),
    ("6.0007e23", "6e23", False),
    ("600000000000000000000000", "6 \\times 10^{23}", True),
    ("1.32513 \\cdot 10^{-27}", "1.325e-27", True),
    ("1.326e-27", "1.325e-27", False),
    ("0", "1.325e-27", False),
    ("2e-8", "1e-8", False),
    ("299990000", "3e8", True),
    ("6e-23", "6e23", False),
    ("16.0016", "16.0", True),
    ("16.0016", "16", False),
    ("41586", "41585", False),
    ("0.00001", "0", False),
    ("0.000", "0.00", True),
    ("0.25", "25.0", False),  # no factor of 100
    ("25.0", "0.25", False),
    ("d \\approx 1.60016", "1.6", True),
    ("0.016001\\text{ m}", "1.6\\text{ cm}", False),  # nothing is converted
    ("12.501\\text{ cm}", "12.5\\%", False),
    ("12.501", "\\$12.50", True),
    ("1.60001 x", "1.6", False),
    ("2.20001 \\tau", "2.2 \\tau", False),
    ("\\{1.60001, 2\\}", "1.6", False),
    ("(1.60001, 2)", "(1.6, 2)", False),
    ("\\text{1.60001 or so}", "1.6", False),
    ("-0.3333", "-1./3", False),  # a fraction, whatever its point
]


@pytest.mark.parametrize(("answer", "gold", "near"), CASES)
def test_near(answer: str, gold: str, near: bool) -> None:
    assert is_near(answer, gold, 1e-4) is near


@pytest.fixture(scope="module")
def judge():
    with Judge() as one:
        yield one


@pytest.mark.parametrize("gold", ["24.4", "24.4 \\text{ cm}", "24.4\\%", "T = 24.4", "2.44e1"])
@pytest.mark.parametrize(
    "around", ["{}", "{} \\text{{ cm}}", "{} \\text{{ m}}", "{}\\%", "T = {}", "S = {}", "-{}"]
)
def test_names_and_units_weigh_as_much_as_in_equality(judge, gold, around):
    """An answer is near exactly where the gold's own number, so written, is equal."""
    equal = judge.equal(around.format("24.4"), gold, "latex")
    assert is_near(around.format("24.4012"), gold, 1e-4) is equal
    assert not is_near(around.format("24.5"), gold, 1e-4)
