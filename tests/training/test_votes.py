"""The vote as reward: who earns it, who votes, and that no gold answer is used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_checkpoint
import torch
import transformers
import words_task
from safetensors.torch import load_file

from btrans_eval.cli import main
from btrans_eval.errors import UserError
from btrans_eval.judged import JudgedResponse
from btrans_eval.training.plan import made
from btrans_eval.training.rewards import measures, plurality_class
from btrans_eval.training.rollouts import Rollouts
from btrans_eval.training.steps import lines
from btrans_eval.training.task import Judged


@pytest.mark.parametrize(
    "labels, winner",
    [
        ([0, 0, 1], 0),
        ([1, 0, 1, None], 1),
        ([0, 1], None),  # a tie earns nobody anything
        ([0, 0, 1, 1, 2], None),
        ([None, None], None),
        ([None, 3, None], 3),
        ([], None),
    ],
)
def test_the_class_with_most_votes(labels, winner):
    assert plurality_class(labels) == winner


def test_measures_against_their_definitions():
    def group(*votes):
        return [
            Judged(JudgedResponse("", answer=None if label is None else str(label), label=label), s)
            for label, s in votes
        ]

    found = measures([
        group((0, 1.0), (0, 1.0), (1, 0.0), (None, 0.0)),  # the vote is right
        group((0, 0.0), (0, 0.0), (0, 0.0), (1, 1.0)),  # and wrong
        group((0, 1.0), (1, 0.0), (None, 0.0), (None, 0.0)),  # tied
        group((None, 0.0), (None, 0.0), (None, 0.0), (None, 0.0)),
    ])  # fmt: skip
    assert found["label_accuracy"] == 1 / 4 and found["ground_truth_ratio"] == 4 / 16
    assert found["majority_ratio"] == pytest.approx((2 / 4 + 3 / 4 + 1 / 4 + 0) / 4)
    assert found["vote/tied"] == 1 / 4 and found["vote/none"] == 1 / 4
    assert found["answers/invalid"] == 7 / 16 and found["answers/distinct"] == 6 / 4


def test_votes_that_are_not_trained_on_have_numbers_of_their_own():
    fresh = Rollouts()
    trained = fresh.numbered(8, 8, group=4, extra=2)  # the second generation, two prompts
    others = fresh.untrained(2, 2, group=4, extra=2)
    assert trained == [12, 13, 14, 15, 18, 19, 20, 21] and others == [16, 17, 22, 23]
    assert sorted(trained + others) == list(range(12, 24))
    fixed = Rollouts(members="fixed")
    assert fixed.numbered(8, 8, 4, 2) == [0, 1, 2, 3] * 2
    assert fixed.untrained(2, 2, 4, 2) == [4, 5, 4, 5]


def test_entries():
    plan = made({"task": "x", "reward": "vote", "votes": 64, "train_on": 32, "prompts": 1})
    assert (plan.group, plan.extra_votes, plan.kl_weight) == (32, 32, 0.04)
    assert made({"task": "x"}).kl_weight == 0.0
    assert made({"task": "x", "reward": "vote", "beta": 0}).kl_weight == 0.0
    with pytest.raises(UserError, match="votes: must be a whole number of at least 8, got 4"):
        made({"task": "x", "reward": "vote", "votes": 4})
    with pytest.raises(UserError, match="votes: go with reward: vote"):
        made({"task": "x", "votes": 16})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """One that says the same thing often enough for votes to agree."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny_checkpoint.save(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(25)
    model.save_pretrained(folder)
    return str(folder)


def trained(folder: Path, checkpoint: str, rows: str, monkeypatch, votes: int = 6) -> Path:
    """A run of the vote on a task with these rows; its folder."""
    task = words_task.save(folder / "task")
    (folder / "task" / "toy_rows.py").write_text(rows)
    monkeypatch.setattr("btrans_eval.training.study.evaluate", _stop)
    study = {
        "task": "toy_words", "include_path": task, "reward": "vote", "votes": votes,
        "train_on": 4, "model_args": {"pretrained": checkpoint, "device": "cpu"}, "steps": 3,
        "arms": "population@1.0:sigma=0.3", "seeds": [1], "prompts": 2, "learning_rate": 0.01,
        "save_steps": 3, "max_gen_toks": 1,
    }  # fmt: skip
    (folder / "study.yaml").write_text(json.dumps(study))
    with pytest.raises(Stopped):
        main(["train", str(folder / "study.yaml"), "--output_path", str(folder / "out")])
    (run,) = (folder / "out" / "runs").glob("*/seed-1")
    adapter = load_file(run / "adapter" / "adapter_model.safetensors")
    assert any(tensor.any() for name, tensor in adapter.items() if "lora_B" in name)  # it learned
    return run


class Stopped(Exception):
    pass


def _stop(*args, **kwargs):
    raise Stopped


def weights(run: Path) -> bytes:
    return (run / "adapter" / "adapter_model.safetensors").read_bytes()


def test_gold_answers_are_never_used(tmp_path, checkpoint, monkeypatch):
    """The same golds among other rows give the same adapter, byte for byte."""
    other = words_task.ROWS.replace('"answer": f"w{a}"', '"answer": f"w{(a * 7 + b) % 16 + 3}"')
    assert other != words_task.ROWS
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one = trained(tmp_path / "one", checkpoint, words_task.ROWS, monkeypatch)
    two = trained(tmp_path / "two", checkpoint, other, monkeypatch)
    assert weights(one) == weights(two)
    hashes = [json.loads((run / "run.json").read_text())["row_sha256"] for run in (one, two)]
    assert hashes[0] != hashes[1]


def test_who_votes_and_who_earns(tmp_path, checkpoint, monkeypatch):
    run = trained(tmp_path, checkpoint, words_task.ROWS, monkeypatch)
    rollouts = lines(run / "rollouts.jsonl")
    members = [line["member"] for line in rollouts]
    assert members == [m for p in range(6) for m in range(6 * p, 6 * p + 4)]  # 4 of 6 are trained
    assert {line["reward"] for line in rollouts} <= {0.0, 1.0}
    for step in lines(run / "steps.jsonl"):
        earned = [line["reward"] for line in rollouts if line["step"] == step["step"]]
        assert step["reward"] == pytest.approx(sum(earned) / 8)
        assert {"label_accuracy", "ground_truth_ratio", "majority_ratio", "kl"} <= set(step)
    assert json.loads((run / "run.json").read_text())["trl"]["beta"] == 0.04


def test_other_votes_change_what_is_learned(tmp_path, checkpoint, monkeypatch):
    for name in ("four", "six"):
        (tmp_path / name).mkdir()
    four = trained(tmp_path / "four", checkpoint, words_task.ROWS, monkeypatch, votes=4)
    six = trained(tmp_path / "six", checkpoint, words_task.ROWS, monkeypatch, votes=6)
    assert weights(four) != weights(six)
