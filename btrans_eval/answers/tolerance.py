"""Gold answers that are measured or rounded, and what may stand for them when a response is scored.

Only scores are tolerant. Nearness is no equivalence (1.0, 1.00008 and 1.00016), so answer classes
and votes stay exact.
"""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction

from btrans_eval.answers.normalize import read

_POINT_OR_POWER = re.compile(r"\d\.|\.\d|\d[eE][-+]?\d|10\s*\^")


def settled(answer: str, gold: str, tolerance: Fraction) -> str:
    """A LaTeX answer with the gold's number for its own where the two are near, else as it is.

    Near is within ``tolerance`` times the gold's size, where both are numbers and the gold is
    written with a decimal point or a power of ten: 16 is exact, 16.0 and 1.6e1 are measured. A
    gold of 0 has no size, so only 0 is near it. The answer keeps its name and its unit, which the
    judge of equality compares as ever.
    """
    one, other = read(answer), read(gold)
    if one.number is None or other.number is None or not _POINT_OR_POWER.search(gold):
        return answer
    if abs(one.number - other.number) > tolerance * abs(other.number):
        return answer
    return str(replace(one, number=other.number, text=other.text))
