"""Noise that learns by reward: its gradient, its bounds, and that it is kept."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import tiny_checkpoint
import torch
import words_task
import yaml
from safetensors.numpy import load_file
from toy import InFloat64, made, weights

from btrans_eval.cli import main
from btrans_eval.config import PopulationConfig
from btrans_eval.errors import UserError
from btrans_eval.training import BTransGRPOTrainer, Rollouts, learned_noise
from btrans_eval.training.arms import make_arm, parse_arms
from btrans_eval.training.steps import lines

LEARN = "lora+sigma"


def rollouts(rate=0.03, **given):
    return Rollouts(learn=LEARN, noise_learning_rate=rate, **given)


@pytest.mark.parametrize("given", [{}, {"num_iterations": 2, "max_steps": 4, "beta": 0.1}])
def test_noise_that_may_not_move_is_fixed_noise_bit_for_bit(tmp_path, given):
    fixed = made(tmp_path / "fixed", **given)
    fixed.train()
    still = made(tmp_path / "still", rollouts=rollouts(0.0), **given)
    still.train()
    for name, value in weights(fixed).items():
        assert torch.equal(value, weights(still)[name])
    moved = made(tmp_path / "moved", rollouts=rollouts(), **given)
    moved.train()
    assert any(not torch.equal(v, weights(moved)[n]) for n, v in weights(fixed).items())


class Held(InFloat64, BTransGRPOTrainer):
    """Keeps the batches of the last iteration, which have old log-probabilities."""

    def compute_loss(self, model, inputs, *args, **kwargs):
        self.held = inputs
        return super().compute_loss(model, inputs, *args, **kwargs)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("family", ["falcon", "gpt-neox"])
def test_the_gradient_is_that_of_the_loss(tmp_path, family, checkpointing):
    """Finite differences over a batch of the second iteration, which has old log-probabilities."""
    trainer = made(
        tmp_path, kind=Held, family=family, double=True, rollouts=rollouts(0.0),
        num_iterations=2, max_steps=2, gradient_checkpointing=checkpointing, learning_rate=0.0,
    )  # fmt: skip
    trainer.train()
    assert trainer.held["old_per_token_logps"] is not None
    mean, log_scale = trainer.learned._both

    def loss():
        trainer.model.train()
        with trainer._binding:
            found = trainer.compute_loss(trainer.model, trainer.held)
            found.backward()
        return float(found)

    loss()
    exact = {id(each): each.grad.clone() for each in (mean, log_scale)}
    assert all(float(each.norm()) > 1e-6 for each in exact.values())
    draws = np.random.default_rng(0)
    for each in (mean, log_scale):
        by_chance = torch.from_numpy(draws.standard_normal(len(each)))
        for way in (exact[id(each)], by_chance + exact[id(each)] / exact[id(each)].norm()):
            way = way / way.norm()
            values = []
            for sign in (1, -1):
                with torch.no_grad():
                    each += sign * 1e-3 * way
                values.append(loss())
                with torch.no_grad():
                    each -= sign * 1e-3 * way
            slope = (values[0] - values[1]) / 2e-3
            assert slope == pytest.approx(float(exact[id(each)] @ way), rel=1e-3, abs=1e-6)


def test_means_learn_what_is_rewarded(tmp_path):
    """The adapter stands still: what rises is the noise's."""
    trainer = made(
        tmp_path, rollouts=rollouts(1.0), learning_rate=0.0, max_steps=20, sigma=1.0,
        per_device_train_batch_size=32, num_generations=8, gradient_accumulation_steps=1,
    )  # fmt: skip
    trainer.train()
    reward = [line["reward"] for line in trainer.state.log_history if "reward" in line]
    assert np.mean(reward[-5:]) > np.mean(reward[:5]) + 0.15


def test_its_figures_are_those_of_what_is_written(tmp_path):
    trainer = made(tmp_path, rollouts=rollouts(0.2), max_steps=3)
    trainer.train()
    trainer.learned.save(tmp_path)
    found = load_file(tmp_path / "noise.safetensors")
    mu = np.concatenate([v for n, v in sorted(found.items()) if n.endswith(".mu")]) / 0.3
    sigma = np.concatenate([v for n, v in sorted(found.items()) if n.endswith(".sigma")]) / 0.3
    figures = trainer.learned.figures()
    assert figures["noise/kl"] == pytest.approx(
        float((0.5 * (sigma**2 + mu**2 - 1) - np.log(sigma)).sum())
    )
    assert figures["noise/mean"] == pytest.approx(float(np.sqrt((mu**2).mean())))
    assert figures["noise/sigma"] == pytest.approx(float(np.exp(np.log(sigma).mean())))
    assert figures["noise/kl"] > 0 and not np.allclose(sigma, 1)
    assert "noise/kl" in trainer.state.log_history[0]
    means = load_file(tmp_path / "noise_means.safetensors")
    for name, value in means.items():
        expected = np.zeros_like(value) if name.endswith(".sigma") else found[name]
        assert np.array_equal(value, expected)


