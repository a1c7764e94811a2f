"""Which rows are trained on: by strata, none that is evaluated, the same ones every time."""

from __future__ import annotations

import json
from collections import Counter
from unittest import mock

import pytest
import words_task

from btrans_eval.errors import UserError
from btrans_eval.harness.response import Response
from btrans_eval.training.rows import draw, order
from btrans_eval.training.task import Asking, TrainingTask


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    folder = words_task.save(tmp_path_factory.mktemp("task"))
    return TrainingTask("toy_words", 4, Asking(include_path=folder))


def test_no_row_is_evaluated_and_none_comes_twice(task):
    drawn = draw(task, task.training_docs(), task.evaluated(), None, None)
    assert (drawn.left_out, drawn.repeated, len(drawn.docs)) == (2, 2, 86)
    asked = task.evaluated()
    questions = [task.question(doc) for doc in drawn.docs]
    assert not asked & set(questions) and len(set(questions)) == 86


def test_a_prompt_that_differs_in_case_and_spaces_is_the_same(task):
    docs = [{"question": " W3  w20 ", "answer": "w3", "level": 0}]
    with pytest.raises(UserError, match="has 0 rows for training .*1 are"):
        draw(task, docs, task.evaluated(), None, None)


def test_strata_are_as_equal_as_they_can_be(task):
    drawn = draw(task, task.training_docs(), task.evaluated(), 20, "level")
    counts = Counter(str(doc["level"]) for doc in drawn.docs)
    assert dict(counts) == drawn.strata and sorted(counts.values()) == [6, 7, 7]
    many = [doc for doc in task.training_docs() if doc["level"] == 0]
    few = [doc for doc in task.training_docs() if doc["level"] == 1][:3]
    drawn = draw(task, many + few, task.evaluated(), 12, "level")
    assert drawn.strata == {"0": 9, "1": 3}


def test_the_same_rows_every_time_whatever_their_order(task):
    docs = task.training_docs()
    one, two = (draw(task, docs, task.evaluated(), 20, "level") for _ in range(2))
    assert one == two and one.hashes == two.hashes
    other = draw(task, docs, task.evaluated(), 20, "level", seed=1)
    assert other.hashes != one.hashes


def test_mistakes(task):
    with pytest.raises(UserError, match="examples: toy_words has 86 rows .* got examples=87"):
        draw(task, task.training_docs(), task.evaluated(), 87, None)
    with pytest.raises(UserError, match="strata: toy_words's rows have the fields question, an"):
        draw(task, task.training_docs(), task.evaluated(), 5, "depth")
    with pytest.raises(UserError, match="no task named toy_word;"):
        TrainingTask("toy_word", 4)


@pytest.mark.parametrize(
    "kinds, said",
    [
        (["generate_until"] * 2, "must be one task, got the group x of 2"),
        (["loglikelihood"], "must be one that generates, but x is scored by loglikelihood"),
    ],
)
def test_tasks_that_cannot_be_trained_on(kinds, said):
    manager = mock.Mock(all_tasks=["x"])
    told = {"UNSAFE_CODE": False, "_scorers": None, "_filters": []}
    tasks = {str(n): mock.Mock(OUTPUT_TYPE=kind, **told) for n, kind in enumerate(kinds)}
    manager.load.return_value = {"tasks": tasks}
    with mock.patch("btrans_eval.training.task.TaskManager", return_value=manager):
        with pytest.raises(UserError, match=said):
            TrainingTask("x", 4)


def test_order_asks_every_row_before_one_comes_again():
    found = order(5, 2, 5, seed=3)
    assert sorted(found[:5]) == sorted(found[5:]) == [0, 1, 2, 3, 4]
    assert order(5, 2, 5, seed=3) == found != order(5, 2, 5, seed=4)
    assert order(5, 2, 3, seed=3) == found[:6]


