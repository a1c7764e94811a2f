"""Scoring for the small question set that ships with the package.

The task asks short questions whose answer is an integer or one lower-case word.  ``answer_of``
reads the answer out of a response without looking at the question or at the gold answer, and
``score`` compares that reading with the accepted answers of the document.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_UNIT_VALUES = {
    "zero": 0,
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
    "eleven": 11,
    "twelve": 12,
    "thirteen": 13,
    "fourteen": 14,
    "fifteen": 15,
    "sixteen": 16,
    "seventeen": 17,
    "eighteen": 18,
    "nineteen": 19,
}
_TENS_VALUES = {
    "twenty": 20,
    "thirty": 30,
    "forty": 40,
    "fifty": 50,
    "sixty": 60,
    "seventy": 70,
    "eighty": 80,
    "ninety": 90,
}

_DIGITS = re.compile(r"(?<![\w.])-?[0-9]+(?:\.[0-9]+)?")
_THOUSANDS = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
_SENTENCE_END = re.compile(r"[.!?](?:\s|$)")
_THAN = re.compile(r"\bthan\b")

_SUBJECTS = frozenset({"the", "it", "they", "this", "that"})
_VERBS = frozenset({"is", "are", "was", "were"})
_ARTICLES = frozenset({"a", "an", "the"})


def answer_of(text: str) -> str | None:
    """Return the normalized answer that a response gives, or None if it gives none.

    Only the first line that holds anything is read, in NFKC form and casefolded.  Rules, the
    first that applies:

    1. The first word is "yes" or "no": that word.
    2. What follows "than" is ignored ("71 is larger than 17" reads "71 is larger").
    3. The line holds numbers in digits: the last one ("3 + 4 = 7 apples" gives "7").
    4. The line holds number words: the last one, in digits ("twenty-one" gives "21").
    5. The first sentence holds is, are, was or were, and starts with the, it, they, this or
       that or has more than one word before that verb: its last word ("The answer is Paris."
       gives "paris", "Frozen water is called ice." gives "ice").
    6. Otherwise the first word that is not an article ("An elephant." gives "elephant").
    """
    line = _first_line(text)
    words = _WORD.findall(line)
    if words and words[0] in ("yes", "no"):
        return str(words[0])
    head = _THAN.split(line, maxsplit=1)[0]
    return _last_number(head) or _last_number_word(head) or _word_answer(head)


def score(doc: Mapping[str, Any], response: str) -> float:
    """Return 1.0 if the response gives the document's answer or an accepted form, else 0.0."""
    accepted = {answer_of(str(form)) for form in (doc["answer"], *doc["accept"])}
    given = answer_of(response)
    return 1.0 if given is not None and given in accepted else 0.0


def _first_line(text: str) -> str:
    """Return the first line that is not blank, NFKC, casefolded and stripped."""
    plain = unicodedata.normalize("NFKC", text).replace("\u2019", "'").casefold()
    return next((line.strip() for line in plain.splitlines() if line.strip()), "")


def _last_number(line: str) -> str | None:
    """Return the last number in digits, without thousands commas, leading or trailing zeros."""
    found = _DIGITS.findall(_THOUSANDS.sub("", line))
    if not found:
        return None
    whole, _, fraction = found[-1].partition(".")
    digits = whole.lstrip("-").lstrip("0") or "0"
    fraction = fraction.rstrip("0")
    number = f"{digits}.{fraction}" if fraction else digits
    return f"-{number}" if whole.startswith("-") and number != "0" else number


def _last_number_word(line: str) -> str | None:
    """Return the last number from zero to ninety-nine (or hundred) spelled out, in digits."""
    value: int | None = None
    previous = ""
    for word in _WORD.findall(line):
        if word in _TENS_VALUES:
            value = _TENS_VALUES[word]
        elif word in _UNIT_VALUES:
            unit = _UNIT_VALUES[word]
            joins = previous in _TENS_VALUES and 0 < unit < 10
            value = unit + (_TENS_VALUES[previous] if joins else 0)
        elif word == "hundred":
            value = 100 * _UNIT_VALUES.get(previous, 1)
        previous = word
    return None if value is None else str(value)


def _word_answer(line: str) -> str | None:
    """Return the word that answers, by rules 5 and 6 of ``answer_of``."""
    words: list[str] = _WORD.findall(_SENTENCE_END.split(line, maxsplit=1)[0])
    if not words:
        return None
    bare = [word for word in words if word not in _ARTICLES] or words
    verb = next((place for place, word in enumerate(bare) if word in _VERBS), 0)
    if verb > 1 or (verb and words[0] in _SUBJECTS):
        return words[-1]
    return bare[0]


def load(**_: Any) -> dict[str, Any]:
    """Return the questions as a dataset, whatever folder the harness runs in."""
    import datasets

    rows = Path(__file__).with_name("questions.jsonl").read_text(encoding="utf-8").splitlines()
    return {"test": datasets.Dataset.from_list([json.loads(row) for row in rows])}
