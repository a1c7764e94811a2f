"""Members that share vLLM's batches: each says what it says alone, or they take turns."""

from __future__ import annotations

import logging
import random
from types import SimpleNamespace

import numpy as np
import pytest
import small_checkpoints
import torch
from engine import PROMPTS, cloned, generation, instance, population_lm
from vllm_lm import become, close, said, vllm_lm

from btrans_eval.config import PopulationConfig
from btrans_eval.errors import UserError
from btrans_eval.model_adapters.vllm import setup
from btrans_eval.model_adapters.vllm.mixing import FIRST, KEY, NOBODY, Layout
from btrans_eval.model_adapters.vllm.trial import Sharing, failure

GREEDY = {"until": ["w9", "w13 w56"], "max_gen_toks": 16, "do_sample": False}
SAMPLED = {"until": [], "max_gen_toks": 8, "do_sample": True, "temperature": 1.0}
PAIRS = [("w5 w6", " w7 w8"), ("w5 w6 w8", " w9"), ("w11", " w12 w13 w14"), ("w5 w6", " w40")]
LONG = [" ".join(f"w{3 + (5 * place + turn) % 60}" for place in range(200)) for turn in range(4)]
DOCUMENTS = [(" ".join(PROMPTS),), ("w3 " * 300,)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    return small_checkpoints.save(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def engine(checkpoint):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setup, "_NOISY", "broken_worker.BreakableWorker")
        lm = vllm_lm(checkpoint, scheduling="mixed")
    yield lm
    close(lm)


@pytest.fixture
def lm(engine):
    become(engine)
    assert engine.engine.members_at_once > 1
    return engine


def scored(kind, texts):
    return [instance(kind, text, place) for place, text in enumerate(texts)]


def in_turns(lm, **own):
    become(lm, scheduling="member", **own)
    assert (lm.engine.members_at_once, lm.engine.batching(None)) == (1, "vllm, member")
    return lm


def test_votes_that_stop_return_what_all_members_would(lm, monkeypatch):
    asked = []
    call = lm.engine._call
    monkeypatch.setattr(
        lm.engine.generation, "_call", lambda *args: asked.append(len(args[1])) or call(*args)
    )
    found = {}
    for stop, places in (("none", 64), ("exact", 1), ("exact", 64)):
        monkeypatch.setattr(lm.engine.generation, "_places", places)
        become(lm, members=7, sigma=0.002, stop=stop)
        asked.clear()
        texts = lm.generate_until(cloned(generation(PROMPTS, GREEDY, 1)))
        found[stop, places] = [str(text) for text in texts], sum(asked)
        told = lm.get_model_info()["btrans"]["tasks"]["toy"]
        if stop == "exact":
            assert told["generated"]["mean"] * len(PROMPTS) == sum(asked)
            fewest = told["asked"]["mean"] * len(PROMPTS)
    assert len({tuple(texts) for texts, _ in found.values()}) == 1
    assert found["none", 64][1] == 7 * len(PROMPTS) > found["exact", 1][1] == fewest
    assert fewest < found["exact", 64][1] <= 7 * len(PROMPTS)


def test_members_in_turns_ask_nobody_early(lm, monkeypatch):
    asked, call = [], lm.engine._call
    in_turns(lm, members=7, sigma=0.002, stop="exact")
    monkeypatch.setattr(
        lm.engine.generation, "_call", lambda *args: asked.append(len(args[1])) or call(*args)
    )
    lm.generate_until(cloned(generation(PROMPTS, GREEDY, 1)))
    told = lm.get_model_info()["btrans"]["tasks"]["toy"]
    assert told["generated"] == told["asked"]
    assert sum(asked) == told["asked"]["mean"] * len(PROMPTS)


def unsalted(generate):
    """The same, of prompts that nothing tells from other members'."""

    def generates(prompts, parameters, adapter):
        for prompt in prompts:
            prompt["cache_salt"] = "the same for all"
        return generate(prompts, parameters, adapter)

    return generates


class Watched:
    """The keys of the requests of each call of vLLM."""

    def __init__(self, lm, patch) -> None:
        self.calls: list[list[str]] = []
        self._generate = lm.engine._engines.generate
        patch.setattr(lm.engine._engines, "generate", self)

    def __call__(self, prompts, parameters, adapter):
        keys = [(each.extra_args or {}).get(KEY, NOBODY) for each in parameters]
        assert all(p["cache_salt"] == key for p, key in zip(prompts, keys, strict=True))
        self.calls.append(keys)
        return self._generate(prompts, parameters, adapter)


@pytest.mark.parametrize("own", [{}, {"norms": "residual", "mu": 0.05, "seed": 3}], ids=str)
def test_members_say_in_shared_batches_what_they_say_in_turns(lm, monkeypatch, own):
    def everything():
        texts = [said(lm, PROMPTS + LONG, arguments) for arguments in (GREEDY, SAMPLED)]
        values = lm.loglikelihood(scored("loglikelihood", PAIRS))
        return texts, values, lm.loglikelihood_rolling(scored("loglikelihood_rolling", DOCUMENTS))

    become(lm, **own)
    with monkeypatch.context() as patch:
        watched = Watched(lm, patch)
        texts, values, documents = everything()
    # of the documents the harness asks for two windows at a time
    assert [len(set(keys)) for keys in watched.calls] == [3] * 5
    in_turns(lm, **own)
    expected_texts, expected, expected_documents = everything()
    assert texts == expected_texts
    assert len({text for text, _, _ in texts[0]}) > 12
    assert [value for value, _ in values] == pytest.approx([v for v, _ in expected], abs=1e-4)
    assert [greedy for _, greedy in values] == [greedy for _, greedy in expected]
    assert documents == pytest.approx(expected_documents, rel=1e-5)


def test_members_are_those_of_btrans_hf(lm, checkpoint):
    other = population_lm(checkpoint, dtype="float32", max_length=256)
    other.become(PopulationConfig(sigma=0.1, members=3), None)
    assert said(lm, PROMPTS, GREEDY) == said(other, PROMPTS, GREEDY)
    requests = scored("loglikelihood", PAIRS)
    expected = [value for value, _ in other.loglikelihood(requests)]
    assert [value for value, _ in lm.loglikelihood(requests)] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("arguments", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_a_response_depends_on_nothing_around_it(lm, monkeypatch, arguments):
    def by_prompt(requests):
        found: dict = {}
        for request, text in zip(requests, lm.generate_until(requests), strict=True):
            found.setdefault(request.args[0], []).append(str(text))
        return found

    prompts = PROMPTS + LONG
    together = by_prompt(cloned(generation(prompts, arguments, 3)))
    shuffled = list(generation(prompts, arguments, 3))
    random.Random(1).shuffle(shuffled)
    assert by_prompt(cloned(shuffled)) == together
    for at_once in (1, 5):
        monkeypatch.setattr(lm.engine.generation, "_rows_at_once", at_once)
        assert by_prompt(cloned(generation(prompts, arguments, 3))) == together


def test_more_members_than_tables_hold_take_turns(lm, monkeypatch):
    own = {"members": 5}
    requests = scored("loglikelihood", PAIRS)
    in_turns(lm, **own)
    texts, values = said(lm, PROMPTS, GREEDY, 5), lm.loglikelihood(requests)
    monkeypatch.setattr(lm._noise.tables, "slots", 2)
    become(lm, **own)
    assert lm.engine.members_at_once == 2
    with monkeypatch.context() as patch:
        watched = Watched(lm, patch)
        assert said(lm, PROMPTS, GREEDY, 5) == texts
        found = lm.loglikelihood(requests)
    assert [len(set(keys)) for keys in watched.calls] == [2, 2, 1] * 2
    assert [value for value, _ in found] == pytest.approx([v for v, _ in values], abs=1e-4)
    with pytest.raises(RuntimeError, match="tables hold 2 members, not 3"):
        lm._noise.share(lm.runner.population, range(3))


def test_no_response_comes_from_another_members_cache(lm, monkeypatch):
    """What separates members is taken away, and must then be missed."""
    in_turns(lm)
    expected = said(lm, LONG, GREEDY)
    become(lm)
    assert said(lm, LONG, GREEDY) == expected
    monkeypatch.setattr(lm.engine._engines, "generate", unsalted(lm.engine._engines.generate))
    assert said(lm, LONG, GREEDY) != expected, "this test sees no cache at all"
    lm.engine._engines.forget()


def test_tables_are_not_changed_while_a_request_runs(lm):
    from vllm import SamplingParams, TokensPrompt

    population = lm.runner.population
    lm._noise.share(population, [0, 1])
    prompt = TokensPrompt(prompt_token_ids=[5] * 200)
    lm.model.enqueue([prompt], SamplingParams(max_tokens=50, ignore_eos=True), use_tqdm=False)
    lm.model.llm_engine.step()
    try:
        lm._noise.share(population, [0])  # is there already
        with pytest.raises(RuntimeError, match="did not empty its prefix cache"):
            lm._noise.share(population, [0, 7])
    finally:
        lm.model.wait_for_completion(use_tqdm=False)
    assert lm._noise.share(population, [0, 7])[7].endswith(":0:7")


def test_what_is_stored_does_not_depend_on_how_members_are_scheduled(lm, tmp_path, monkeypatch):
    store = str(tmp_path / "responses.sqlite")
    become(lm, store=store)
    texts = said(lm, PROMPTS, GREEDY)
    values = lm.loglikelihood(scored("loglikelihood", PAIRS))
    in_turns(lm, store=store)
    monkeypatch.setattr(lm.engine._engines, "generate", lambda *_: pytest.fail("asked again"))
    assert said(lm, PROMPTS, GREEDY) == texts
    assert lm.loglikelihood(scored("loglikelihood", PAIRS)) == values


def test_what_a_killed_run_scored_is_not_scored_again(lm, tmp_path, monkeypatch):
    whole = lm.loglikelihood(scored("loglikelihood", PAIRS))
    become(lm, store=str(tmp_path / "scores.sqlite"))
    monkeypatch.setattr(lm.engine, "_rows_at_once", 3)  # a pair at a time, for all members
    with monkeypatch.context() as patch:
        generate, calls = lm.engine._engines.generate, []

        def stops(*asked):
            if len(calls) == 2:
                raise KeyboardInterrupt
            calls.append(asked)
            return generate(*asked)

        patch.setattr(lm.engine._engines, "generate", stops)
        with pytest.raises(KeyboardInterrupt):
            lm.loglikelihood(scored("loglikelihood", PAIRS))
    watched = Watched(lm, monkeypatch)
    assert lm.loglikelihood(scored("loglikelihood", PAIRS)) == whole
    assert [len(keys) for keys in watched.calls] == [3, 3]


# ------------------------------------------------------------------- the trial at the start
@pytest.fixture
def breakable(lm, monkeypatch):
    """The engine, as if it had only started; what is broken is mended again."""
    config = lm.population_config
    monkeypatch.setattr(lm, "_sharing", Sharing(config, {}, lm._model_config))
    monkeypatch.setattr(lm.engine, "_sharing", lm._sharing)

    def break_(how):
        lm._noise.engines.tell("btrans_break", how)

    yield lm, break_
    break_("not")


@pytest.mark.parametrize("how", ["others", "nobody", "before", "late", "decoding"])
def test_tokens_that_are_given_to_others_are_found_out(breakable, how):
    lm, break_ = breakable
    layers = lm.runner.population.layers
    assert failure(lm._noise, layers) is None
    break_(how)
    assert "a member says otherwise in a shared batch" in failure(lm._noise, layers)


def test_a_private_part_that_is_missing_is_found_out(breakable):
    lm, break_ = breakable
    break_("missing")
    assert "has no attribute 'req_ids'" in failure(lm._noise, lm.runner.population.layers)


def test_where_the_trial_fails_members_take_turns(breakable, caplog):
    lm, break_ = breakable
    expected = said(in_turns(lm), PROMPTS, GREEDY)
    break_("late")
    with caplog.at_level(logging.WARNING):
        become(lm)
        become(lm)
    (line,) = [each.getMessage() for each in caplog.records if "scheduling" in each.getMessage()]
    assert line.startswith("scheduling: members answer one after another, since ")
    assert lm.engine.members_at_once == 1
    assert said(lm, PROMPTS, GREEDY) == expected
    with pytest.raises(UserError, match="scheduling: .* got mixed; use scheduling=member") as told:
        become(lm, scheduling="mixed")
    assert "\n" not in str(told.value)


def test_two_members_that_never_meet_prove_nothing(breakable, monkeypatch):
    lm, _ = breakable
    engine = lm.engine._engines

    def one_by_one(prompts, parameters):
        return [
            engine.generate([p], [own], None)[0] for p, own in zip(prompts, parameters, strict=True)
        ]

    monkeypatch.setattr(engine, "generate_together", one_by_one)
    assert "were not put into one step" in failure(lm._noise, lm.runner.population.layers)


# ------------------------------------------------------------------------- without an engine
@pytest.mark.parametrize(
    "others, text",
    [
        ({"tensor_parallel_size": 2}, "not tested with tensor_parallel_size=2"),
        ({"data_parallel_size": 2}, "not tested with data_parallel_size=2"),
        ({"speculative_config": {"method": "ngram"}}, "than vLLM scheduled with speculative_conf"),
        ({"enable_dbo": True}, "than vLLM scheduled with enable_dbo"),
    ],
    ids=str,
)
def test_what_was_not_tested_takes_turns_or_is_refused(others, text, caplog):
    model = SimpleNamespace(is_multimodal_model=False)
    with caplog.at_level(logging.WARNING):
        assert text in Sharing(PopulationConfig(sigma=0.1), others, model).reason
    assert len(caplog.records) == 1 and "\n" not in caplog.text.strip()
    with pytest.raises(UserError, match=f"scheduling: .*{text}.* got mixed; use scheduling=memb"):
        Sharing(PopulationConfig(sigma=0.1, scheduling="mixed"), others, model)
    assert Sharing(PopulationConfig(sigma=0.0, scheduling="mixed"), others, model).reason is None
    assert Sharing(PopulationConfig(sigma=0.1), {}, model).reason is None


def test_a_scheduling_that_is_none_is_told():
    with pytest.raises(UserError, match="scheduling: must be one of mixed, member, got 'mixd'"):
        PopulationConfig(sigma=0.1, scheduling="mixd")


def layers_with_rows(count=2, room=16, shared=True):
    rows = torch.full((room,), 1, dtype=torch.int32)
    model = torch.nn.Module()
    for place in range(count):
        layer = torch.nn.Module()
        layer.register_buffer("btrans_rows", rows if shared else rows.clone(), persistent=False)
        model.add_module(str(place), layer)
    return model, rows


class First:
    """Of vLLM's first model runner, what is used."""

    def __init__(self, *requests):
        self.input_batch = SimpleNamespace(req_ids=list(requests))

    def _prepare_inputs(self, scheduler_output, num_scheduled_tokens):
        return "as it was"


class Second:
    """Of its second one."""

    def prepare_inputs(self, scheduler_output, batch_req_state, batch_desc, num_active_loras):
        return SimpleNamespace(req_ids=["b", "a"], num_scheduled_tokens=np.array([3, 2]))


First.__module__ = "vllm.v1.worker.gpu_model_runner"
Second.__module__ = "vllm.v1.worker.gpu.model_runner"


def step(keys, tokens, finished=()):
    new = [
        SimpleNamespace(
            req_id=request,
            sampling_params=SimpleNamespace(extra_args=None if key is None else {KEY: key}),
        )
        for request, key in keys.items()
    ]
    return SimpleNamespace(
        scheduled_new_reqs=new, finished_req_ids=set(finished), num_scheduled_tokens=tokens
    )


def test_the_rows_of_a_step_in_both_of_vllms_runners():
    model, rows = layers_with_rows()
    layout, runner = Layout(model), First("b", "a", "c")
    assert layout.tap(runner) == ""
    layout.give("one", FIRST)
    layout.give("two", FIRST + 1)
    given = step({"a": "one", "b": "two", "c": None}, {"a": 2, "b": 3, "c": 1})
    runner._prepare_inputs(given, None)
    assert rows.unique().tolist() == [1], "members take turns"
    layout.mix()
    assert runner._prepare_inputs(given, None) == "as it was"
    assert rows.tolist() == [3, 3, 3, 2, 2, 0] + [0] * 10
    runner.input_batch.req_ids = ["c", "a"]
    runner._prepare_inputs(step({}, {"a": 1, "c": 1}, finished=["b"]), None)
    assert rows.tolist() == [0, 2] + [0] * 14, "what fills a graph up is nobody's"
    with pytest.raises(KeyError, match="b"):
        runner.input_batch.req_ids = ["b"]
        runner._prepare_inputs(step({}, {"b": 1}), None)
    with pytest.raises(RuntimeError, match="no table holds the noise of three"):
        runner._prepare_inputs(step({"b": "three"}, {"b": 1}), None)
    layout.take_turns()
    assert rows.unique().tolist() == [1]

    model, rows = layers_with_rows()
    layout, other = Layout(model), Second()
    assert layout.tap(other) == ""
    layout.give("one", FIRST)
    layout.give("two", FIRST + 1)
    layout.mix()
    other.prepare_inputs(step({"a": "one", "b": "two"}, {"a": 2, "b": 3}), None, None, 0)
    assert rows.tolist() == [3, 3, 3, 2, 2] + [0] * 11


def test_a_runner_that_is_not_known_is_told():
    class Renamed:
        pass

    class Changed:
        def _prepare_inputs(self, batch):
            pass

    Renamed.__module__ = Changed.__module__ = First.__module__
    assert "model runner is another" in Layout(layers_with_rows()[0]).tap(object())
    assert "has no _prepare_inputs any more" in Layout(layers_with_rows()[0]).tap(Renamed())
    assert "takes other arguments" in Layout(layers_with_rows()[0]).tap(Changed())
    assert "do not share" in Layout(layers_with_rows(shared=False)[0]).tap(First())


# ----------------------------------------------------- prompts in pieces, and a cache too small
def test_members_whose_prompts_are_read_in_pieces_and_begun_anew(checkpoint):
    """The last test with an engine of its own: two need twice the memory."""
    lm = vllm_lm(
        checkpoint, scheduling="mixed", enable_chunked_prefill=True, max_num_batched_tokens=48,
        max_num_seqs=16, block_size=32, num_gpu_blocks_override=24, disable_log_stats=False,
    )  # fmt: skip
    try:
        arguments = {"until": [], "max_gen_toks": 40, "do_sample": False}
        prompts = [" ".join(text.split()[: 60 + 17 * turn]) for turn, text in enumerate(LONG)]
        texts = said(lm, prompts, arguments)
        counted = {each.name: each for each in lm.model.get_metrics()}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lm.engine._engines, "generate", unsalted(lm.engine._engines.generate))
            assert said(lm, prompts, arguments) != texts, "this test sees no cache at all"
        lm.engine._engines.forget()
        values = [value for value, _ in lm.loglikelihood(scored("loglikelihood", PAIRS))]
    finally:
        close(lm)
    assert counted["vllm:num_preemptions"].value > 0, "the cache was large enough"
    other = population_lm(checkpoint, dtype="float32", max_length=256)
    other.become(PopulationConfig(sigma=0.1, members=3), None)
    assert texts == said(other, prompts, arguments)
    expected = [value for value, _ in other.loglikelihood(scored("loglikelihood", PAIRS))]
    assert values == pytest.approx(expected, abs=1e-4)
