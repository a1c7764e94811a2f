"""A task is trained on as it is evaluated; and what becomes of a study of several processes."""

from __future__ import annotations

import json

import pytest
import words_task

from btrans_eval.errors import UserError
from btrans_eval.harness.response import Response
from btrans_eval.training import study
from btrans_eval.training.plan import made
from btrans_eval.training.task import Asking, TrainingTask


def saved(folder, more="", rows=None):
    words_task.save(folder)
    (folder / "toy_words.yaml").write_text(words_task.YAML + more)
    if rows is not None:
        (folder / "toy_rows.py").write_text(rows)
    return str(folder)


def test_examples_that_the_evaluation_would_not_have(tmp_path):
    zero = saved(tmp_path / "zero", "num_fewshot: 0\n")
    with pytest.raises(UserError, match="num_fewshot: must be 0 for toy_words, .* got 2; leave it"):
        TrainingTask("toy_words", 2, Asking(2, include_path=zero))
    for number in (None, 0):
        assert TrainingTask("toy_words", 2, Asking(number, include_path=zero))
    free = TrainingTask("toy_words", 2, Asking(2, include_path=saved(tmp_path / "free")))
    doc = free.training_docs()[-1]
    assert len(free.request(doc, 0, None).args[0]) > len(doc["question"])


def test_a_task_that_is_only_evaluated_may_have_no_examples(tmp_path):
    folder = tmp_path / "both"
    path = saved(folder)
    other = words_task.YAML.replace("task: toy_words", "task: toy_other") + "num_fewshot: 0\n"
    (folder / "toy_other.yaml").write_text(other)
    plan = made({"task": "toy_words", "num_fewshot": 2, "evaluation": {"tasks": ["toy_other"]}})
    asking = Asking(2, include_path=path)
    assert study._drawn(plan, TrainingTask("toy_words", 2, asking), asking).left_out == 2


FILTERS = """filter_list:
  - {name: one, filter: [{function: take_first}]}
  - {name: two, filter: [{function: take_first}]}
"""
METRIC = "  - {metric: odd, aggregation: mean, higher_is_better: true}\n"


def test_votes_need_one_filter_and_one_metric(tmp_path):
    filters = Asking(include_path=saved(tmp_path / "filters", FILTERS))
    with pytest.raises(UserError, match="vote needs a task with one filter .* has the filters one"):
        TrainingTask("toy_words", 2, filters, "vote")
    assert TrainingTask("toy_words", 2, filters)
    rows = words_task.ROWS.replace("> 2)}", '> 2), "odd": 0.0}')
    metrics = Asking(include_path=saved(tmp_path / "metrics", METRIC, rows))
    task = TrainingTask("toy_words", 2, metrics, "vote")
    said = [[Response("w4 w6 w8", 3, False)] * 2]
    with pytest.raises(UserError, match="one metric, but toy_words scores a response by even, odd"):
        task.judge(task.training_docs()[:1], said)
    one = Asking(include_path=saved(tmp_path / "one"))
    task = TrainingTask("toy_words", 2, one, "vote")
    assert task.judge(task.training_docs()[:1], said)[0][0].score == 1.0


def row(text):
    return json.dumps({"question": text, "answer": "w1", "level": 0}, ensure_ascii=False)


def test_rows_of_one_s_own_hold_any_separator_and_keep_their_numbers(tmp_path):
    asking = Asking(include_path=saved(tmp_path / "task"))
    task, file = TrainingTask("toy_words", 2, asking), tmp_path / "rows.jsonl"
    plan = made({"task": "toy_words", "rows": str(file)})
    file.write_text("\n" + row("w3 \u2028 w3") + "\n\n" + row("w4 \x85 w4") + "\n", "utf-8")
    found = study._drawn(plan, task, asking).docs
    assert sorted(doc["question"] for doc in found) == ["w3 \u2028 w3", "w4 \x85 w4"]
    file.write_text("\n" + row("w3") + "\n\nnonsense\n", "utf-8")
    with pytest.raises(UserError, match="line 4 of"):
        study._drawn(plan, task, asking)


@pytest.mark.parametrize("rank, said", [("0", 1), ("1", 0)])
def test_several_processes_train_and_one_evaluates(tmp_path, monkeypatch, capsys, rank, said):
    trained = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr(study, "check", lambda plan: None)  # trl would look for the other process
    monkeypatch.setattr(study, "train", lambda *given: trained.append(given[1].name))
    monkeypatch.setattr(study, "evaluate", lambda *_: pytest.fail("evaluated"))
    plan = made({
        "task": "toy_words", "include_path": saved(tmp_path / "task"), "seeds": [0],
        "model_args": {"pretrained": "not/there"},
    })  # fmt: skip
    study.run(plan, tmp_path)
    assert trained == ["stock T=1", "population T=1"]
    assert capsys.readouterr().out.count("without accelerate, which evaluates") == said
