"""An answer as a structure, so that equality is asked part by part. These rules decide:

- Name: ``x=5`` keeps its name, and a unit is kept; both are labels (``equivalence`` compares them).
- Percent is a unit: 50% is 50 where only one says so, and never 0.5.
- A relation keeps both sides, in one order: ``9=x^2+y^2``, and ``3>x+y`` as ``x+y<3``.
- Numbers are exact: 0.5 is 1/2, 0.333 is not 1/3. ``1\\frac45`` is mixed; ``52_8`` is only itself.
- ``1,-2`` and ``\\{-2,1\\}`` are one set. ``(1,2)``, ``[1,2]``, ``\\langle1,2\\rangle`` keep their
  order and brackets. ``x>2`` is x with (2, infinity); ``1\\pm a`` is two values.
- Words are compared as words, without case; in formulas case counts.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from functools import lru_cache

from btrans_eval.answers.latex import clean, is_paired, split_top, squeeze
from btrans_eval.answers.terms import Term, exact, is_name, named, number_term, words_term
from btrans_eval.answers.units import split_unit

_BRACKETS = re.compile(r"(\\\{|\\langle|[(\[])(.*?)(\\\}|\\rangle|[)\]])", re.S)
_MATRIX = re.compile(r"\\begin\{[pb]matrix\}((?:(?!\\end).)*)\\end\{[pb]matrix\}", re.S)
_PAIRS = ("{}", "<>", "()", "[]", "(]", "[)")
_ORDER = re.compile(r"(\\[lg]e(?![A-Za-z])|[<>])")
_FLIP = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le"}
_SWAPPED = {"=": "=", "\\ne": "\\ne", **_FLIP}
_LETTER = re.compile(
    r"(?<![\\A-Za-z])[A-Za-z]|\\(?!(?:cdot|frac|sqrt|binom|pi)(?![A-Za-z]))[A-Za-z]+"
)
_RELATIONS = ("=", "<", ">", "\\ne", "\\le", "\\ge", "\\equiv", "\\in")
_PROSE = re.compile(
    r"\\text\{|(?<![\\A-Za-z{])(?:[A-Za-z][a-z]{3,}|(?i:yes|no|odd|even|none|true|false))"
    r"(?![A-Za-z}])"
)


def normalize(answer: str, kind: str) -> str:
    """The normalized answer: equal texts are equal answers. "" where nothing is left of it.

    Only LaTeX has much to normalize: extraction gives letters and numbers in canonical form.
    """
    if kind == "latex":
        return str(read(answer))
    folded = " ".join(unicodedata.normalize("NFKC", answer).split())
    return folded.casefold() if kind == "text" else folded.upper()


@lru_cache(maxsize=20_000)
def read(answer: str) -> Term:
    """The structure of a LaTeX answer. What cannot be read is a text that equals itself alone."""
    try:
        return _read(clean(answer))
    except RecursionError:  # hundreds of nested brackets
        return Term(squeeze(clean(answer)), "words")


def _read(text: str) -> Term:
    text = text.strip().removeprefix("+").lstrip()
    if len(parts := [part for part in split_top(text, ";") if part.strip()]) > 1:
        return _set([_read(each) for part in parts for each in _both_signs(part)])
    entries = [each for entry in _entries(text) for each in _both_signs(entry)]
    if len(entries) > 1:
        return _set([_read(entry) for entry in entries])
    text = entries[0].strip() if entries else ""
    return _relation(text) or _single(text)


def _both_signs(entry: str) -> list[str]:
    """``1\\pm a`` as two values; what has two such signs stays as it is."""
    is_set = entry.strip().startswith("\\{") and entry.strip().endswith("\\}")
    if entry.count("\\pm") != 1 or "\\mp" in entry or is_set:
        return [entry]
    both = (entry.replace("\\pm", sign) for sign in "+-")
    return [re.sub(r"(=|\A)\s*\+", r"\1", each) for each in both]


def _entries(text: str) -> list[str]:
    """The entries of a bare list; ``58,500`` is one number, ``58, 500`` is two."""
    found: list[str] = []
    for piece in split_top(text, ","):
        thousands = found and re.search(r"(?<![\d.])\d{1,3}(?:\0\d{3})*\Z", found[-1])
        if thousands and re.match(r"\d{3}(?!\d)", piece):
            found[-1] += "\0" + piece
        elif piece.strip():
            found.append(piece)
    return [piece.replace("\0", "") for piece in found]


def _set(parts: list[Term]) -> Term:
    """A list or a set; a name that no other contradicts (x=1,2 or x=1, x=2) is the name of all."""
    name = parts[0].name
    if name and all(part.name in ("", name) for part in parts):
        return replace(_set([replace(part, name="") for part in parts]), name=name)
    if len(parts) == 1:
        return parts[0]
    parts = sorted(parts, key=str)
    return Term("\\{" + ",".join(map(str, parts)) + "\\}", "{}", tuple(parts))


def _relation(text: str) -> Term | None:
    """name=value, name \\in set, inequalities for one variable, equations; None for a value."""
    if len(sides := split_top(text, "\\approx")) > 1:  # the exact value comes first
        said = [side for side in sides if side.strip()] or [""]
        return _read("=".join(said[:2]) if is_name(said[0]) else said[0])
    sides = split_top(text, "=")
    if len(sides) == 1:
        sides = split_top(text, "\\in")
    first, last = sides[0], sides[-1]
    if len(sides) == 1:
        if interval := _interval(_ORDER.split(text)):
            return interval
    elif is_name(first):
        value = _read(last)
        return (
            words_term(text)
            if value.name or not last.strip()
            else replace(value, name=named(first))
        )
    elif len(sides) == 2 and is_name(last):
        return _read(f"{last}={first}")
    elif not any(map(_LETTER.search, [*sides[:-1], split_unit(last.strip())[0]])):
        return _read(last)  # 2+3=5
    related = any(split_top(text, sign) != [text] for sign in _RELATIONS)
    if related and not _PROSE.search(text):
        return Term(_ordered(text), "relation")
    return None


def _ordered(text: str) -> str:
    """A relation of two sides, these in one order: what is swapped says the same."""
    for sign, swapped in _SWAPPED.items():
        sides = [squeeze(side) for side in split_top(text, sign)]
        if len(sides) == 2 and all(sides):
            if sign != swapped and sign in (">", "\\ge") or sign == swapped and sides > sides[::-1]:
                sides, sign = sides[::-1], swapped
            return squeeze(f"{sides[0]}{sign} {sides[1]}")
    return squeeze(text)


def _interval(pieces: list[str]) -> Term | None:
    """``a<x\\le b``, ``x>a`` and their kin as the interval of the variable."""
    if not all(map(is_paired, pieces)):
        return None
    if len(pieces) == 3 and is_name(pieces[2]):
        pieces = [pieces[2], _FLIP[pieces[1]], pieces[0]]
    if len(pieces) == 3:
        name, sign, end = pieces
        open_end = ["\\infty", ">"] if sign in (">", "\\ge") else ["-\\infty", "<"]
        pieces = [*open_end, name, sign, end]
    if len(pieces) != 5 or not is_name(pieces[2]) or is_name(pieces[0]) or is_name(pieces[4]):
        return None
    if pieces[1] in (">", "\\ge"):
        pieces = [_FLIP.get(piece, piece) for piece in reversed(pieces)]
    low, left, name, right, high = pieces
    if {left, right} - {"<", "\\le"} or not low.strip() or not high.strip():
        return None
    text = "[("[left == "<"] + f"{low},{high}" + "])"[right == "<"]
    return replace(_value(text), name=named(name))


def _single(text: str) -> Term:
    """A value with its unit, if it has one."""
    value, unit, scale = split_unit(text)
    term = _value(value)
    if scale != 1 and term.number is not None:
        term = number_term(term.number * scale)
    if (scale != 1 or unit) and (term.unit or term.name or term.shape in ("words", "relation")):
        return words_term(text)
    return replace(term, unit=unit) if unit else term


def _value(text: str) -> Term:
    text = text.strip()
    if text == "\\mathbb{R}":
        text = "(-\\infty,\\infty)"
    if squeeze(text) == "\\{\\}":
        text = "\\emptyset"
    if (number := exact(text)) is not None:
        return number_term(number)
    if text.startswith("-") and (held := _value(text[1:])).number is not None and not held.unit:
        return number_term(-held.number)
    if matrix := _MATRIX.fullmatch(text):
        return _matrix(matrix[1])
    if len(sets := split_top(text, "\\cup")) > 1:
        parts = sorted((_read(one) for one in sets), key=str)
        return Term("\\cup ".join(map(str, parts)), "cup", tuple(parts))
    bracketed = _BRACKETS.fullmatch(text)
    if bracketed and is_paired(bracketed[2]):
        return _bracketed(*bracketed.groups())
    if not is_paired(text) or _PROSE.search(text):
        return words_term(text)
    return Term(squeeze(text))


def _bracketed(opening: str, inner: str, closing: str) -> Term:
    """A set, tuple, vector or interval; brackets around one value only group."""
    entries = split_top(inner, ";" if "," not in inner else ",")
    pair = {"\\{\\}": "{}", "\\langle\\rangle": "<>"}.get(opening + closing, opening + closing)
    if not all(entry.strip() for entry in entries) or pair not in (
        "{}",
        "<>",
        "()",
        "[]",
        "(]",
        "[)",
    ):
        return words_term(opening + inner + closing)
    if pair == "{}":
        parts = [_read(each) for entry in entries for each in _both_signs(entry)]
        only = parts[0]
        if len(parts) == 1 and (only.shape == "{}" or only.text.strip() == "\\emptyset"):
            return Term(f"\\{{{only}\\}}", "{}", (only,))  # a set of a set
        return _set(parts)
    if len(entries) == 1:
        return _read(inner) if pair in ("()", "[]") else words_term(opening + inner + closing)
    parts = [_read(entry) for entry in entries]
    text = opening + (" " if pair == "<>" else "") + ",".join(map(str, parts)) + closing
    return Term(text, pair, tuple(parts))


def _matrix(inner: str) -> Term:
    """A matrix or column vector; round and square brackets mean the same."""
    rows = [split_top(row, "&") for row in split_top(inner, "\\\\") if row.strip()]
    widths = {len(row) for row in rows}
    parts = [[_read(entry) for entry in row] for row in rows]
    text = "\\\\".join("&".join(map(str, row)) for row in parts)
    text = f"\\begin{{pmatrix}}{text}\\end{{pmatrix}}"
    shape = f"{len(rows)}x{widths.pop()}" if len(widths) == 1 else "words"
    return Term(text, shape, tuple(part for row in parts for part in row))
