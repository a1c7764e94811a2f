"""Formulas written for math_verify so that its parser cannot misread them.

math_verify 0.9.0 reads ``M`` as ``m``, ``2(3)`` as 2 + 3, ``52_8`` as 52, ``1e-5`` as e - 5,
``\\gamma^2`` as a pole, ``i`` as a variable, and its ``A^T`` loses the T. So symbols are renamed,
products and exact fractions spelled out, and what is not known here is not asked at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction

from btrans_eval.answers.terms import SYMBOL

Token = tuple[str, str]  # its kind, a group of the pattern, and its text

_TOKEN = re.compile(
    r"(?P<function>\\(?:arc(?:sin|cos|tan)|(?:sin|cos|tan)h?|cot|sec|csc|ln|log|exp)(?![A-Za-z])"
    r"(?:_\{\d+\})?(?:\^\{-?\d+\})?)"
    r"|(?P<degrees>\d+(?:\.\d+)?)\^\{\\circ\}"
    r"|(?P<constant>[ei](?![_'])|\\(?:pi|infty|emptyset)(?![A-Za-z])|\\mathbb\{[RZNQC]\})"
    rf"|(?P<symbol>{SYMBOL})"
    r"|(?P<number>\d+\.\d*|\.\d+|\d+)"
    r"|(?P<factor>\\(?:frac|binom)(?![A-Za-z])|\()"  # after a number the parser would add these
    r"|(?P<other>\\(?:sqrt|cdot|cup|cap|setminus|[lr]floor|[lr]ceil|le|ge)(?![A-Za-z])"
    r"|\\(?:begin|end)\{[pb]matrix\}|\\\\|\\[{}]|[-+/^{})\[\]|!,=<>&])"
)
_MIXED = re.compile(r"(?<![\d.})\]])(\d+)\\frac\{(\d+)\}\{(\d+)\}")
_ARGUMENT_ENDS = frozenset(["\\cdot", "/", "(", ")", "}", "]", *"+-,=<>&!", "\\\\", "\\le", "\\ge"])
_MAPS = frozenset("fghFGH")
_SETS = re.compile(r"\\(?:cup|cap|setminus)(?![A-Za-z])")


def encode(a: str, b: str) -> tuple[str, str] | None:
    """Both formulas for math_verify, with the same new name for the same symbol.

    None where either holds anything that is not known to be read rightly: they are unequal then.
    """
    try:
        sides = [_with_arguments(_tokens(text)) for text in (a, b)]
        symbols = sorted({text for side in sides for kind, text in side if kind == "symbol"})
        names = {symbol: f"x_{{{number}}}" for number, symbol in enumerate(symbols, 1)}
        left, right = ("".join(_written(side, names)) for side in sides)
    except (ValueError, RecursionError):  # also Python's own limit of 4300 digits
        return None
    return left, right


def _tokens(text: str) -> list[Token]:
    def mixed(m: re.Match[str]) -> str:
        return f"({m[1]}+\\frac{{{m[2]}}}{{{m[3]}}})" if int(m[2]) < int(m[3]) else m[0]

    text = _MIXED.sub(mixed, text)
    found: list[Token] = []
    at, root, sets = 0, False, _SETS.search(text) is not None
    while at < len(text):
        m = _TOKEN.match(text, at)
        if m is None or (m.lastgroup == "number" and found and found[-1][0] == "number"):
            if text[at] != " ":
                raise ValueError(text)
            at += 1
            continue
        kind, token, at = m.lastgroup or "", m[0], m.end()
        if token in "[]" and not sets:  # brackets group, but for the degree of a root
            root = token == "[" and bool(found) and found[-1][1] == "\\sqrt" or root
            if not root:
                kind, token = ("factor", "(") if token == "[" else ("other", ")")
            root = root and token != "]"
        found.append((kind, token))
    return found


def _with_arguments(tokens: list[Token]) -> list[Token]:
    """The argument of every function in parentheses: the parser takes whatever product follows.

    ``\\sin 2x\\cdot y`` is sin(2x) y. ``\\ln 2/2`` may be either and is refused (ValueError), but
    ``\\sin\\pi/4`` can only be meant in one way.
    """
    found: list[Token] = []
    while tokens:
        (kind, text), tokens = tokens[0], tokens[1:]
        found.append((kind, text))
        if kind == "function" and (not tokens or tokens[0][1] != "("):
            size = _argument_size(tokens)
            inner = tokens[1 : size - 1] if tokens[:1] == [("other", "{")] else tokens[:size]
            if not inner:
                raise ValueError("a function of nothing")
            found += [("other", "("), *_with_arguments(inner), ("other", ")")]
            tokens = tokens[size:]
    return found


def _argument_size(tokens: list[Token]) -> int:
    """How many tokens the argument of a function takes that stands without parentheses."""
    depth = 0
    for size, (kind, text) in enumerate(tokens):
        if depth == 0 and (kind == "function" or text in _ARGUMENT_ENDS):
            if text == "/":
                if ("constant", "\\pi") in tokens[:size]:
                    continue
                raise ValueError("ambiguous")
            return size
        depth += (text in ("{", "(", "[")) - (text in ("}", ")", "]"))
        if depth == 0 and size and tokens[0][1] == "{":
            return size + 1
    return len(tokens)


def _written(tokens: Iterable[Token], names: dict[str, str]) -> Iterable[str]:
    last_kind, last = "", ""
    for kind, token in tokens:
        if kind == "degrees":
            token = f"(\\frac{{{_fraction(token.split('^')[0])}\\pi}}{{180}})"
        first = kind in ("number", "factor", "degrees")
        if first and (last_kind in ("number", "degrees") or last in (")", "}", "!")):
            yield "\\cdot "
        if token == "(" and last in _MAPS:
            raise ValueError("a function of more than one symbol: f(x+1) is no product")
        if token == "(" and (last_kind == "symbol" or last == "\\pi"):
            yield "\\cdot "
        yield _token(kind, token, names)
        last_kind, last = kind, token


def _token(kind: str, token: str, names: dict[str, str]) -> str:
    if kind == "symbol":
        return names[token]
    if kind == "number":
        return _fraction(token)
    if token == "i":
        return "\\sqrt{-1}"
    return token + " " if token[-1].isalpha() and len(token) > 1 else token


def _fraction(digits: str) -> str:
    """Decimals as fractions: with floats math_verify compares six places after the point."""
    value = Fraction(digits.rstrip(".")) if "." in digits else None
    return digits if value is None else f"\\frac{{{value.numerator}}}{{{value.denominator}}}"
