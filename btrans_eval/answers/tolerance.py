"""Measured numbers, right within a relative tolerance; for scores, since classes stay exact.

To be near is no equivalence, so a vote over near answers would depend on their order.
"""

from __future__ import annotations

import re
from fractions import Fraction

from btrans_eval.answers.normalize import read

_MEASURED = re.compile(r"\d\.\d|(?<![\d.])\.\d|\d[eE][-+]?\d|10\s*\^")


def is_near(answer: str, gold: str, tolerance: float) -> bool:
    """Whether a LaTeX answer lies within ``tolerance`` of a gold that is a measured number.

    A gold is measured where it is written as a decimal or in scientific notation; integers,
    fractions and formulas are exact. Both must be numbers, of one unit and one name where both have
    one (percent is a unit).

    Args:
        tolerance: of the difference relative to the gold, > 0.
    """
    said, right = read(answer), read(gold)
    if said.number is None or right.number is None or not _MEASURED.search(gold):
        return False
    if any(a and b and a != b for a, b in ((said.unit, right.unit), (said.name, right.name))):
        return False
    return abs(said.number - right.number) <= Fraction(str(tolerance)) * abs(right.number)
