"""The answer a response states, by the kind of the gold answer; None where it states none.

A missed answer costs one vote, a false one is a wrong number: an ambiguous form gives None.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from btrans_eval.answers.characters import fold
from btrans_eval.answers.expressions import extract_latex
from btrans_eval.answers.letters import extract_letter
from btrans_eval.answers.numbers import extract_integer, extract_number
from btrans_eval.answers.thoughts import visible
from btrans_eval.config import EXTRACTORS
from btrans_eval.errors import UserError

ANSWERS_SCHEME = 2  # raising it is a CHANGELOG line: answers of two schemes do not compare


def normalize_text(text: str) -> str | None:
    """The whole text, NFKC, case and white space folded; None where nothing is left."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split()) or None


def _shown(text: str) -> str | None:
    return normalize_text(visible(fold(text)))


def extract(text: str, kind: str) -> str | None:
    """The answer of that kind in the text, None where it states none.

    Args:
        text: a response.
        kind: letter, integer, number, latex or text (the whole text, normalized).

    Raises:
        UserError: on another kind.

    Example:
        >>> extract("3 + 4 = 7, so the answer is 7.", "integer")
        '7'
        >>> print(extract("I cannot tell.", "integer"))
        None
    """
    functions = extract_letter, extract_integer, extract_number, extract_latex, _shown
    extractors: dict[str, Callable[[str], str | None]] = dict(
        zip(EXTRACTORS, functions, strict=True)
    )
    if kind not in extractors:
        raise UserError(
            f"extractor must be one of {', '.join(EXTRACTORS)}, got {kind!r}: type one of them"
        )
    return extractors[kind](text)
