"""Two structured answers compared part by part; formulas are left to a function that is given.

Names and units are labels: where both answers have one they must agree, where one has none it is
not asked (``x=5`` and ``5``, ``5 cm`` and ``5``: MATH's golds often leave them out). So x=5 ~ 5 ~
y=5, but x=5 and y=5 differ, which is not transitive: ``equivalence.classes`` splits. Percent is a
unit like any other (``25\\%`` and ``25``). Nothing is converted: 1 m and 100 cm differ, and so do
50% and 0.5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from btrans_eval.answers.terms import Term

Leaf = Callable[[str, str], "bool | None"]


def compare(a: Term, b: Term, leaf: Leaf) -> bool | None:
    """Whether two answers are equal; None where that hangs on a leaf that is None.

    ``leaf`` compares two formulas; it is asked for whatever structure alone cannot decide.
    """
    if str(a) == str(b):
        return True
    if a.name and b.name and a.name != b.name:
        return _equations(a, b, leaf)
    if "relation" in (a.shape, b.shape) and (a.shape == b.shape or a.name or b.name):
        return _equations(a, b, leaf)
    if a.unit and b.unit and a.unit != b.unit:
        return False
    if a.text + a.unit == b.text + b.unit or a.text == b.text:  # "5 m" may have lost its \text
        return True
    if any(_spells(one, other) for one, other in ((a, b), (b, a))):
        return True
    return _values(a, b, leaf)


def _spells(words: Term, formula: Term) -> bool:
    """Whether a word that was set upright is the other answer's letters: red in ``\\text``."""
    word = words.text.removeprefix("\\text{").removesuffix("}")
    is_word = words.shape == "words" and word.isalpha() and len(word) > 1
    return is_word and formula.shape == "" and formula.text.casefold() == word


def _equations(a: Term, b: Term, leaf: Leaf) -> bool | None:
    """y=2x+3 and 2x-y+3=0 are one line; x=5 and y=5 are two answers."""
    whole = [term if term.shape == "relation" else f"{term.name}={term.text}" for term in (a, b)]
    if a.unit or b.unit or any(term.parts or term.shape == "words" for term in (a, b)):
        return False
    if a.number is not None and b.number is not None:
        return False
    return leaf(str(whole[0]), str(whole[1]))


def _values(a: Term, b: Term, leaf: Leaf) -> bool | None:
    if a.number is not None and b.number is not None:
        return a.number == b.number
    shapes = {a.shape, b.shape}
    formulas = shapes <= {"", "number"} or shapes == {"cup", ""}
    if formulas or ("" in shapes and "matrix" in a.text and "matrix" in b.text):
        return leaf(a.text, b.text)
    if len(shapes) > 1 or shapes & {"words", "relation"}:
        return False
    if a.shape == "cup":
        return _matched(a.parts, b.parts, leaf) or leaf(a.text, b.text)
    if len(a.parts) != len(b.parts):
        return False
    if a.shape == "{}":
        return _matched(a.parts, b.parts, leaf)
    return _all(compare(one, other, leaf) for one, other in zip(a.parts, b.parts, strict=True))


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    found = list(verdicts)
    return False if False in found else None if None in found else True


def _matched(a: Sequence[Term], b: Sequence[Term], leaf: Leaf) -> bool | None:
    """Whether the elements of two sets pair off, in whatever order."""
    if len(a) != len(b) or len(a) > 30:
        return False
    table = [[compare(one, other, leaf) for other in b] for one in a]
    if _pairs_off([[cell is True for cell in row] for row in table]):
        return True
    return None if _pairs_off([[cell is not False for cell in row] for row in table]) else False


def _pairs_off(table: list[list[bool]]) -> bool:
    """Whether a perfect matching exists (augmenting paths)."""
    partner: dict[int, int] = {}

    def place(row: int, tried: set[int]) -> bool:
        for column, fits in enumerate(table[row]):
            if fits and column not in tried:
                tried.add(column)
                if column not in partner or place(partner[column], tried):
                    partner[column] = row
                    return True
        return False

    return all(place(row, set()) for row in range(len(table)))
