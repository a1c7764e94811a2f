"""What users write of a study, and what they got wrong in it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from btrans_eval.errors import UserError
from btrans_eval.training.arms import parse_arms
from btrans_eval.training.plan import made, read
from btrans_eval.training.rollouts import Rollouts
from btrans_eval.training.trl_arguments import arguments_of, shared


def test_arms():
    stock, greedy, clean = parse_arms(
        "stock@0.7, population@1:sigma=0.01, population:kl=0.05:update=clean:members=fixed"
    )
    assert (stock.kind, stock.temperature, stock.name) == ("stock", 0.7, "stock T=0.7")
    assert greedy.noise == {"sigma": 0.01} and greedy.rollouts == Rollouts()
    assert clean.rollouts == Rollouts(update="clean", members="fixed")
    assert clean.name == "population T=1 kl=0.05 update=clean members=fixed"
    assert stock.population(3).sigma == 0.0 and clean.population(3).seed == 3


def test_a_study_is_read_from_what_was_written(tmp_path):
    given = {
        "task": "btrans_arithmetic", "arms": "stock@1.0,population@1.0:sigma=0.01:update=clean",
        "seeds": [4, 5], "steps": 6, "adapter": {"r": 4}, "evaluation": {"limit": 10},
        "trl": {"epsilon": 0.3}, "strata": "level",
    }  # fmt: skip
    plan = made(given)
    path = tmp_path / "train.yaml"
    path.write_text(plan.resolved())
    assert read(path) == plan and read(path).resolved() == plan.resolved()
    assert plan.rollouts_of_a_step == 32 == arguments(plan).per_device_train_batch_size


def arguments(plan):
    return arguments_of(plan, plan.arms[0], 4, Path("unused"), {"max_gen_toks": 8})


@pytest.mark.parametrize(
    "processes, at_once, rows, passes",
    [(1, None, 32, 1), (1, 8, 8, 4), (2, None, 16, 1), (2, 8, 8, 2), (4, 8, 8, 1)],
)
def test_a_step_has_as_many_rollouts_with_any_number_of_processes(processes, at_once, rows, passes):
    assert shared(made({"task": "x", "at_once": at_once}), processes) == (rows, passes)
    assert rows * passes * processes == 32


def test_a_step_that_processes_cannot_share():
    with pytest.raises(UserError, match="at_once: must divide .* got None with 3 processes"):
        shared(made({"task": "x"}), 3)
    with pytest.raises(UserError, match="at_once: must divide .* got 32 with 2 processes"):
        shared(made({"task": "x", "at_once": 32}), 2)
    with pytest.raises(UserError, match="the vote is for one process, got 2"):
        shared(made({"task": "x", "reward": "vote"}), 2)


def test_a_run_that_may_collapse_keeps_checkpoints_from_before_it_shows():
    assert arguments(made({"task": "x"})).save_total_limit == 2
    for save_steps, kept in ((10, 4), (1, 13), (20, 3)):
        plan = made({"task": "x", "reward": "vote", "save_steps": save_steps})
        assert arguments(plan).save_total_limit == kept


@pytest.mark.parametrize(
    "entries, said",
    [
        ({"task": "x", "step": 3}, "step: no such entry; did you mean steps"),
        ({"task": "x", "colour": 3}, "no entry 'colour'"),
        ({"task": "x", "steps": 0}, "steps: must be a whole number of at least 1, got 0"),
        ({"task": "x", "group": 1}, "group: must be a whole number of at least 2, got 1"),
        ({"task": "x", "at_once": 5}, "at_once: must divide prompts x group = 32, got 5"),
        ({"task": "x", "seeds": []}, "seeds: must name at least one"),
        ({"task": "x", "seeds": [1, 1]}, r"seeds: must differ, got \[1, 1\]"),
        ({"task": "x", "seeds": [1000003]}, "evaluation: its seed must not be one that trains"),
        ({"task": "x", "arms": "stok"}, "arms: must be stock or population"),
        ({"task": "x", "arms": "stock:sigma=1"}, "stock has no noise, got sigma"),
        ({"task": "x", "arms": "stock@0"}, "temperature: must be above 0"),
        ({"task": "x", "arms": "stock,stock"}, "'stock T=1' is there twice"),
        ({"task": "x", "arms": "population:sigm=1"}, "sigm: no such argument of an arm; did you"),
        ({"task": "x", "arms": "population:colour=1"}, "an arm may have sigma, kl"),
        ({"task": "x", "arms": "population:sigma=-1"}, "sigma: must be a finite number of at l"),
        ({"task": "x", "arms": "population:members=8"}, "members: must be one of fresh, fixed"),
        ({"task": "x", "trl": {"seed": 3}}, "trl: seed is set by seeds; use that"),
        ({"task": "x", "adapter": {"rank": 3}}, "no entry 'rank' of adapter"),
        ({"task": "x", "adapter": {"r": 0}}, "r: must be a whole number"),
        ({"task": "x", "evaluation": {"members": 1}}, "members: must be a whole number of at le"),
        ({"task": "x", "evaluation": 3}, "must hold name: value, got 3 of evaluation"),
        ({"task": "x", "split": "test"}, "split: must be train, got test: only reward: vote"),
        ({"task": "x", "split": "dev"}, "split: must be one of train, test"),
        ({"task": "x", "split": "test", "reward": "vote", "rows": "f"}, "rows: are in place of a"),
        ({"task": "x", "learning_rate": "fast"}, "learning_rate: must be a finite number"),
    ],
)
def test_mistakes(entries, said):
    with pytest.raises(UserError, match=said):
        made(entries)


def test_files_that_are_no_study(tmp_path):
    for text in ("[1, 2", "- a", "arms: stock"):
        path = tmp_path / "x.yaml"
        path.write_text(text)
        with pytest.raises(UserError, match="train: "):
            read(path)
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path / "none.yaml")


def test_arms_as_entries():
    plan = made(
        {"task": "x", "arms": [{"kind": "population", "temperature": 0.8, "name": "mine",
                                "noise": {"kl": 0.1}, "rollouts": {"update": "clean"}}]}
    )  # fmt: skip
    (arm,) = plan.arms
    assert (arm.name, arm.temperature, arm.rollouts.update) == ("mine", 0.8, "clean")
    assert yaml.safe_load(plan.resolved())["arms"][0]["noise"] == {"kl": 0.1}
