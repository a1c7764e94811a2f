"""Votes that stop when they are decided, with a model: the same texts, and fewer of them."""

from __future__ import annotations

import json
import logging

import pytest
import tiny_checkpoint
from engine import PROMPTS, SAMPLED, cloned, generation, instance, population_lm

from btrans_eval.config import PopulationConfig
from btrans_eval.errors import UserError
from btrans_eval.harness import stopping

K = 7


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_checkpoint.save(tmp_path_factory.mktemp("tiny"))


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("arguments", [None, SAMPLED], ids=["greedy", "sampled"])
def test_what_is_returned_is_the_vote_of_all(checkpoint, tmp_path, caplog, sigma, arguments):
    caplog.set_level(logging.WARNING)
    requests = generation() if arguments is None else generation(arguments=arguments)
    whole = population_lm(checkpoint, members=K, sigma=sigma, responses=str(tmp_path / "whole"))
    expected = whole.generate_until(cloned(requests))
    said = caplog.text
    lm = population_lm(
        checkpoint, members=K, sigma=sigma, stop="exact", responses=str(tmp_path / "stopped")
    )
    assert lm.generate_until(cloned(requests)) == expected
    asked = 0
    by_row = {line["doc_id"]: line for line in lines(tmp_path / "stopped")}
    for of_all in lines(tmp_path / "whole"):
        line = by_row[of_all["doc_id"]]
        count = len(line["responses"])
        texts = [one["text"] for one in of_all["responses"]]
        assert [one["text"] for one in line["responses"]] == texts[:count]
        assert line.get("not_asked", 0) == K - count
        assert line["returned"] == of_all["returned"]
        asked += count
    of = K * len(requests)
    assert f"stop: exact would have asked for {asked} responses of {of}" in said
    assert f"stop: exact asked for {asked} responses of {of}" in caplog.text
    info = lm.get_model_info()["btrans"]
    counted = info["tasks"]["toy"]["asked"]
    assert info["stop"] == "exact"
    assert sum(int(count) * times for count, times in counted.items()) == asked
    if sigma == 0.02 and arguments is None:
        assert asked < of


def test_a_store_gives_what_is_there_and_a_fuller_one_changes_nothing(checkpoint, tmp_path):
    store = str(tmp_path / "store.sqlite")
    settings = {"members": K, "sigma": 0.1, "store": store}
    first = population_lm(checkpoint, stop="exact", **settings)
    expected = first.generate_until(generation())
    held = first.runner._store.holds
    again = population_lm(checkpoint, stop="exact", **settings)
    again.engine.generate = None  # nothing is generated
    assert again.generate_until(generation()) == expected and held
    population_lm(checkpoint, **settings).generate_until(generation())  # all K are there now
    fuller = population_lm(checkpoint, stop="exact", **settings)
    assert fuller.generate_until(generation()) == expected
    used = [lm.get_model_info()["btrans"]["tasks"]["toy"]["asked"] for lm in (first, fuller)]
    assert used[0] == used[1]


def test_repeats_and_static_batches_ask_all(checkpoint, caplog):
    lm = population_lm(checkpoint, members=3, stop="exact", batching="static")
    whole = population_lm(checkpoint, members=3, batching="static")
    assert lm.generate_until(generation()) == whole.generate_until(generation())
    assert "stop: off, because batches are static; all members are asked" in caplog.text
    lm = population_lm(checkpoint, stop="exact")
    assert len(lm.generate_until(cloned(generation(repeats=3)))) == 3 * len(PROMPTS)
    assert "asked" not in lm.get_model_info()["btrans"]["tasks"]["toy"]
    assert "stop: off for 4 of 4 questions, which members do not vote on" in caplog.text
    lm.loglikelihood([instance("loglikelihood", ("w5 w6", " w7"))])
    assert "stop: off for loglikelihoods" in caplog.text


def test_a_question_that_cannot_be_judged_asks_all_and_loses_nothing(checkpoint, monkeypatch):
    whole = population_lm(checkpoint, members=K, sigma=0.02).generate_until(generation())
    lm = population_lm(checkpoint, members=K, sigma=0.02, stop="exact")

    def broken(text, kind):
        raise ZeroDivisionError

    monkeypatch.setattr(stopping, "normalize", broken)
    assert lm.generate_until(generation()) == whole
    assert lm.get_model_info()["btrans"]["tasks"]["toy"]["asked"] == {str(K): len(PROMPTS)}


@pytest.mark.parametrize("stop", ["never", 0.5, 1, True, None])
def test_another_stop_is_one_line(stop):
    with pytest.raises(UserError, match="stop: must be one of none, exact, or a probability"):
        PopulationConfig(sigma=0.1, stop=stop)
    assert PopulationConfig(sigma=0.1, stop="0.95").stop == 0.95
    with pytest.raises(UserError, match="stop: needs all of a question"):
        PopulationConfig(sigma=0.1, stop="exact", shard="1/2", store="x")
