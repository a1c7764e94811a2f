"""What members cannot be had with is one line, before a model is loaded."""

from __future__ import annotations

import importlib.metadata

import pytest
from datasets import Dataset
from models import BY_NAME
from peft import LoraConfig, PromptTuningConfig
from tiny_checkpoint import tokenizer
from toy import PROMPTS, arguments, made, reward

from btrans_eval.config import PopulationConfig
from btrans_eval.errors import UserError
from btrans_eval.training import BTransGRPOTrainer, Rollouts
from btrans_eval.training.refusals import check_trl


@pytest.mark.parametrize(
    "given, said",
    [
        ({"torch_compile": True}, "torch_compile: cannot be had with members, got True"),
        ({"use_vllm": True}, "use_vllm: cannot be had"),
        ({"use_transformers_continuous_batching": True}, "continuous_batching: cannot be had"),
        ({"use_liger_kernel": True}, "use_liger_kernel: cannot be had"),
        ({"model_init_kwargs": {"use_kernels": True}}, "use_kernels: cannot be had"),
        ({"save_strategy": "steps", "save_steps": 3, "steps_per_generation": 4},
         "save_steps: must fall between two generations"),
    ],
)  # fmt: skip
def test_arguments(tmp_path, given, said):
    """The model is one that cannot be loaded."""
    settings = arguments(tmp_path)
    for name, value in given.items():  # some of them trl looks at as they are set
        setattr(settings, name, value)
    with pytest.raises(UserError, match=said):
        trainer("not/there", settings)


def trainer(model, args, **given):
    return BTransGRPOTrainer(
        model, reward, args, train_dataset=Dataset.from_dict({"prompt": PROMPTS}),
        processing_class=tokenizer(), **{"population": PopulationConfig(sigma=0.1), **given},
    )  # fmt: skip


@pytest.mark.parametrize("name", ["tools", "environment_factory", "rollout_func"])
def test_what_generates_for_some_rows_at_a_time(tmp_path, name):
    with pytest.raises(UserError, match=f"{name}: cannot be had"):
        trainer("not/there", arguments(tmp_path), **{name: [len]})


@pytest.mark.parametrize("name, value", [("top_p", 0.9), ("top_k", 5), ("min_p", 0.1)])
def test_trimmed_probabilities_under_a_clean_update(tmp_path, name, value):
    with pytest.raises(UserError, match=f"{name}: must be .* with update=clean"):
        trainer("not/there", arguments(tmp_path, **{name: value}),
                rollouts=Rollouts(update="clean"))  # fmt: skip


def test_adapters_on_norms(tmp_path):
    adapter = LoraConfig(target_modules=["q_proj"], modules_to_save=["norm"])
    with pytest.raises(UserError, match="modules_to_save: must hold no norm"):
        trainer("not/there", arguments(tmp_path), peft_config=adapter)
    model = BY_NAME["llama"].build()
    model.warnings_issued = {}
    from peft import LNTuningConfig

    adapter = LNTuningConfig(target_modules=["norm"], task_type="CAUSAL_LM")
    with pytest.raises(UserError, match="must not adapt norms"):
        trainer(model, arguments(tmp_path), peft_config=adapter)


def test_learned_prompts(tmp_path):
    adapter = PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM")
    with pytest.raises(UserError, match="must leave the tokens as they are"):
        trainer("not/there", arguments(tmp_path), peft_config=adapter)


def test_dropout(tmp_path):
    with pytest.raises(UserError, match="dropout: must be 0"):
        made(tmp_path, family="gpt2", disable_dropout=False)


def test_noise_from_generation(tmp_path):
    with pytest.raises(UserError, match="noise_from: must be prompt in training"):
        made(tmp_path, population=PopulationConfig(sigma=0.1, noise_from="generation"))


@pytest.mark.parametrize(
    "given, said",
    [
        ({"members": "new"}, "members: must be one of fresh, fixed"),
        ({"update": "noisy"}, "update: must be one of member, clean"),
        ({"schedule": "linear"}, "schedule: must be one of"),
        ({"sigma_end": 0.0}, "sigma_end: must be above 0"),
        ({"sigma_end": 1.5}, "at most 1, got 1.5"),
        ({"weight_limit": 0.5}, "weight_limit: must be a finite number of at least 1"),
        ({"check_every": -1}, "check_every: must be a whole number"),
    ],
)
def test_rollouts(given, said):
    with pytest.raises(UserError, match=said):
        Rollouts(**given)


@pytest.mark.parametrize("release", ["1.15.2", "1.17.0", "2.0"])
def test_other_releases_of_trl(monkeypatch, release):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: release)
    with pytest.raises(UserError, match=rf"trl: must be 1.16, .* got {release}; pip install"):
        check_trl()


def test_no_trl(monkeypatch):
    def none(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", none)
    with pytest.raises(UserError, match=r"pip install 'btrans_eval\[train\]'"):
        check_trl()


def test_schedules():
    falling = Rollouts(schedule="exponential", sigma_end=0.01)
    assert [falling.factor(g, 3) for g in range(3)] == pytest.approx([1.0, 0.1, 0.01])
    assert falling.factor(7, 3) == pytest.approx(0.01)  # beyond the end
    assert falling.factor(0, 1) == 1.0 and Rollouts().factor(5, 9) == 1.0


def test_numbers():
    assert Rollouts().numbered(16, 6, 3) == [16, 17, 18, 19, 20, 21]
    assert Rollouts(members="fixed").numbered(16, 6, 4) == [0, 1, 2, 3, 0, 1]
