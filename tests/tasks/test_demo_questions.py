"""The question set of the demonstration task, and the rule that reads answers."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from btrans_eval.tasks.btrans_demo import utils

CATEGORIES = {"arithmetic", "comparison", "logic", "facts"}
QUESTIONS = Path(utils.__file__).with_name("questions.jsonl")


def _rows() -> list[dict[str, Any]]:
    lines = QUESTIONS.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


ROWS = _rows()


def test_there_are_enough_rows_in_every_category() -> None:
    counts = Counter(row["category"] for row in ROWS)
    assert len(ROWS) >= 60
    assert set(counts) == CATEGORIES
    assert min(counts.values()) >= 15


def test_ids_and_questions_are_unique() -> None:
    assert len({row["id"] for row in ROWS}) == len(ROWS)
    assert len({row["question"].casefold() for row in ROWS}) == len(ROWS)


def test_yes_and_no_are_balanced() -> None:
    counts = Counter(row["answer"] for row in ROWS)
    assert counts["yes"] == counts["no"] > 0


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_row_has_the_schema(row: dict[str, Any]) -> None:
    assert set(row) == {"id", "category", "question", "answer", "accept"}
    assert all(isinstance(row[key], str) and row[key] for key in set(row) - {"accept"})
    assert isinstance(row["accept"], list)
    assert all(isinstance(form, str) and form for form in row["accept"])
    assert row["question"] == row["question"].strip()
    assert row["question"].endswith("?")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_answer_reads_as_itself(row: dict[str, Any]) -> None:
    answer = row["answer"]
    assert answer.isdecimal() or (answer.isalpha() and answer.islower())
    assert utils.answer_of(answer) == answer
    assert utils.score(row, f" {answer.capitalize()}.\nmore") == 1.0


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_accepted_forms_are_accepted(row: dict[str, Any]) -> None:
    for form in row["accept"]:
        assert form != row["answer"]
        assert utils.answer_of(form) in {row["answer"], *row["accept"]}
        assert utils.score(row, form) == 1.0


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("7", "7"),
        (" 7\n\nQuestion: What is 8?", "7"),
        ("\n\n 12 eggs\n13", "12"),
        ("The answer is 7 apples.", "7"),
        ("3 + 4 = 7 apples", "7"),
        ("1,250", "1250"),
        ("007", "7"),
        ("7.50", "7.5"),
        ("7.0", "7"),
        ("It is -3.", "-3"),
        ("５", "5"),
        ("seven", "7"),
        ("Twenty-one birds.", "21"),
        ("one hundred", "100"),
        ("71 is larger than 17.", "71"),
        ("Yes, Mia is an animal.", "yes"),
        ("NO!", "no"),
        ("No, 3 is left.", "no"),
        ("The answer is yes.", "yes"),
        ("Paris.", "paris"),
        ('"Paris"', "paris"),
        ("Paris is the capital of France.", "paris"),
        ("The capital of France is Paris. It is big.", "paris"),
        ("Frozen water is called ice.", "ice"),
        ("An elephant is bigger than a mouse.", "elephant"),
        ("a", "a"),
        ("", None),
        (" \n\t", None),
        ("...", None),
    ],
)
def test_answer_of(response: str, answer: str | None) -> None:
    assert utils.answer_of(response) == answer


@pytest.mark.parametrize("response", ["9" * 5000, "-", "a.b.c", "\x00", "²", "٣", "than", "is"])
def test_answer_of_takes_any_text(response: str) -> None:
    result = utils.answer_of(response)
    assert result is None or result


def test_score_is_zero_for_a_wrong_or_empty_response() -> None:
    doc = {"answer": "7", "accept": ["seven"]}
    assert utils.score(doc, "seven") == 1.0
    assert utils.score(doc, "8\n7") == 0.0
    assert utils.score(doc, "-7") == 0.0
    assert utils.score(doc, "") == 0.0
