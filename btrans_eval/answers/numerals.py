"""The numbers written in a plain text, each with its exact value."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Context, Decimal
from fractions import Fraction

_NUMERAL = re.compile(
    r"""
    [0-9]+[ ][0-9]+/[0-9]+(?![0-9/.,])              # a mixed number
    | [0-9]{1,3}(?:[ ][0-9]{3})+(?!,?[0-9])         # digits grouped by blanks
    | (?:(?<![0-9.])\.)?                            # digits with what glues them
      [0-9](?:[0-9]|[-–.,:/^*+×](?=\.?[0-9]))*
    """,
    re.X,
)
_NAME_BEFORE = re.compile(
    r"""
    (?:
        [A-Za-z_]-?                                 # a name: x2, COVID-19
        | [\^_]\{?-?                                # an exponent, an index
        | \b(?:step|part|case|question|problem|equation|line)[ ][#(]?
    )\Z
    """,
    re.I | re.X,
)
_NAME_AFTER = re.compile(r"(?:st|nd|rd|th)\b|-[A-Za-z]")
_GLUED_BEFORE = re.compile(
    r"""
    (?:
        [{√] | [0-9)!][ ]?[+*×÷·/]{1,2}[ ]? | [0-9)][ ][‒–—―﹘][ ]
        | \\(?:cdot|times|div)[ ]? | [0-9][ ]x[ ] | [0-9][.,:'’] | (?:minus|negative)[ ]
    )[€£¥]?\Z
    """,
    re.I | re.X,
)
_UNIT_AT_ONCE = r"(?:kg|g|mg|km|cm|mm|mi|ft|lbs?|oz|hrs?|mins?|secs?|ml|mph|am|pm)\b"
_GLUED_AFTER = re.compile(
    rf"(?!{_UNIT_AT_ONCE})[A-Za-z_(]"
    r"| ?(?:[\^⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺π√½¼¾⅓⅔+×÷·=<>≈]|\\(?!\\|end)|\.\.|…|['’][0-9]|\* ?[\w(]"
    r"|[-/] ?(?:[0-9(]|$))"
    r"| ?(?i:hundred|thousand|million|billion|trillion|dozen|lakh|crore)| (?:[KM]|bn|mn)\b"
    r"|!(?=[.,;:)/]|\s?[-=+*/·×^\\]|\s[a-z])"  # a factorial, no cry
    r"| (?:\w+ )?and (?:a|one|three)[ -]"
)
_SIGN = re.compile(r"(?P<previous>\S?)(?P<space>\s*)-(?P<gap> ?)[€£¥]? ?\Z")
_DIGITS = re.compile(r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]*)(?:\.[0-9]+)?")
_LONGEST = 40


def numbers(plain: str) -> Iterator[tuple[int, int, str | None]]:
    """(start, end, value) of each number, the last first; value None where it is ambiguous.

    The value is a decimal where that is exact, else a reduced fraction.
    """
    for m in reversed(list(_NUMERAL.finditer(plain))):
        before, after = plain[max(0, m.start() - 24) : m.start()], plain[m.end() : m.end() + 40]
        if not _NAME_BEFORE.search(before) and not _NAME_AFTER.match(after):
            glued = _GLUED_BEFORE.search(before) or _GLUED_AFTER.match(after)
            known = not glued and len(m[0]) <= _LONGEST
            yield m.start(), m.end(), _value(before, m[0]) if known else None


def _value(before: str, numeral: str) -> str | None:
    size = _size(numeral)
    value = None if size is None else _signed(size, before)
    return None if value is None else _canonical(value)


def _size(numeral: str) -> Fraction | None:
    """The value of a decimal, of a ratio or of a mixed number; None for any other form."""
    whole, _, ratio = numeral.rpartition(" ")
    parts = ratio.split("/")
    if not all(part and _DIGITS.fullmatch(part) for part in parts) or len(parts) > 2:
        return None
    terms = [Fraction(part.replace(",", "")) for part in parts]
    if not all(terms[1:]) or (whole and (len(terms) < 2 or terms[0] >= terms[1])):
        return None
    return terms[0] / (terms[1] if terms[1:] else 1) + int(whole or 0)


def _signed(size: Fraction, before: str) -> Fraction | None:
    """The size under the sign that ends the text before it; None where that may subtract."""
    sign = _SIGN.search(before)
    if sign is None or (sign["gap"] and "\n" in sign["space"]):  # the latter is a bullet
        return size
    subtracts = sign["previous"] in tuple("0123456789)-")
    return None if subtracts or (sign["gap"] and sign["previous"] != "=") else -size


def _canonical(value: Fraction) -> str:
    decimal = Context(prec=400).divide(Decimal(value.numerator), Decimal(value.denominator))
    return format(decimal, "f") if Fraction(decimal) == value else str(value)
