"""What a comparison is to do, from flags and files."""

from __future__ import annotations

import pytest
import yaml

from btrans_eval.compare.plan import (
    DEFAULT_ARMS,
    ArmPlan,
    Plan,
    TaskPlan,
    parse_arms,
    read,
)
from btrans_eval.demo import SIGMA
from btrans_eval.errors import UserError

MODEL = {"pretrained": "m", "sigma": 0.01}


def plan(arms=DEFAULT_ARMS, seeds=(0,), **changes) -> Plan:
    arguments = {"model_args": MODEL, "seeds": seeds, **changes}
    return Plan((TaskPlan("t"),), parse_arms(arms, 0.7, seeds), **arguments)


def test_the_four_arms():
    stock, sampled, population, both = plan().arms
    assert [arm.name for arm in plan().arms] == [
        "stock greedy", "stock T=0.7", "population greedy", "population T=0.7",
    ]  # fmt: skip
    assert (stock.temperature, sampled.temperature) == (None, 0.7)
    assert plan().population(stock).sigma == 0.0
    assert plan().population(both).sigma == 0.01
    assert population.folder == "population_greedy"


def test_what_all_arms_have_alike_counts():
    alike = {"batching": "static", "aggregate": "first", "extractor": "letter"}
    made = plan(model_args={**MODEL, **alike})
    for arm in made.arms:
        found = made.population(arm)
        assert {name: getattr(found, name) for name in alike} == alike
    with pytest.raises(UserError, match="batching"):
        plan(model_args={**MODEL, "batching": "dynamic"})


def test_two_arms_have_two_folders():
    with pytest.raises(UserError, match=r"'K=8 \(a\)' and 'k=8 \[a\]' would share the f"):
        Plan(
            (TaskPlan("t"),),
            (ArmPlan("K=8 (a)", "population"), ArmPlan("k=8 [a]", "population")),
            MODEL,
        )


def test_arms_are_chosen_and_added():
    arms = plan("stock@1.0,population:sigma=0.02:noise=token,population@T:peft=some/adapter").arms
    assert [arm.name for arm in arms] == [
        "stock T=1", "population greedy sigma=0.02 noise=token",
        "population T=0.7 peft=some/adapter",
    ]  # fmt: skip
    assert plan().population(arms[1]).sigma == 0.02
    assert plan().population(arms[1]).noise == "token"
    assert plan().loading(arms[2]) == {"pretrained": "m", "peft": "some/adapter"}
    assert len(plan("+population:sigma=0.02").arms) == 5
    assert "/" not in arms[2].folder


def test_seeds_repeat_populations_only():
    arms = plan("stock,population", seeds=(0, 1, 2)).arms
    assert [arm.name for arm in arms] == [
        "stock greedy", "population greedy seed 0", "population greedy seed 1",
        "population greedy seed 2",
    ]  # fmt: skip
    assert [plan().population(arm).seed for arm in arms[1:]] == [0, 1, 2]
    assert (
        plan("population", seeds=(5,)).population(plan("population", seeds=(5,)).arms[0]).seed == 5
    )


@pytest.mark.parametrize(
    "arms, text",
    [
        ("stok", "arms: must be stock or population"),
        ("population@hot", "temperature: must be a finite number"),
        ("stock@0", "temperature: must be above 0"),
        ("population:sigma", "arms: 'population:sigma' needs name=value"),
        ("population:sigmaa=1", "sigmaa: .* did you mean sigma"),
        ("population:sigma=-1", "sigma: must be a finite number of at least 0"),
        ("population:prior=flat", "prior: must be one of"),
        ("stock,stock", "arms: 'stock greedy' is there twice"),
        ("", "arms: must name at least one"),
    ],
)
def test_bad_arms(arms, text):
    with pytest.raises(UserError, match=text):
        plan(arms)


def test_other_mistakes():
    with pytest.raises(UserError, match="repeats: must be a whole number of at least 2"):
        plan(repeats=1)
    with pytest.raises(UserError, match="limit: must be a whole number of at least 1, got 0"):
        TaskPlan("x", 0)


