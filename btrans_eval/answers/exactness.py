"""Whether two formulas of sympy are equal: shown to be, shown not to be, or neither.

Unequal are two that differ at a point; equal are two whose difference is brought to 0 by exact
rules. Small is not zero: numbers are told apart by their rationals or at rising precision. Runs
in a worker (``verifier``), where sympy is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sympy
from sympy.core.relational import Relational
from sympy.sets.sets import Set

_DIGITS = 15
_FIRST, _LAST = 60, 2000
"""Decimal places up to which a difference is looked for, before and after a proof was tried."""


def equal(x: Any, y: Any) -> bool | None:
    """Whether two formulas, relations, sets or matrices are equal; None where it is not known."""
    if any(_says_nothing(each) for each in (x, y)):
        return False
    if x == y:
        return True
    if isinstance(x, Relational) and isinstance(y, Relational):
        return _relations(x, y)
    x, y = _evaluated(x), _evaluated(y)
    if x == y:
        return True
    if isinstance(x, sympy.MatrixBase) and isinstance(y, sympy.MatrixBase):
        return x.shape == y.shape and _all(map(equal, x, y))
    if isinstance(x, Set) and isinstance(y, Set):
        return _sets(x, y)
    if isinstance(x, sympy.Tuple) and isinstance(y, sympy.Tuple):
        return len(x) == len(y) and _all(map(equal, x, y))
    if isinstance(x, sympy.Expr) and isinstance(y, sympy.Expr):
        return _is_zero(x, y)
    return False


def _says_nothing(x: Any) -> bool:
    """Whether this is no value: 1/0, or a relation that holds always or never (x=x)."""
    return x in (sympy.true, sympy.false) or x.has(sympy.zoo, sympy.nan)


def _evaluated(x: Any) -> Any:
    """Products of matrices multiplied out, and what sets take away taken away."""
    if isinstance(x, sympy.MatrixExpr):
        return x.doit().as_explicit()
    return x.func(*map(_evaluated, x.args)) if isinstance(x, Set) and x.args else x


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    found = list(verdicts)
    return False if False in found else None if None in found else True


def _relations(x: Any, y: Any) -> bool | None:
    """Relations keep both sides: in equal ones the differences of these are in a constant ratio."""
    if x.free_symbols != y.free_symbols:
        return False
    x, y = (each.reversed if each.rel_op in (">", ">=") else each for each in (x, y))
    if x.rel_op != y.rel_op:
        return False
    left, right = x.lhs - x.rhs, y.lhs - y.rhs
    if sympy.expand(left) == 0 or sympy.expand(right) == 0:  # x=x says nothing
        return False
    point = next(_points(x.free_symbols))
    below = right.subs(point)
    if not x.free_symbols or not (left.subs(point).is_Rational and below.is_Rational and below):
        return _is_zero(left, right)
    ratio = left.subs(point) / below
    if ratio == 0 or (ratio < 0 and x.rel_op not in ("==", "!=")):
        return False
    return _is_zero(left, ratio * right)


def _sets(x: Any, y: Any) -> bool | None:
    if type(x) is not type(y) or len(x.args) != len(y.args):
        return False
    if isinstance(x, sympy.Interval):
        if (x.left_open, x.right_open) != (y.left_open, y.right_open):
            return False
        return _all((equal(x.start, y.start), equal(x.end, y.end)))
    if isinstance(x, (sympy.Union, sympy.Intersection, sympy.FiniteSet)):
        return _matched(x.args, list(y.args))
    if isinstance(x, (sympy.Complement, sympy.ProductSet)):
        return _all(map(equal, x.args, y.args))
    return None


def _matched(some: Sequence[Any], others: list[Any]) -> bool | None:
    """Whether the parts of two unions pair off; a part equals one of the others at most."""
    unknown = False
    for each in some:
        verdicts = [equal(each, other) for other in others]
        if True in verdicts:
            others.pop(verdicts.index(True))
        elif None in verdicts:
            unknown = True
        else:
            return False
    return None if unknown else True


def _is_zero(x: Any, y: Any) -> bool | None:
    """Whether x - y is 0 wherever both have a value; None where it is not known."""
    x, y = x.doit(), y.doit()
    if x == y:
        return True
    if any(each.has(sympy.oo, sympy.zoo, sympy.nan) for each in (x, y)):
        return False
    gap = x - y
    if gap.is_Rational:
        return bool(gap == 0)
    points = list(_points(gap.free_symbols))
    at_points = [gap.subs(point) for point in points] if gap.free_symbols else [gap]
    if any(_is_apart(value, _FIRST) for value in at_points):
        return False
    if _vanishes(gap):
        return True
    return False if any(_is_apart(value, _LAST) for value in at_points) else None


def _points(symbols: Iterable[Any]) -> Iterator[dict[Any, Any]]:
    """Rational points, of both signs, at which two formulas that differ are unlikely to meet."""
    ordered = sorted(symbols, key=str)
    for first, step, bend, below in ((37, 16, 5, 29), (-37, -16, -5, 29), (53, -22, 3, 41)):
        # not in steps of one size, at which p-q would be r-s
        places = [first + step * n + bend * n**3 for n in range(len(ordered))]
        yield {s: sympy.Rational(place, below) for s, place in zip(ordered, places, strict=True)}


def _is_apart(value: Any, places: int) -> bool:
    """Whether a number is not 0, seen at a precision of up to so many decimal places.

    sympy raises the precision until digits are left after what cancels, relative to the largest
    summand; where none are, it says so by a precision of one bit.
    """
    if value.is_Rational:
        return bool(value != 0)
    try:
        number = value.evalf(_DIGITS, maxn=places)
        parts = number.as_real_imag()
    except (TypeError, ValueError, OverflowError, ArithmeticError, NotImplementedError):
        return False  # no number there
    return any(
        isinstance(part, sympy.Rational)
        and part != 0
        or (isinstance(part, sympy.Float) and part != 0 and part._prec > 1)
        for part in parts
    )


def _vanishes(gap: Any) -> bool:
    """Whether exact rules bring a difference to 0."""
    if sympy.expand(gap) == 0 or sympy.cancel(sympy.together(gap)) == 0:
        return True
    if not gap.free_symbols and gap.is_algebraic:
        unknown = sympy.Dummy()
        try:
            return bool(sympy.minimal_polynomial(gap, unknown) == unknown)
        except NotImplementedError:
            pass
    return bool(sympy.simplify(gap) == 0)
