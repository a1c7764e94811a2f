"""Mistakes of generative tasks are told before loglikelihoods are worked on, which come first."""

from __future__ import annotations

import logging

import lm_eval
import pytest
import tiny_checkpoint
import toy_task
from engine import population_lm
from lm_eval.tasks import TaskManager

from btrans_eval.errors import UserError

ROWS = [{"q": "w5 w6", "choices": ["w7", "w8"], "gold": 0}]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    tiny_checkpoint.save(folder / "model")
    toy_task.choices(folder, ROWS)
    toy_task.write(folder, ["w5 w6"], "w7")
    toy_task.write(folder, ["w5 w6"], "w7", "often", "max_gen_toks: 5", "repeats: 4\n"
                   + toy_task.EXACT_MATCH)  # fmt: skip
    return folder


def evaluate(place, tasks, **own):
    lm = population_lm(str(place / "model"), **{"members": 2, **own.pop("lm", {})})
    manager = TaskManager(include_path=str(place), include_defaults=False)
    return lm_eval.simple_evaluate(lm, tasks=tasks, task_manager=manager, bootstrap_iters=0, **own)


@pytest.fixture
def nothing_runs(monkeypatch):
    from btrans_eval.harness.runner import Runner

    for name in ("loglikelihood", "generate"):
        monkeypatch.setattr(Runner, name, lambda *a, **k: pytest.fail("the work has begun"))


@pytest.mark.parametrize(
    ("tasks", "own", "line"),
    [
        (["choices", "often"], {"lm": {"members": 3}}, "members: .* often has repeats=4 "),
        (["choices", "often"], {}, "members: often has repeats=4 for members=2, and greedy"),
        (["choices", "toy"], {"gen_kwargs": {"do_sample": True}}, "temperature: must be above 0"),
        (["choices", "toy"], {"gen_kwargs": {"until": [3]}}, "until: must be texts"),
        (["choices", "toy"], {"gen_kwargs": {"max_gen_toks": 10**6}}, "max_gen_toks: must be"),
        (["choices", "toy"], {"gen_kwargs": {"num_beams": 2}}, "num_beams: must be 1"),
        (["choices", "toy"], {"gen_kwargs": {"temperatur": 1}}, "temperatur: no such"),
        (["choices", "toy"], {"gen_kwargs": {"dola_layers": "high"}}, "dola_layers: asks for"),
        (["choices", "toy"], {"gen_kwargs": {"max_time": 3}}, "max_time: counts"),
        (["toy", "choices"], {"lm": {"enable_thinking": True, "think_end_token": 7}},
         "^enable_thinking: goes with tasks that generate, but choices is scored by loglikelihood"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_before_anything_runs(place, nothing_runs, tasks, own, line):
    with pytest.raises(UserError, match=line) as told:
        evaluate(place, tasks, **own)
    assert "\n" not in str(told.value)


def test_what_is_right_runs_and_an_extractor_of_no_use_is_told(place, caplog):
    with caplog.at_level(logging.WARNING):
        results = evaluate(place, ["choices", "toy"], lm={"extractor": "text"})
    assert {*results["results"]} == {"choices", "toy"}
    line = "extractor: off for loglikelihoods, which are means over all members"
    assert caplog.messages.count(line) == 1
    assert not any("extractor: off for 1" in message for message in caplog.messages)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        evaluate(place, ["toy"], lm={"extractor": "text"})
    assert not any("extractor" in message for message in caplog.messages)
