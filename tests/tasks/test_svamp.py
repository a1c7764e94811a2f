"""The word problems of one operation, on their real rows."""

from __future__ import annotations

import json

import lm_eval
import pytest
from canned import Canned
from lm_eval.tasks import TaskManager
from real import HUB, needs_hub

from btrans_eval.answers.extract import normalize_text

ROWS = HUB / "ChilleD" / "SVAMP"


def rows(split):
    return [json.loads(line) for line in (ROWS / f"{split}.jsonl").open(encoding="utf-8")]


@pytest.fixture(scope="module")
def task():
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(HUB)
        (loaded,) = TaskManager().load(["btrans_svamp"])["tasks"].values()
    return loaded


@needs_hub
def test_both_splits_are_loaded_and_share_no_question(task):
    train, test = (
        {normalize_text(doc["question_concat"]) for doc in docs}
        for docs in (task.training_docs(), task.eval_docs)
    )
    assert (len(train), len(test)) == (700, 200)
    assert not train & test


@needs_hub
def test_no_row_is_an_example_of_the_prompt(task):
    for doc in [*task.training_docs(), *task.eval_docs]:
        assert task.doc_to_text(doc).count(doc["question_concat"]) == 1


@needs_hub
@pytest.mark.parametrize(
    "thought",
    [
        "8 - 5 is {0}. The answer is {0}.",
        "8 - 5 = {0}",
        "She has 8 - 5 = {0} left. The answer is {0} pens",
    ],
)
def test_every_gold_is_read_from_a_thought_that_ends_with_it(monkeypatch, thought):
    monkeypatch.chdir(HUB)
    golds = {row["question_concat"]: int(float(row["Answer"])) for row in rows("test")}

    def responses(prompt):
        question = prompt.rpartition("Question: ")[2].removesuffix("\nAnswer:")
        said = [golds[question]] * 6 + [golds[question] + 1] * 2
        return [f" {thought}".format(number) for number in said]

    results = lm_eval.simple_evaluate(
        Canned(responses), tasks=["btrans_svamp"], task_manager=TaskManager(), bootstrap_iters=10
    )
    for row in results["samples"]["btrans_svamp"]:
        assert (row["mean"], row["maj@8"], row["invalid_rate"]) == (6 / 8, 1.0, 0.0)
