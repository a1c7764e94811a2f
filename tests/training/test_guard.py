"""When a run that is rewarded by votes counts as collapsed, and what is left of it."""

from __future__ import annotations

import json
import math

import pytest
import tiny_checkpoint
import words_task

from btrans_eval.cli import main
from btrans_eval.errors import UserError
from btrans_eval.training.guard import Guard, entropy, winners

GUARD = Guard(window=2, entropy=0.6, kl=1.0, length=4.0)


def step_lines(*kls, tokens=4.0):
    return [{"step": n, "kl": kl, "rollout_tokens": tokens} for n, kl in enumerate(kls, 1)]


def said(*answers_by_step):
    """Rollouts of two prompts a step, of which the first of each wins."""
    return [
        {"step": step, "row": row, "answer": answer, "reward": reward}
        for step, answers in enumerate(answers_by_step, 1)
        for row, answer in enumerate(answers)
        for answer, reward in ((answer, 1.0), ("other", 0.0), (None, 0.0))
    ]


def test_entropy_against_its_definition():
    assert entropy([]) == 0.0 and entropy(["a"] * 3) == 0.0
    assert entropy(["a", "b", "c", "d"]) == pytest.approx(math.log(4))
    assert entropy(["a", "a", "b"]) == pytest.approx(-(2 / 3) * math.log(2 / 3) + math.log(3) / 3)


def test_winners_are_one_for_each_prompt_that_has_one():
    lines = said("ab", "cd") + [{"step": 2, "row": 9, "answer": "tied", "reward": 0.0}]
    assert winners(lines, 1, 1) == ["a", "b"] and winners(lines, 1, 2) == ["a", "b", "c", "d"]
    assert winners(lines, 3, 4) == []


@pytest.mark.parametrize("steps", range(4))
def test_nothing_is_said_before_two_windows(steps):
    assert GUARD.reason(step_lines(*[9.0] * steps), said(*["aa"] * steps)) is None


def test_one_answer_for_every_prompt():
    found = GUARD.reason(step_lines(0, 0, 0, 0), said("ab", "cd", "aa", "aa"))
    assert found and "entropy of 0.00 nats, 0% of the start's" in found
    assert GUARD.reason(step_lines(0, 0, 0, 0), said("ab", "cd", "ab", "cd")) is None
    assert GUARD.reason(step_lines(0, 0, 0, 0), said("ab", "cd", "ab", "ce")) is None
    # nobody wins any more
    nobody = [{**line, "reward": 0.0} for line in said("", "", "aa", "aa")]
    assert GUARD.reason(step_lines(0, 0, 0, 0), said("ab", "cd") + nobody)


def test_a_start_without_variety_has_none_to_lose():
    assert GUARD.reason(step_lines(0, 0, 0, 0), said("aa", "aa", "aa", "aa")) is None


def test_far_from_the_start():
    same = said("ab", "cd", "ab", "cd")
    assert GUARD.reason(step_lines(0, 0, 0.5, 1.4), same) is None  # 0.95 in the mean
    assert "1.05 nats per token" in str(GUARD.reason(step_lines(0, 0, 0.5, 1.6), same))
    assert GUARD.reason(step_lines(None, None, None, None), same) is None  # beta=0


@pytest.mark.parametrize("tokens, is_found", [(4, False), (15, False), (17, True), (0.9, True)])
def test_length(tokens, is_found):
    steps = step_lines(0, 0) + [
        {**line, "step": line["step"] + 2} for line in step_lines(0, 0, tokens=tokens)
    ]
    found = GUARD.reason(steps, said("ab", "cd", "ab", "cd"))
    assert (found is not None) == is_found


def test_mistakes():
    for given, message in (
        ({"window": 0}, "window: must be"),
        ({"entropy": 1.0}, r"entropy: must lie in \[0, 1\)"),
        ({"kl": -1}, "kl: must be"),
        ({"length": 0.5}, "length: must be"),
    ):
        with pytest.raises(UserError, match=message):
            Guard(**given)


class Stopped(Exception):
    pass


def _stop(*args, **kwargs):
    raise Stopped


def run(tmp_path, monkeypatch, save_steps):
    """A run whose guard finds a collapse at step 4, of steps 3 and 4."""
    checkpoint = tiny_checkpoint.save(tmp_path / "tiny")
    study = {
        "task": "toy_words", "include_path": words_task.save(tmp_path / "task"), "reward": "vote",
        "model_args": {"pretrained": checkpoint, "device": "cpu"}, "steps": 9, "group": 4,
        "arms": "stock", "seeds": [1], "prompts": 2, "save_steps": save_steps,
        "guard": {"window": 2},
    }  # fmt: skip
    (tmp_path / "study.yaml").write_text(json.dumps(study))
    monkeypatch.setattr(
        Guard, "reason", lambda self, steps, rollouts: "a test" if len(steps) == 4 else None
    )
    monkeypatch.setattr("btrans_eval.training.study.evaluate", _stop)
    main(["train", str(tmp_path / "study.yaml"), "--output_path", str(tmp_path / "out")])


def test_a_collapse_ends_the_run_and_keeps_the_adapter_from_before(tmp_path, monkeypatch, caplog):
    with pytest.raises(Stopped):
        run(tmp_path, monkeypatch, save_steps=1)
    folder = tmp_path / "out" / "runs" / "stock_T=1" / "seed-1"
    facts = json.loads((folder / "run.json").read_text())
    assert facts["collapsed"] == {"step": 4, "reason": "a test", "adapter": "checkpoint-2"}
    name = "adapter_model.safetensors"
    kept = (folder / "adapter" / name).read_bytes()
    assert kept == (folder / "checkpoint-2" / name).read_bytes()
    assert (folder / "adapter" / "adapter_config.json").is_file()
    assert "stopped at step 4, because a test" in caplog.text
    assert len((folder / "steps.jsonl").read_text().splitlines()) == 4


def test_a_collapse_before_any_checkpoint_is_one_line(tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit) as ended:
        run(tmp_path, monkeypatch, save_steps=3)
    assert ended.value.code == 2
    assert (
        "collapsed by step 4: a test. There is no checkpoint of step 2" in capsys.readouterr().err
    )
