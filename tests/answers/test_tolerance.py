"""Within a relative tolerance of a measured gold; decided before it was run."""

from __future__ import annotations

import pytest

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
]


@pytest.mark.parametrize(("answer", "gold", "near"), CASES)
def test_near(answer: str, gold: str, near: bool) -> None:
    assert is_near(answer, gold, 1e-4) is near
