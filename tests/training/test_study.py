"""A whole study of a tiny model; kills, and going on from them."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import pytest
import tiny_checkpoint
import words_task
from forks import Started
from safetensors.torch import load_file

from btrans_eval.cli import main
from btrans_eval.errors import UserError
from btrans_eval.training import checkpoints
from btrans_eval.training.steps import lines
from btrans_eval.training.trainer import BTransGRPOTrainer

ARMS = "stock@1.0,population@1.0:sigma=0.3,population@1.0:sigma=0.3:update=clean"


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """The arguments of a study but for its folder."""
    folder = tmp_path_factory.mktemp("given")
    checkpoint = tiny_checkpoint.save(folder / "tiny")
    task = words_task.save(folder / "task")
    return [
        "train", "--task", "toy_words", "--include_path", task,
        "--model_args", f"pretrained={checkpoint},device=cpu", "--examples", "20",
        "--strata", "level", "--steps", "6", "--prompts", "2", "--group", "4", "--save_steps", "2",
        "--learning_rate", "0.01",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def study(given, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "out"
    main([*given, "--arms", ARMS, "--seeds", "0,1,2", "--output_path", str(folder)])
    return folder


def adapter(folder: Path, arm: str = "stock_T=1", seed: int = 0) -> bytes:
    path = folder / "runs" / arm / f"seed-{seed}" / "adapter" / "adapter_model.safetensors"
    return path.read_bytes()


def test_every_arm_is_trained_with_every_seed(study):
    folders = sorted(path.name for path in (study / "runs").iterdir())
    assert folders == ["population_T=1_sigma=0.3", "population_T=1_sigma=0.3_update=clean",
                       "stock_T=1"]  # fmt: skip
    adapters = {adapter(study, arm, seed) for arm in folders for seed in (0, 1, 2)}
    assert len(adapters) == 9
    for arm in folders:
        run = study / "runs" / arm / "seed-1"
        steps = lines(run / "steps.jsonl")
        assert [line["step"] for line in steps] == [1, 2, 3, 4, 5, 6]
        rollouts = lines(run / "rollouts.jsonl")
        assert [line["member"] for line in rollouts] == list(range(48))
        for step in steps:
            scores = [line["score"] for line in rollouts if line["step"] == step["step"]]
            assert step["reward"] == pytest.approx(sum(scores) / 8)
            assert step["ground_truth_ratio"] == pytest.approx(step["reward"])
            assert step["reward_accuracy"] == 1.0


def test_arms_are_asked_the_same_rows_in_the_same_order(study):
    runs = [json.loads(path.read_text()) for path in study.glob("runs/*/seed-1/run.json")]
    assert len(runs) == 3
    assert len({json.dumps([run["order"], run["row_sha256"]]) for run in runs}) == 1
    asked = [
        [line["row"] for line in lines(path)] for path in study.glob("runs/*/seed-1/rollouts.jsonl")
    ]
    assert asked[0] == asked[1] == asked[2] == [r for r in runs[0]["order"] for _ in range(4)]
    other = json.loads((study / "runs/stock_T=1/seed-0/run.json").read_text())
    assert other["order"] != runs[0]["order"] and other["row_sha256"] == runs[0]["row_sha256"]


def test_what_was_used_is_written_down(study):
    run = json.loads((study / "runs/population_T=1_sigma=0.3/seed-2/run.json").read_text())
    assert run["sigma"] == 0.3 and run["rollouts"]["update"] == "member"
    assert run["versions"]["trl"].startswith("1.16") and run["strata"] == {"0": 7, "1": 7, "2": 6}
    assert run["trl"]["learning_rate"] == 0.01 and run["trl"]["bf16"] is False
    assert run["rows_left_out_because_evaluated"] == 2


def test_the_evaluation_is_that_of_compare(study):
    found = json.loads((study / "training.json").read_text())
    task = found["tasks"]["toy_words"]
    assert task["questions"] == 10 and task["seeds"] == [0, 1, 2]
    assert set(task["untrained"]) >= {"clean model", "members' mean", "any of 8 right"}
    arms = study / "evaluation" / "arms"
    for arm, of_arm in task["arms"].items():
        for seed, value in zip(task["seeds"], of_arm["clean model"]["runs"], strict=True):
            (path,) = _results(arms, arm, seed)
            results = json.loads(path.read_text())["results"]["toy_words"]
            assert value == pytest.approx(results["even:mean,none"])
    gaps = [one for one in task["differences"] if one["measure"] == "clean model"]
    assert len(gaps) == 5  # three arms against none, two against stock
    for one in gaps:
        assert one["difference"] == pytest.approx(sum(one["per_seed"]) / 3)
        assert one["low"] <= one["difference"] <= one["high"]
    page = (study / "report.html").read_text()
    assert "Learning" in page and "<svg" in page and "Read this first" not in page


def _results(arms: Path, arm: str, seed: int) -> list[Path]:
    from btrans_eval.compare.plan import ArmPlan

    folder = arms / ArmPlan(f"{arm}, seed {seed}, clean", "stock").folder
    return list(folder.rglob("results_*.json"))


def test_the_same_command_again_changes_nothing(study, given, capsys):
    before = {path: path.read_bytes() for path in study.glob("runs/*/*/adapter/*.safetensors")}
    main([*given, "--arms", ARMS, "--seeds", "0,1,2", "--output_path", str(study)])
    assert before == {path: path.read_bytes() for path in before}
    assert "toy_words, % right" in capsys.readouterr().out


def test_another_study_in_the_same_folder_is_refused(study, given, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*given, "--arms", "stock", "--output_path", str(study)])
    assert ended.value.code == 2
    assert "holds another study" in capsys.readouterr().err


def test_a_mistake_leaves_no_study_in_the_folder(given, tmp_path, monkeypatch, capsys):
    out = ["--arms", "stock", "--seeds", "0", "--output_path", str(tmp_path / "out")]
    place = given.index("--examples") + 1
    with pytest.raises(SystemExit) as ended:
        main([*given[:place], "2000", *given[place + 1 :], *out])
    assert ended.value.code == 2 and "ask for fewer" in capsys.readouterr().err
    monkeypatch.setattr("btrans_eval.training.study.evaluate", _skip)
    with pytest.raises(Skipped):
        main([*given, *out])


class Stopped(Exception):
    pass


@pytest.mark.parametrize("arm", ["stock@1.0", "population@1.0:sigma=0.3",
                                 "population@1.0:sigma=0.3:update=clean"])  # fmt: skip
@pytest.mark.parametrize("step", [1, 3, 4])
def test_what_was_stopped_goes_on_to_the_same_bytes(study, given, tmp_path, monkeypatch, arm, step):
    arguments = [*given, "--arms", arm, "--seeds", "1", "--output_path", str(tmp_path / "out")]
    whole = BTransGRPOTrainer.training_step

    def stopping(self, *args, **kwargs):
        if self.state.global_step == step:
            raise Stopped
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(BTransGRPOTrainer, "training_step", stopping)
    with pytest.raises(Stopped):
        main(arguments)
    (run,) = (tmp_path / "out" / "runs").glob("*/seed-1")
    assert [path.name for path in checkpoints.finished(run)] == [
        f"checkpoint-{each}" for each in (2, 4) if each <= step
    ]
    monkeypatch.setattr(BTransGRPOTrainer, "training_step", whole)
    monkeypatch.setattr("btrans_eval.training.study.evaluate", _skip)
    with pytest.raises(Skipped):
        main(arguments)
    name = run.parent.name
    assert adapter(tmp_path / "out", name, 1) == adapter(study, name, 1)
    for file in ("rollouts.jsonl", "steps.jsonl"):
        there, here = lines(run / file), lines(study / "runs" / name / "seed-1" / file)
        assert [_timeless(line) for line in there] == [_timeless(line) for line in here]


class Skipped(Exception):
    pass


def _skip(*args, **kwargs):
    raise Skipped


def _timeless(line: dict) -> dict:
    return {name: value for name, value in line.items() if name not in ("step_time",)}


def test_a_checkpoint_that_was_cut_off_is_not_gone_on_from(tmp_path):
    for step in (2, 4):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "optimizer.pt").write_bytes(b"")
    (tmp_path / "checkpoint-2" / checkpoints.MARK).write_text('{"seed": 1, "generations": 2}')
    assert checkpoints.latest(tmp_path) == str(tmp_path / "checkpoint-2")
    with pytest.raises(UserError, match="was not finished"):
        checkpoints.read(tmp_path / "checkpoint-4", {})
    with pytest.raises(UserError, match="is of a run with schedule=constant, got exponential"):
        checkpoints.read(tmp_path / "checkpoint-2", {"schedule": "exponential", "seed": 1})
    with pytest.raises(UserError, match="is of a run with seed=1, got 3"):
        checkpoints.read(tmp_path / "checkpoint-2", {"seed": 3, "generations": 0})


def test_a_kill_loses_no_finished_checkpoint(study, given, tmp_path):
    """SIGKILL in the middle of a run, then the same command."""
    arguments = [*given, "--arms", "population@1.0:sigma=0.3", "--seeds", "1",
                 "--output_path", str(tmp_path / "out")]  # fmt: skip
    run = tmp_path / "out" / "runs" / "population_T=1_sigma=0.3" / "seed-1"
    started = Started("btrans-eval", arguments, tmp_path)
    until = time.monotonic() + 240
    while not checkpoints.finished(run) and time.monotonic() < until:
        time.sleep(0.01)
    started.send_signal(signal.SIGKILL)
    assert started.wait() == -signal.SIGKILL and checkpoints.finished(run)
    again = Started("btrans-eval", arguments, tmp_path)
    assert again.wait() == 0, again.said()
    assert adapter(tmp_path / "out", "population_T=1_sigma=0.3", 1) == adapter(
        study, "population_T=1_sigma=0.3", 1
    )


def test_a_full_disk_is_one_line(given, tmp_path, monkeypatch, capsys):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("peft.PeftModel.save_pretrained", full)
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as ended:
        main([*given, "--arms", "stock", "--seeds", "0", "--output_path", str(out)])
    assert ended.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "is full" in said and "it goes on from its first step" in said


def test_interruption_is_one_line(given, tmp_path, monkeypatch, capsys):
    def interrupted(self, *args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(BTransGRPOTrainer, "training_step", interrupted)
    with pytest.raises(SystemExit) as ended:
        main([*given, "--arms", "stock", "--seeds", "0", "--output_path", str(tmp_path / "out")])
    assert ended.value.code == 130
    assert "the same command goes on from there" in capsys.readouterr().err


def test_the_adapter_is_peft_s(study):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    run = json.loads((study / "runs/stock_T=1/seed-0/run.json").read_text())
    base = AutoModelForCausalLM.from_pretrained(run["model_args"]["pretrained"])
    folder = study / "runs" / "stock_T=1" / "seed-0" / "adapter"
    model = PeftModel.from_pretrained(base, folder)
    assert load_file(folder / "adapter_model.safetensors").keys()
    assert sum(p.numel() for n, p in model.named_parameters() if "lora" in n) > 0


@pytest.mark.parametrize(
    "name, said",
    [
        ("use_vllm", "use_vllm: cannot be had with members"),
        ("torch_compile", "torch_compile: cannot be had with members"),
        ("colour", "trl: refuses its arguments .*colour"),
    ],
)
def test_what_trl_cannot_do_is_told_before_a_model_is_loaded(tmp_path, capsys, name, said):
    path = tmp_path / "study.yaml"
    path.write_text(f"task: btrans_arithmetic\ntrl: {{{name}: true}}\n"
                    "model_args: {pretrained: not/there}\n")  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        main(["train", str(path), "--output_path", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert re.search(said, capsys.readouterr().err)