def test_sigma_stays_within_its_bounds(tmp_path):
    trainer = made(tmp_path, rollouts=rollouts(50.0), max_steps=2)
    trainer.train()
    log_scale = trainer.learned._both[1]
    assert float(log_scale.abs().max()) == math.log(10.0)


@pytest.mark.parametrize(
    "given, said",
    [
        ({"update": "clean"}, "update=member"),
        ({"schedule": "exponential"}, "schedule=constant"),
        ({"noise_learning_rate": -1.0}, "noise_learning_rate"),
        ({"learn": "sigma"}, "learn"),
    ],
)
def test_what_cannot_learn_is_refused(given, said):
    with pytest.raises(UserError, match=said):
        Rollouts(**{"learn": LEARN, **given})


@pytest.mark.parametrize(
    "given, said", [({"sigma": 0.0}, "sigma"), ({"sigma": 0.3, "noise": "token"}, "noise=sequence")]
)
def test_noise_that_cannot_learn_is_refused(tmp_path, given, said):
    with pytest.raises(UserError, match=said):
        made(tmp_path, population=PopulationConfig(seed=5, **given), rollouts=rollouts())


def test_the_best_checkpoint_is_not_mixed_with_the_last_noise(tmp_path):
    trainer = made(tmp_path, rollouts=rollouts())
    trainer.args.load_best_model_at_end = True
    with pytest.raises(UserError, match="load_best_model_at_end"):
        learned_noise.begun(trainer.population, trainer.rollouts, trainer)


def test_what_an_interrupted_run_left_is_forgotten(tmp_path):
    trainer = made(tmp_path, rollouts=rollouts(0.0), max_steps=1)
    trainer.learned._both[0].grad = torch.ones_like(trainer.learned._both[0])
    seen = []
    step = trainer.learned.on_optimizer_step

    def look(*args, **more):
        seen.append(float(trainer.learned._both[0].grad.abs().max()))
        step(*args, **more)

    trainer.learned.on_optimizer_step = look
    trainer.train()
    assert 0 < seen[0] < 0.5


def test_an_arm_says_what_it_learns():
    (arm,) = parse_arms("population@1.0:sigma=0.3:learn=lora+sigma")
    assert arm.rollouts.learn == LEARN
    same = make_arm("population", 1.0, {"sigma": 0.3, "learn": ["lora", "sigma"]})
    assert same.rollouts == arm.rollouts and same.name == arm.name
    with pytest.raises(UserError, match="stock has no noise"):
        parse_arms("stock@1.0:learn=lora+sigma")


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    checkpoint = tiny_checkpoint.save(folder / "tiny")
    return [
        "train", "--task", "toy_words", "--include_path", words_task.save(folder / "task"),
        "--model_args", f"pretrained={checkpoint},device=cpu", "--examples", "20", "--steps", "6",
        "--prompts", "2", "--group", "4", "--save_steps", "2", "--learning_rate", "0.01",
        "--arms", f"population@1.0:sigma=0.3:norms=input_layernorm:learn={LEARN}", "--seeds", "0",
    ]  # fmt: skip


def learned_in(folder):
    (path,) = folder.glob("runs/*/seed-0/adapter")
    return {each.name: each.read_bytes() for each in path.glob("*.safetensors")}


def test_a_study_learns_goes_on_and_evaluates_what_it_learned(command, tmp_path, monkeypatch):
    main([*command, "--output_path", str(tmp_path / "whole")])
    whole = learned_in(tmp_path / "whole")
    assert set(whole) == {
        "adapter_model.safetensors", "noise.safetensors", "noise_means.safetensors",
    }  # fmt: skip
    (run,) = (tmp_path / "whole").glob("runs/*/seed-0")
    last = lines(run / "steps.jsonl")[-1]
    facts = json.loads((run / "run.json").read_text())
    assert facts["learned_noise"]["noise/kl"] == last["noise/kl"] > 0
    arms = yaml.safe_load((tmp_path / "whole" / "evaluation" / "compare.yaml").read_text())["arms"]
    asked = [arm["own"].get("prior") for arm in arms if "seed 0" in arm["name"]]
    assert asked == [str(run / "adapter" / n) for n in ("noise_means.safetensors",
                                                        "noise.safetensors")]  # fmt: skip

    done, stop = [], 5

    def step(self, *args, **kwargs):
        done.append(1)
        if len(done) == stop:
            raise KeyboardInterrupt
        return training_step(self, *args, **kwargs)

    training_step = BTransGRPOTrainer.training_step
    monkeypatch.setattr(BTransGRPOTrainer, "training_step", step)
    with pytest.raises(SystemExit):
        main([*command, "--output_path", str(tmp_path / "parts")])
    main([*command, "--output_path", str(tmp_path / "parts")])
    assert len(done) == 7  # steps 1 to 5, of which the last was not done, then 5 and 6
    assert learned_in(tmp_path / "parts") == whole
