"""The questions to learn on: made by a script, balanced, and in one split only."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from pathlib import Path

import pytest
from lm_eval.tasks import TaskManager

from btrans_eval.answers.extract import normalize_text
from btrans_eval.tasks.btrans_arithmetic import utils

FOLDER = Path(utils.__file__).parent


@pytest.fixture(scope="module")
def rows():
    return {
        split: [json.loads(line) for line in (FOLDER / f"{split}.jsonl").open(encoding="utf-8")]
        for split in ("train", "test")
    }


def test_the_script_makes_what_is_there(rows, tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("make", FOLDER / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.questions() == rows
    assert module.questions(seed=1) != rows
    there = {split: (FOLDER / f"{split}.jsonl").read_bytes() for split in rows}
    monkeypatch.setattr(module, "__file__", str(tmp_path / "make.py"))
    module.main()
    assert {split: (tmp_path / f"{split}.jsonl").read_bytes() for split in rows} == there


def test_no_question_comes_twice(rows):
    asked = [normalize_text(utils.doc_to_text(row)) for split in rows.values() for row in split]
    assert len(asked) == len(set(asked)) == 600


def test_levels_are_balanced_from_the_first_row_on(rows):
    for split, each in (("train", 80), ("test", 40)):
        assert Counter(row["level"] for row in rows[split]) == dict.fromkeys(range(1, 6), each)
        assert Counter(row["level"] for row in rows[split][:50]) == dict.fromkeys(range(1, 6), 10)


def test_answers_are_right(rows):
    for row in [*rows["train"], *rows["test"]]:
        words = row["question"].replace(",", " ").replace(":", " ").replace("?", " ").split()
        numbers = [int(word) for word in words if word.isdigit()]
        answer = {
            1: lambda a, b: str(max(a, b)),
            2: lambda a, b: str(a + b),
            3: lambda a, b: "yes" if a < b else "no",
            4: lambda a, b: str(a + b),
            5: lambda a, b: str(a + b),
        }[row["level"]](*numbers)
        assert row["answer"] == answer


def test_scores(rows):
    for row in [*rows["train"], *rows["test"]]:
        answer = row["answer"]
        for text in (f" {answer}", f"{answer}.", f" {answer} apples."):
            assert utils.score(row, text) == 1.0
        wrong = {"yes": "no", "no": "yes"}.get(answer) or str(int(answer) + 1)
        for text in (f" {wrong}", "", " I do not know"):
            assert utils.score(row, text) == 0.0


def test_no_question_of_the_test_split_is_an_example_of_its_prompt(rows):
    for row in rows["test"]:
        assert utils.doc_to_text(row).count(row["question"]) == 1


def test_both_splits_are_loaded():
    (task,) = TaskManager().load(["btrans_arithmetic"])["tasks"].values()
    assert (len(list(task.training_docs())), len(task.eval_docs)) == (400, 200)
    assert task.config.repeats == 8