def test_own_rows_are_checked(task):
    rows = [json.dumps({"question": "w1 w2", "answer": "w1", "level": 1}), "nonsense"]
    with pytest.raises(UserError, match="rows: line 2 of mine.jsonl is no row of toy_words"):
        task.own_docs(rows, "mine.jsonl")
    with pytest.raises(UserError, match="line 1 of mine.jsonl"):
        task.own_docs(['{"text": "w1"}'], "mine.jsonl")
    assert task.own_docs(rows[:1], "mine.jsonl")[0]["answer"] == "w1"


# --------------------------------------------------------------------------------- scores
def test_a_response_is_scored_as_the_harness_scores_it(task):
    docs = task.training_docs()[:2]
    groups = [[Response("w4 w6 w8", 3, False)] * 2 + [Response("w4 w5", 2, False)] * 2,
              [Response("", 0, False)] * 4]  # fmt: skip
    judged = task.judge(docs, groups)
    assert [[one.score for one in group] for group in judged] == [[1, 1, 0, 0], [0, 0, 0, 0]]
    assert [one.response.label for one in judged[0]] == [0, 0, 1, 1]


def test_population_tasks_are_scored_by_their_own_filter():
    task = TrainingTask("btrans_arithmetic", 3)
    docs = task.training_docs()[:3]
    groups = [[Response(f" {doc['answer']}"), Response("none of it"), Response("")] for doc in docs]
    judged = task.judge(docs, groups)
    assert [[one.score for one in group] for group in judged] == [[1, 0, 0]] * 3
    assert (
        judged[0][0].response.answer == docs[0]["answer"] and judged[0][2].response.answer is None
    )


def test_the_reward_must_be_named_where_there_are_several(task, tmp_path):
    two = words_task.YAML.replace("even, agg", "odd, agg") + (
        "  - {metric: even, aggregation: mean, higher_is_better: true}\n"
    )
    folder = words_task.save(tmp_path / "two")
    rows = words_task.ROWS.replace('return {"even"', 'return {"odd": 0.0, "even"')
    (tmp_path / "two" / "toy_words.yaml").write_text(two)
    (tmp_path / "two" / "toy_rows.py").write_text(rows)
    said = [[Response("w4 w6 w8", 3, False)] * 2]
    asking = Asking(include_path=folder)
    unnamed = TrainingTask("toy_words", 2, asking)
    with pytest.raises(UserError, match="reward: toy_words scores a response by odd, even"):
        unnamed.judge(unnamed.training_docs()[:1], said)
    for name, score in (("even", 1.0), ("odd", 0.0), ("none:even", 1.0)):
        named = TrainingTask("toy_words", 2, asking, name)
        assert named.judge(named.training_docs()[:1], said)[0][0].score == score
    with pytest.raises(UserError, match="has the filters none, got 'strict:even'"):
        wrong = TrainingTask("toy_words", 2, asking, "strict:even")
        wrong.judge(wrong.training_docs()[:1], said)


def test_prompts_are_the_harness_own(task):
    doc = task.training_docs()[0]
    request = task.request(doc, 7, None)
    assert request.args[0] == doc["question"] and request.doc_id == 7
    assert request.args[1]["max_gen_toks"] == 6

    def template(messages, add_generation_prompt):
        return f"<{messages[-1]['content']}|{add_generation_prompt}>"

    assert task.request(doc, 7, template).args[0] == f"<{doc['question']}|True>"


def test_a_metric_of_which_less_is_better_rewards_nobody(tmp_path):
    folder = words_task.save(tmp_path)
    yaml = words_task.YAML.replace("higher_is_better: true", "higher_is_better: false")
    (tmp_path / "toy_words.yaml").write_text(yaml)
    task = TrainingTask("toy_words", 2, Asking(include_path=folder))
    with pytest.raises(UserError, match="reward: even of toy_words is better the less it is"):
        task.judge(task.training_docs()[:1], [[Response("w4", 1, False)] * 2])
