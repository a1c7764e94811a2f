"""Which kind of answer a benchmark's row asks for, read from the form of its gold answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from btrans_eval.answers.extract import kind_of_gold

_GOLD_FIELDS = ("answer", "target", "gold", "label", "solution")


def kind_of_document(document: Any) -> str:
    """Kind of the gold answer in a row: ``letter``, ``integer``, ``number``, ``latex``, ``text``.

    Only the form of the gold answer counts, never its value. A row that names no gold answer in
    one of the fields answer, target, gold, label or solution (in any case) is ``text``.
    """
    if not isinstance(document, Mapping):
        return "text"
    fields = {str(name).lower(): value for name, value in document.items()}
    for name in _GOLD_FIELDS:
        if fields.get(name) is not None:
            return kind_of_gold(fields[name], document)
    return "text"
