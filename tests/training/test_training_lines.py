"""What is written of steps, rollouts and rows, and what is read of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from btrans_eval.errors import UserError
from btrans_eval.training import checkpoints
from btrans_eval.training.guard import Guard, Watcher
from btrans_eval.training.onpolicy import difference, refuse_apart
from btrans_eval.training.rows import DIGEST, Drawn, keep
from btrans_eval.training.steps import Lines, StepLog, lines

SEPARATORS = "a\u2028b\u2029c\x85d"


def test_a_text_may_hold_any_separator_of_lines(tmp_path):
    path = tmp_path / "rollouts.jsonl"
    file = Lines(path, 0)
    for step in (1, 2, 3):
        file.write({"step": step, "text": SEPARATORS})
    assert [line["text"] for line in lines(path)] == [SEPARATORS] * 3
    Lines(path, 2)  # a run that goes on after step 2
    assert [line["step"] for line in lines(path)] == [1, 2]
    with path.open("a", encoding="utf-8") as torn:
        torn.write('{"step": 3, "te')
    assert [line["step"] for line in lines(path)] == [1, 2]


# ------------------------------------------------------------- steps without a generation
def state(step):
    return SimpleNamespace(global_step=step, max_steps=4, is_world_process_zero=True)


def test_steps_that_generate_nothing_are_written_too(tmp_path):
    log = StepLog(Lines(tmp_path / "steps.jsonl", 0), "a run")
    log.on_train_begin(None, state(0), None)
    log.on_log(None, state(1), None, {"loss": 0.5, "reward": 1.0, "completions/mean_length": 3.0})
    log.on_log(None, state(2), None, {"loss": 0.4, "kl": 0.1})
    log.on_log(None, state(2), None, {"eval_loss": 0.1})
    log.on_log(None, state(2), None, {"train_loss": 0.4, "train_runtime": 1.0})
    log.on_train_end(None, state(2), None)
    found = lines(tmp_path / "steps.jsonl")
    assert [(line["step"], line.get("reward"), line.get("kl")) for line in found] == [
        (1, 1.0, None),
        (2, None, 0.1),
    ]


def run_of(iterations, collapse, last, every=1, guard=None):
    """The step at which a guard stops a run whose answers are all one from a step on."""
    guard = guard or Guard()
    steps, rollouts = [], []
    for step in range(1, last + 1):
        if (step - 1) % iterations == 0:
            rollouts += [
                {"step": step, "row": row, "reward": 1.0,
                 "answer": "7" if step >= collapse else str((step * 4 + row) % 17)}
                for row in range(4)
            ]  # fmt: skip
        if step % every == 0:
            steps.append({"step": step, "kl": 0.0, "rollout_tokens": 5.0})
            if guard.reason(steps, rollouts):
                return step
    return None


@pytest.mark.parametrize("iterations, every", [(1, 1), (2, 1), (1, 2), (2, 5)])
def test_the_guard_looks_at_the_last_steps_that_there_were(iterations, every):
    stopped = run_of(iterations, 31, 120, every)
    assert stopped is not None and 31 <= stopped <= 41
    assert run_of(iterations, 1000, 120, every) is None


def test_a_window_in_which_nothing_was_generated_is_no_collapse():
    assert run_of(2, 1000, 9, guard=Guard(window=1, entropy=0.5)) is None


def test_means_are_of_the_steps_in_the_window():
    """Every second step is logged; the last four of 16 are 13 to 16."""

    def reason(*far):
        steps = [{"step": step, "kl": 9.0 if step in far else 0.0} for step in range(2, 17, 2)]
        return Guard(window=4).reason(steps, [])

    assert reason(10, 12) is None
    assert "9.00 nats per token" in str(reason(14, 16))


@pytest.mark.parametrize("reason, before, after", [(None, True, True), (None, False, False),
                                                   ("a test", False, True)])  # fmt: skip
def test_who_stopped_a_run_is_not_overruled(monkeypatch, reason, before, after):
    monkeypatch.setattr(Guard, "reason", lambda *_: reason)
    control = SimpleNamespace(should_training_stop=before)
    watcher = Watcher(Guard(), list, list)
    watcher.on_log(None, state(3), control, {"train_loss": 1.0})
    assert watcher.step == 0
    watcher.on_log(None, state(3), control, {"loss": 1.0})
    assert control.should_training_stop is after and watcher.step == 3


# ------------------------------------------------------------------------------ the rest
def test_a_checkpoint_may_hold_folders(tmp_path):
    folder = tmp_path / "checkpoint-2"
    (folder / "adapter").mkdir(parents=True)
    (folder / "adapter" / "weights").write_bytes(b"1")
    marks = checkpoints.Marks(lambda: {"seed": 1})
    marks.on_save(SimpleNamespace(output_dir=str(tmp_path)), state(2), None)
    assert checkpoints.latest(tmp_path) == str(folder)


def test_rows_without_any_token_do_not_differ():
    found = difference(torch.ones(2, 3), torch.zeros(2, 3), torch.zeros(2, 3))
    assert float(found) == 0.0
    refuse_apart(float(found), torch.float32, 0)
    mask = torch.tensor([[1, 1, 0]])
    assert float(difference(torch.tensor([[1.0, 3.0, 9.0]]), torch.zeros(1, 3), mask)) == 2.0


def drawn(*answers):
    return Drawn([{"question": "w1", "answer": answer} for answer in answers], 0, 0, {})


def test_a_study_goes_on_with_the_rows_that_it_was_begun_with(tmp_path):
    keep(drawn("w1"), tmp_path)
    keep(drawn("w2"), tmp_path)  # a mistake came before anything was trained
    (tmp_path / "runs").mkdir()
    before = (tmp_path / DIGEST).read_bytes()
    keep(drawn("w2"), tmp_path)
    for others in (drawn("w1"), drawn("w2", "w3"), drawn()):
        with pytest.raises(UserError, match="was begun with other rows than the . that are drawn"):
            keep(others, tmp_path)
    assert (tmp_path / DIGEST).read_bytes() == before


def test_only_the_first_process_writes(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    keep(drawn("w1"), tmp_path)
    assert not list(tmp_path.iterdir())
