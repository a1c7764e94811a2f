"""Votes that stop when they are decided, with a model: the same texts, and fewer of them."""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
from contextlib import closing

import pytest
import tiny_checkpoint
import torch
from engine import PROMPTS, SAMPLED, cloned, generation, instance, population_lm

from btrans_eval.config import PopulationConfig
from btrans_eval.errors import UserError
from btrans_eval.harness import stopping
from btrans_eval.model_adapters.hf import generation as hf_generation
from btrans_eval.model_adapters.hf.refill import Refill

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
    told = info["tasks"]["toy"]
    counted = told["asked"]["questions"]
    assert info["stop"] == "exact"
    assert sum(int(count) * times for count, times in counted.items()) == asked
    assert told["asked"]["mean"] == asked / len(requests)
    made = sum(int(count) * times for count, times in told["generated"]["questions"].items())
    assert asked <= made <= of and made == told["generated"]["mean"] * len(requests)
    assert f"of {of}, and {made} were generated" in caplog.text
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


def stopped(checkpoint, store=None, **own):
    settings = {"members": K, "sigma": 0.1, "stop": "exact", **own}
    return population_lm(checkpoint, store=None if store is None else str(store), **settings)


def asked_of(lm):
    return lm.get_model_info()["btrans"]["tasks"]["toy"]["asked"]


def stored(path):
    """(prompt, member) of all responses, and their texts."""
    with closing(sqlite3.connect(path)) as file:
        return dict(file.execute("select prompt || '/' || member, text from responses"))


@pytest.fixture(scope="module")
def one_by_one(checkpoint, tmp_path_factory):
    """What is returned, who was asked, and a store, where nobody is asked for nothing."""
    store = tmp_path_factory.mktemp("one") / "s.sqlite"
    lm = stopped(checkpoint, store, batch_size=1)
    returned = lm.generate_until(generation())
    told = lm.get_model_info()["btrans"]["tasks"]["toy"]
    assert told["generated"] == told["asked"]
    return returned, asked_of(lm), store


@pytest.mark.parametrize("rows", [2, 5, 64])
@pytest.mark.parametrize("is_stored", [False, True])
def test_places_that_would_be_empty_are_filled_and_nothing_changes(
    checkpoint, one_by_one, tmp_path, rows, is_stored
):
    returned, asked, single = one_by_one
    store = tmp_path / "s.sqlite" if is_stored else None
    lm = stopped(checkpoint, store, batch_size=rows)
    assert lm.generate_until(generation()) == returned and asked_of(lm) == asked
    told = lm.get_model_info()["btrans"]["tasks"]["toy"]
    assert told["generated"]["mean"] >= asked["mean"]
    if rows == 64:
        assert told["generated"]["mean"] > asked["mean"]
    if is_stored:
        kept, needed = stored(store), stored(single)
        assert len(kept) == told["generated"]["mean"] * len(PROMPTS)
        assert needed.items() <= kept.items()


@pytest.mark.parametrize("killed_after", [1, 9, 20])
def test_a_killed_run_goes_on_and_returns_the_same(
    checkpoint, one_by_one, tmp_path, killed_after, monkeypatch
):
    class Killed(Exception):
        pass

    returned, asked, _ = one_by_one
    store = tmp_path / "s.sqlite"
    lm = stopped(checkpoint, store, batch_size=5)
    generate, finished = lm.engine.generation.generate, []

    def killed(rows, order):
        for group in generate(rows, order):
            finished.extend(group)
            yield group
            if len(finished) >= killed_after:
                raise Killed

    monkeypatch.setattr(lm.engine.generation, "generate", killed)
    with pytest.raises(Killed):
        lm.generate_until(generation())
    held = stored(store)
    assert len(held) == len(finished)
    again = stopped(checkpoint, store, batch_size=5)
    assert again.generate_until(generation()) == returned and asked_of(again) == asked
    told = again.get_model_info()["btrans"]["tasks"]["toy"]["generated"]
    assert held.items() <= stored(store).items()
    assert len(stored(store)) == len(held) + told["mean"] * len(PROMPTS)


def test_out_of_memory_changes_nothing(checkpoint, one_by_one, tmp_path, monkeypatch, caplog):
    class Starved(Refill):
        def _step(self):
            if len(self._rows) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
            super()._step()

    monkeypatch.setattr(hf_generation, "Refill", Starved)
    returned, asked, _ = one_by_one
    lm = stopped(checkpoint, tmp_path / "s.sqlite", batch_size=8)
    assert lm.generate_until(generation()) == returned and asked_of(lm) == asked
    assert "going on with 2 at once" in caplog.text
    told = lm.get_model_info()["btrans"]["tasks"]["toy"]["generated"]
    assert told["mean"] * len(PROMPTS) == len(stored(tmp_path / "s.sqlite"))


def test_from_store_needs_those_who_were_asked_and_no_more(checkpoint, one_by_one, tmp_path):
    returned, asked, single = one_by_one
    store = tmp_path / "s.sqlite"
    shutil.copy(single, store)
    assert len(stored(store)) < K * len(PROMPTS)
    lm = stopped(checkpoint, store, from_store=True)
    assert lm.generate_until(generation()) == returned and asked_of(lm) == asked
    told = lm.get_model_info()["btrans"]["tasks"]["toy"]["generated"]
    assert told == {"mean": 0, "questions": {"0": len(PROMPTS)}}
    with closing(sqlite3.connect(store)) as file, file:
        file.execute("delete from responses where member = 2")
    with pytest.raises(UserError, match=r"lacks \d+ of \d+ responses of toy; the same command"):
        stopped(checkpoint, store, from_store=True).generate_until(generation())


def test_what_lacks_is_counted_for_every_task(checkpoint, tmp_path):
    store = tmp_path / "s.sqlite"
    stopped(checkpoint, store).generate_until(generation())
    other = generation(arguments=SAMPLED)
    for request in other:
        request.task_name = "other"
    with closing(sqlite3.connect(store)) as file, file:
        file.execute("delete from responses where member = 0")
    lm = stopped(checkpoint, store, from_store=True)
    with pytest.raises(UserError, match=r"lacks 16 of 16 responses of other, \d+ of \d+ .* of toy"):
        lm.generate_until([*generation(), *other])


def test_tasks_of_other_arguments_each_end_where_they_are_decided(checkpoint):
    both = [generation(), generation(arguments=SAMPLED)]
    alone = [stopped(checkpoint, batch_size=1).generate_until(each) for each in both]
    lm = stopped(checkpoint, batch_size=64)
    assert lm.generate_until([*both[0], *both[1]]) == [*alone[0], *alone[1]]


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
    assert lm.get_model_info()["btrans"]["tasks"]["toy"]["asked"] == {
        "mean": K, "questions": {str(K): len(PROMPTS)},
    }  # fmt: skip


@pytest.mark.parametrize("stop", ["never", 0.5, 1, True, None])
def test_another_stop_is_one_line(stop):
    with pytest.raises(UserError, match="stop: must be one of none, exact, or a probability"):
        PopulationConfig(sigma=0.1, stop=stop)
    assert PopulationConfig(sigma=0.1, stop="0.95").stop == 0.95
    with pytest.raises(UserError, match="stop: needs all of a question"):
        PopulationConfig(sigma=0.1, stop="exact", shard="1/2", store="x")