def test_sigma_is_found_where_it_is_not_given():
    model = {"pretrained": "m", "sigma": 0.02}
    automatic = plan(model_args={"pretrained": "m"})
    configs = [automatic.population(arm) for arm in automatic.arms]
    assert [config.sigma for config in configs] == [0, 0, "auto", "auto"]
    assert configs[2].kl == 0.05
    other = plan("population,population:kl=0.1,population:sigma=0.3", model_args=model)
    found = [other.population(arm) for arm in other.arms]
    assert [(each.sigma, each.kl) for each in found] == [(0.02, None), ("auto", 0.1), (0.3, None)]


def test_the_demo_model_has_its_own_sigma_as_outside_of_comparisons():
    demo = plan("population,population:kl=0.1,population:prior=scaled,stock", model_args={})
    found = [demo.population(arm) for arm in demo.arms]
    amounts = [(each.sigma, each.kl) for each in found]
    assert amounts == [(SIGMA, None), ("auto", 0.1), ("auto", 0.05), (0, None)]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("taks: [a]", "taks: no such entry, in .*; did you mean tasks"),
        ("tasks: [{task: a, limt: 3}]", "limt: no such entry of a task, in .*; did you mean limit"),
        ("tasks: [a]\narms: [{kind: stock, temprature: 1}]", "temprature: no such entry of an arm"),
    ],
)
def test_misspelled_entries_are_named(tmp_path, text, match):
    file = tmp_path / "plan.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=match):
        read(file)


def test_the_resolved_file_gives_the_same_comparison(tmp_path):
    whole = plan(
        "stock,population@0.5:sigma=0.02:norms=residual,population@T:peft=a/b",
        seeds=(1, 2),
        repeats=16,
        apply_chat_template=True,
        batch_size="auto",
    )
    tasks = (TaskPlan("a", 30, {"max_gen_toks": 256, "until": ["\n"]}), TaskPlan("b"))
    whole = Plan(tasks, whole.arms, MODEL, repeats=16, seeds=(1, 2), apply_chat_template=True)
    path = tmp_path / "compare.yaml"
    path.write_text(whole.resolved())
    assert read(path) == whole
    assert read(path).resolved() == whole.resolved()


def test_a_file_in_short(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "tasks": ["a", {"task": "b", "limit": 5}],
                "model_args": MODEL,
                "temperature": 1.0,
                "arms": "stock@T,population",
                "repeats": 4,
            }
        )
    )
    found = read(path)
    assert found.tasks == (TaskPlan("a"), TaskPlan("b", 5))
    assert [arm.name for arm in found.arms] == ["stock T=1", "population greedy"]
    path.write_text(
        yaml.safe_dump(
            {
                "tasks": ["a"],
                "model_args": MODEL,
                "arms": [
                    "population",
                    {"kind": "stock", "temperature": 0.3},
                    {"kind": "population", "own": {"sigma": 0.5}, "name": "loud"},
                ],
            }
        )
    )
    names = [arm.name for arm in read(path).arms]
    assert names == ["population greedy", "stock T=0.3", "loud"]
    assert read(path).arms[2] == ArmPlan("loud", "population", None, {"sigma": 0.5}, {})


@pytest.mark.parametrize(
    "text, message",
    [
        ("[1, 2]", "must hold tasks:"),
        ("tasks: [a]\nrepeat: 3\n", "repeat: .* did you mean repeats"),
        ("tasks: [a]\ncolour: 3\n", "has 'colour'; it may have tasks, arms"),
        ("tasks: [{limit: 3}]\n", "a task must be a name"),
        ("tasks: [{task: a, limit: 0}]\n", "limit: must be a whole number of at least 1"),
        ("tasks: [a]\narms: [{kind: x}]\n", "an arm must be such as population@0.7"),
        ("tasks: [a]\narms: {one: {kind: stock}}\n", "arms must be a list, got names one"),
        ("tasks: []\nmodel_args: {sigma: 0.1}\n", "tasks: must name at least one"),
        ("a: [", "cannot be read"),
    ],
)
def test_mistakes_in_a_file(tmp_path, text, message):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read(path)


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "c.yaml").write_bytes(b"tasks: [\xff\xfe]")
    with pytest.raises(UserError, match="compare: .* cannot be read"):
        read(tmp_path / "c.yaml")
