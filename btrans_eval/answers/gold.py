"""The gold answer of a benchmark's row, and which kind of answer its form asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from btrans_eval.answers.extract import extract
from btrans_eval.answers.numbers import AIME_INTEGER
from btrans_eval.answers.statements import WORD
from btrans_eval.errors import UserError

_GOLD_FIELDS = ("answer", "answer_number", "target", "gold", "solution")
_OPTION = re.compile(r"\(?[A-J]\)?")
_NUMBER = re.compile(
    r"[-+−]?\s?[$€£]?-?(?=\.?[0-9])(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]*)(?:\.[0-9]+)?\s?%?"
)
_MARKUP = re.compile(r"\\[A-Za-z]|\$[^$]+\$")


def kind_of_document(document: Any) -> str:
    """Kind of the gold answer in a row: ``letter``, ``integer``, ``number``, ``latex``, ``text``.

    Only the form of the gold answer counts, never its value. A row that names no gold answer in
    one of the fields answer, answer_number, target, gold or solution (in any case) is ``text``.
    """
    if not isinstance(document, Mapping):
        return "text"
    fields = {str(name).lower(): value for name, value in document.items()}
    for name in _GOLD_FIELDS:
        if fields.get(name) is not None:
            return kind_of_gold(fields[name], document)
    return "text"


def kind_of_gold(target: object, doc: Mapping[str, object]) -> str:
    """The kind of a gold answer by its form, and by the columns of its row; no response is read.

    Letter: the row lists its options, and the gold is a letter or an index. Integer: the columns
    are AIME's (id, problem, answer, perhaps solution) and the gold has at most three digits.
    Number: "####", or all of it is one number. LaTeX: markup, or a solution with a \\boxed (which
    goes before a plain number: all rows of MATH are of one kind). A list is of the kind all share.
    """
    if isinstance(target, (list, tuple)):
        kinds = {kind_of_gold(one, doc) for one in target}
        return kinds.pop() if len(kinds) == 1 else "text"
    row = {str(key).lower(): value for key, value in doc.items()}
    gold, boxed = str(target).strip(), "\\boxed" in str(row.get("solution"))
    if _is_option(target, row):
        return "letter"
    if _has_columns_of_aime(row) and AIME_INTEGER.fullmatch(gold):
        # A text column with worked solutions may be MATH's, an integer column is all integers.
        if type(row["answer"]) is int or not boxed:
            return "integer"
    if "####" in gold or (_NUMBER.fullmatch(gold) and not boxed):
        return "number"
    return "latex" if boxed or _has_markup(gold) else "text"


def _is_option(target: object, row: Mapping[str, object]) -> bool:
    """Whether the row lists its options, and the target is one's index, or a letter says which."""
    if not any(isinstance(row.get(name), list) for name in ("options", "choices")):
        return False
    letters = [_OPTION.fullmatch(str(one).strip()) for one in (target, row.get("answer"))]
    return type(target) is int or any(letters)


def _has_columns_of_aime(row: Mapping[str, object]) -> bool:
    return row.keys() - {"solution"} == {"id", "problem", "answer"}


def _has_markup(gold: str) -> bool:
    return bool(_MARKUP.search(gold) or (re.search(r"[\\^_$]", gold) and not WORD.search(gold)))


def gold_answer(document: Mapping[str, Any], field: str, kind: str) -> str:
    """The gold answer of a row in the form that answers of its kind are extracted in.

    Raises:
        UserError: if the row has no such field, or it holds no answer of that kind.
    """
    if field not in document:
        raise UserError(
            f"gold: rows must have a field {field!r}, but this one has {', '.join(document)}; "
            "the dataset is not in its published format"
        )
    gold = document[field]
    if kind == "letter" and isinstance(gold, int) and not isinstance(gold, bool):
        return "ABCDEFGHIJ"[gold]
    # a gold answer in LaTeX is all answer, with nothing around it to extract it from
    answer = str(gold).strip() if kind == "latex" else extract(str(gold), kind)
    if not answer:
        raise UserError(f"gold: {field} must hold an answer of kind {kind}, got {gold!r}")
    return answer
