"""Noise is written in an arm, evaluated as trained, and told apart by its folder."""

from __future__ import annotations

import json

import pytest

from btrans_eval.errors import UserError
from btrans_eval.training.evaluation import _noise
from btrans_eval.training.plan import made, read
from btrans_eval.training.study import _said_sigma
from btrans_eval.training.trl_arguments import arguments_of


@pytest.mark.parametrize(
    "name, value, instead",
    [
        ("sigma", 0.02, r"write it in the arm, such as population@1\.0:sigma=0\.02"),
        ("kl", 0.1, r"population@1\.0:kl=0\.1"),
        ("mu", 0.1, r"population@1\.0:mu=0\.1"),
        ("prior", "scaled", r"population@1\.0:prior=scaled"),
        ("noise", "token", r"population@1\.0:noise=token"),
        ("norms", "residual", r"population@1\.0:norms=residual"),
        ("noise_from", "generation", "leave it out, since training has noise from the prompt on"),
        ("seed", 3, r"write it as seeds: \[3\], or evaluation: \{seed: 3\}"),
        ("members", 4, r"write it as evaluation: \{members: 4\}"),
    ],
)
def test_noise_is_no_argument_of_the_model(name, value, instead):
    with pytest.raises(
        UserError, match=rf"model_args: {name} is not .* got {name}={value}; .*"
    ) as e:
        made({"task": "x", "model_args": {"pretrained": "m", name: value}})
    assert e.match(instead) and "\n" not in str(e.value)


def test_arguments_of_the_model_are_names_and_values():
    with pytest.raises(UserError, match="model_args: must hold name: value, got 'pretrained=m'"):
        made({"task": "x", "model_args": "pretrained=m"})
    assert made({"task": "x", "model_args": {"pretrained": "m", "dtype": "bfloat16"}})


ARM = "population@1.0:sigma=0.03:prior=scaled:norms=residual:noise=token:mu=0.1"
KEPT = {"seed": 1_000_003, "prior": "scaled", "norms": "residual", "noise": "token", "mu": 0.1}


def test_another_sigma_keeps_the_rest_of_the_arm_s_noise(tmp_path):
    plan = made({"task": "x", "arms": f"stock,{ARM}", "evaluation": {"sigma": 0.05}})
    assert _noise(plan, {}) == {**KEPT, "sigma": 0.05}
    (tmp_path / "run.json").write_text(json.dumps({"sigma": 0.03}))
    plan = made({"task": "x", "arms": f"stock,{ARM}"})
    assert _noise(plan, {(plan.arms[1].name, 0): tmp_path}) == {**KEPT, "sigma": 0.03}


def test_a_file_of_noise_has_a_sigma_of_its_own(tmp_path):
    given = {"task": "x", "arms": "population:prior=p.safetensors:norms=residual"}
    plan = made({**given, "evaluation": {"sigma": 0.05}})
    assert _noise(plan, {}) == {"seed": 1_000_003, "norms": "residual", "sigma": 0.05}
    (tmp_path / "run.json").write_text(json.dumps({"sigma": None}))
    plan = made(given)
    found = _noise(plan, {(plan.arms[0].name, 0): tmp_path})
    assert found == {"seed": 1_000_003, "norms": "residual", "prior": "p.safetensors"}


def test_noise_where_no_arm_has_any():
    assert _noise(made({"task": "x", "arms": "stock"}), {})["sigma"] == "auto"
    plan = made({"task": "x", "arms": "stock", "evaluation": {"sigma": 0.05}})
    assert _noise(plan, {}) == {"seed": 1_000_003, "sigma": 0.05}


@pytest.mark.parametrize(
    "evaluation, said",
    [
        ({"sigma": -1}, "evaluation: sigma: must be a finite number of at least 0, got -1"),
        ({"sigma": "atuo"}, "evaluation: sigma: must be a finite number .* got 'atuo'"),
        ({"batch_size": 0}, "batch_size: must be a whole number of at least 1, auto or auto:N, g"),
        ({"batch_size": "autoo"}, "got 'autoo'; for example batch_size: 8"),
        ({"batch_size": True}, "got True"),
        ({"batch_size": 1.5}, r"got 1\.5"),
        ({"batch_size": "auto:"}, "got 'auto:'"),
    ],
)
def test_what_evaluation_could_not_do_is_told_before_training(evaluation, said):
    with pytest.raises(UserError, match=said):
        made({"task": "x", "evaluation": evaluation})


def test_a_mean_and_a_sigma_that_is_measured_do_not_go_together():
    with pytest.raises(UserError, match="evaluation: mu: must be 0 with sigma=auto, got 0.1"):
        made({"task": "x", "arms": ARM, "evaluation": {"sigma": "auto"}})


@pytest.mark.parametrize("given", [8, "8", "auto", "auto:4", "auto:1.5"])
def test_sizes_of_batches_as_the_harness_takes_them(given):
    plan = made({"task": "x", "evaluation": {"batch_size": given, "sigma": 0.01}})
    assert plan.evaluation.batch_size == given


def arms_named(*names):
    return made({"task": "x", "arms": [{"kind": "stock", "name": name} for name in names]}).arms


def test_arms_that_would_share_a_folder():
    with pytest.raises(UserError, match="'a/b' and 'a b' would share the folder a_b; give one"):
        arms_named("a/b", "a b")
    with pytest.raises(UserError, match="'Mine' and 'mine' would share the folder mine"):
        arms_named("Mine", "mine")
    with pytest.raises(UserError, match="'mine' is there twice"):
        arms_named("mine", "mine")
    assert [arm.folder for arm in arms_named("a b", "a b c")] == ["a_b", "a_b_c"]


def test_one_name_in_place_of_a_list(tmp_path):
    plan = made({"task": "x", "report_to": "tensorboard", "evaluation": {"tasks": "y"}})
    assert plan.report_to == ("tensorboard",) and plan.evaluation.tasks == ("y",)
    config = arguments_of(plan, plan.arms[0], 0, tmp_path, {"max_gen_toks": 8})
    assert config.report_to == ["tensorboard"]
    (tmp_path / "train.yaml").write_text(plan.resolved())
    assert read(tmp_path / "train.yaml") == plan


@pytest.mark.parametrize("name, value", [("logging_steps", 5), ("logging_strategy", "no")])
def test_every_step_is_written_down(name, value):
    with pytest.raises(UserError, match=f"trl: {name} cannot be had, got {value!r}: .* leave it"):
        made({"task": "x", "trl": {name: value}})


def test_the_report_does_not_say_a_sigma_of_noise_that_learned():
    learned = "population:sigma=0.01:learn=lora+sigma"
    said = _said_sigma(made({"task": "x", "arms": learned}), {"sigma": 0.01})
    assert said == "0.01, and of adapters that learned their noise what they learned"
    plan = made({"task": "x", "arms": learned, "evaluation": {"sigma": 0.05}})
    assert _said_sigma(plan, {"sigma": 0.01}).startswith("0.05, and of adapters that learned")
    fixed = made({"task": "x", "arms": "population:sigma=0.01"})
    assert _said_sigma(fixed, {"sigma": 0.01}) == 0.01
    assert _said_sigma(fixed, {"sigma": None}) == "its file's"
    assert _said_sigma(made({"task": "x", "arms": "stock"}), None) == "auto"
