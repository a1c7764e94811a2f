"""What holds for any text whatever, and the choice of the kind."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from btrans_eval.answers import extract as module
from btrans_eval.answers.extract import extract, normalize_text
from btrans_eval.answers.letters import extract_letter
from btrans_eval.answers.numbers import extract_integer, extract_number
from btrans_eval.config import EXTRACTORS
from btrans_eval.errors import UserError

quiet = settings(database=None, deadline=None, max_examples=60)

TEXTS: list[tuple[str, str | None]] = [
    (" Paris\n", "paris"),
    ("New\t York \n City", "new york city"),
    ("STRASSE", "strasse"),
    ("Straße", "strasse"),
    ("ｆｕｌｌ", "full"),
    ("", None),
    (" \n\u3000", None),
]


@pytest.mark.parametrize(("text", "expected"), TEXTS, ids=range(len(TEXTS)))
def test_text(text: str, expected: str | None) -> None:
    assert extract(text, "text") == expected


def test_scheme_two() -> None:
    """Raise the number, and add a line to the CHANGELOG, whenever an expected value changes."""
    assert module.ANSWERS_SCHEME == 2
    assert EXTRACTORS == ("letter", "integer", "number", "latex", "text")


def test_unknown_kind() -> None:
    with pytest.raises(UserError, match="extractor .*letter, integer, number, latex, text.*'word'"):
        extract("5", "word")


# Prompts of real tasks, retold or continued by the model, and anything else at all.
PIECES = [
    *("the answer is ", "Answer:", "\\boxed{", "\\boxed ", "\\fbox{", "}", "{", "$", "\\(", "\\)"),
    *("\\[", "\\]", "####", "(", ")", "A", "b", "I", "1", "1,", ".", "-", "/", " 1/2", "½", "%"),
    *("\\frac", "\\text{", "\\", "\n", "\n\n", " ", "**", "=", "<think>", "</think>", "²", "٣"),
    *("<answer>", "</answer>", "\ud800", "\x00", "\x01", "1.", "is", "and", ", ", "1 000"),
    *("e5", "x"),
]
ANY_TEXT = st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join))


@pytest.mark.parametrize("kind", EXTRACTORS)
@quiet
@given(text=ANY_TEXT)
@example(text="9" * 5000)
@example(text="\\boxed{" + "9" * 5000 + "}")
def test_any_text_gives_a_non_empty_answer_or_none(kind: str, text: str) -> None:
    found = extract(text, kind)
    assert found is None or (isinstance(found, str) and found)
    assert extract(text, kind) == found


@quiet
@given(text=ANY_TEXT)
def test_each_form_is_canonical(text: str) -> None:
    letter, integer, number = extract_letter(text), extract_integer(text), extract_number(text)
    assert letter is None or (len(letter) == 1 and letter in "ABCDEFGHIJ")
    assert integer is None or str(int(integer)) == integer and 0 <= int(integer) <= 999
    assert number is None or extract_number(number) == number
    folded = normalize_text(text)
    assert folded is None or normalize_text(folded) == folded


# Each is repeated to a long text. All kinds share the code for markup: one kind reads all of it.
_MARKUP = [
    *("\\", "{", "}", "{}", "$", "$$", "(", "_", "`", "*", " ", " \n", "\n", "\u00a0", "½"),
    *("\\text{", "\\frac{", "\\frac{1}", "\\boxed{", "\\boxed ", "\\boxed{1}", "\\boxed{1"),
    *("\\boxed{\n", "<think>"),
]
_LEADS = ["the answer is ", "answer to the ", "answer:\n", "answer is therefore ", "if the "]
HOSTILE = {
    "letter": [
        *("A", "A. ", "(A) ", "\x01A", "\\boxed{1}", "\\boxed ", "answer", "option A is ", "a\n"),
        *(" \n", "\n", ", ", "{", "the answer is A and ", *_LEADS),
    ],
    "integer": [
        *("9", "1,", "1 ", "1/", "1.", "1-", "-1", "10 ", "\u202f1", "=1", "^", "-", "=", ", "),
        *("$1", "1.\n", "\n1. ", "\n- ", "step ", "a\n", "<answer>", "\\(1\\)", "\\["),
        *(*_MARKUP, *_LEADS),
    ],
    "number": ["#", "#### 1", "1 ", "\n1. ", "the answer is "],
    "latex": [
        *("$", "$$", "$1", "\\[", "\\(1\\)", "\\", "{", "(", "A", " ", "\n", " \n", "=1", "1,"),
        *("*", "^", "\\frac{", "\\text{", "\n1. ", "a\n", "\\boxed{1}", "the answer is $x"),
        *_LEADS,
    ],
    "text": ["½", "A "],
}


@pytest.mark.parametrize(
    ("kind", "piece"), [(kind, piece) for kind, pieces in HOSTILE.items() for piece in pieces]
)
def test_long_hostile_texts_come_to_an_end(kind: str, piece: str) -> None:
    """Where a pattern reads the rest of the text at each step, this one does not end in time."""
    text = piece * (50_000 // len(piece))
    for whole in (text + " x", "The answer is " + text):
        found = extract(whole, kind)
        assert found is None or found
