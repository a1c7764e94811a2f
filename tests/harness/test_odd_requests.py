"""btrans-hf asked in ways that are odd: told in one line, or answered as meant."""

from __future__ import annotations

import logging
import random
from types import SimpleNamespace

import pytest
import tiny_checkpoint
from engine import GREEDY, PROMPTS, SAMPLED, cloned, generation, instance, population_lm
from lm_eval.models.huggingface import HFLM

from btrans_eval.errors import UserError
from btrans_eval.harness.batches import check_batch_size
from btrans_eval.harness.engine import stops_of_key
from btrans_eval.model_adapters.hf import BTransHF
from btrans_eval.store.keys import canonical

END = "</s>"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    return tiny_checkpoint.save(tmp_path_factory.mktemp("llama"))


def answers(checkpoint, arguments, prompts=PROMPTS, **own):
    lm = population_lm(checkpoint, **{"members": 2, **own})
    return lm.generate_until(cloned(generation(prompts, arguments, 2)), disable_tqdm=True)


# ------------------------------------------------------------------- keys and draws
def test_a_sampled_response_of_other_draws_is_not_taken_from_a_store(checkpoint, tmp_path):
    own = {"store": str(tmp_path / "s.sqlite")}
    stops = (["w9"], ["w9", END], [END, "w9"], [""], [], ["w9", ""])
    for until in stops:
        asked = {**SAMPLED, "until": until}
        alone = answers(checkpoint, asked)
        assert answers(checkpoint, asked, **own) == alone  # before and
        assert answers(checkpoint, asked, **own) == alone  # after it is stored


def test_keys_hold_what_was_given_only_where_it_cannot_be_told(checkpoint):
    asked = population_lm(checkpoint, members=2).engine.asked

    def until(arguments, given):
        return asked(instance("generate_until", ("w5", {**arguments, "until": given})))["until"]

    for arguments, given, resolved in (
        (SAMPLED, ["w9"], ["w9", END]),
        (SAMPLED, "w9", ["w9", END]),
        (SAMPLED, [], [END]),
        (SAMPLED, [END, "w9"], [END, "w9"]),
        (GREEDY, ["w9", END], ["w9", END]),
        (GREEDY, ["", "w9"], ["w9", END]),
    ):
        assert until(arguments, given) == resolved  # as in stores of 0.2.0
    for given, resolved in ((["w9", END], ["w9", END]), (["", "w9"], ["w9", END])):
        found = until(SAMPLED, given)
        assert found["resolved"] == resolved and found["given"]["until"] == given


@pytest.mark.parametrize("end", [END, ""])
def test_no_two_lists_of_stops_have_one_key_and_two_streams(end):
    rng, seen = random.Random(0), {}
    for _ in range(2000):
        given = [rng.choice(["a", "b", "", END]) for _ in range(rng.randrange(4))]
        until = [stop for stop in [*given, *([] if end in given else [end])] if stop]
        stream = {"until": given, "do_sample": True}
        key = canonical(stops_of_key(until, end, stream, {"do_sample": True}))
        assert seen.setdefault(key, given) == given
    assert len(seen) == len({canonical(each) for each in seen.values()}) > 50


# ------------------------------------------------------------------- empty stop strings
@pytest.mark.parametrize("arguments", [GREEDY, SAMPLED])
@pytest.mark.parametrize("sigma", [0.5, 0.0])
def test_an_empty_stop_string_stops_nothing_in_any_batching(checkpoint, arguments, sigma):
    if sigma == 0.0 and arguments is GREEDY:
        pytest.skip("this one is the stock model's")
    asked = {**arguments, "until": ["", "w9"]}
    own = {"sigma": sigma, "aggregate": "first"}
    static = answers(checkpoint, asked, batching="static", **own)
    assert static == answers(checkpoint, asked, **own)
    assert max(text.tokens for text in static) > 1


def test_the_stock_model_still_does_what_it_does_for_an_empty_stop_string(checkpoint):
    requests = generation(PROMPTS, {**GREEDY, "until": [""]})
    stock = HFLM(checkpoint, device="cpu", batch_size=4).generate_until(requests)
    ours = population_lm(checkpoint, sigma=0.0, members=1)
    assert [str(text) for text in ours.generate_until(requests)] == stock
    asked = ours.engine.asked
    keys = [asked(instance("generate_until", ("w5", {**GREEDY, "until": u}))) for u in ([""], [])]
    assert keys[0] != keys[1]


# ------------------------------------------------------------------- ways of decoding
@pytest.mark.parametrize("where", ["gen_kwargs", "generation_config"])
@pytest.mark.parametrize("batching", ["refill", "static"])
@pytest.mark.parametrize(
    "name, value, mode",
    [
        ("penalty_alpha", 0.6, "contrastive search"),
        ("dola_layers", "high", "dola generation"),
        ("prompt_lookup_num_tokens", 3, "assisted generation"),
        ("force_words_ids", [[5]], "constrained beam search"),
    ],
)
def test_another_way_of_decoding_is_refused_before_anything_is_generated(
    checkpoint, monkeypatch, where, batching, name, value, mode
):
    lm = population_lm(checkpoint, members=2, batching=batching)
    monkeypatch.setattr(lm.engine.generation, "generate", lambda *_: pytest.fail("generated"))
    asked = {**GREEDY, "top_k": 4} if name == "penalty_alpha" else dict(GREEDY)
    if where == "gen_kwargs":
        asked[name] = value
    else:
        monkeypatch.setattr(lm.model.generation_config, name, value, raising=False)
    with pytest.raises(UserError, match=rf"^{name}: asks for {mode}, and members decode") as told:
        lm.generate_until(generation(PROMPTS[:1], asked))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("arguments", [GREEDY, SAMPLED])
@pytest.mark.parametrize("sigma", [0.5, 0.0])
@pytest.mark.parametrize("name", ["num_beams", "num_return_sequences"])
def test_several_rows_for_a_prompt_in_the_checkpoint_are_refused(
    checkpoint, monkeypatch, name, sigma, arguments
):
    lm = population_lm(checkpoint, members=2, sigma=sigma)
    monkeypatch.setattr(lm.model.generation_config, name, 2)
    requests = generation(PROMPTS[:2], arguments)
    if name == "num_beams" and sigma == 0.0 and arguments is GREEDY:
        stock = HFLM(checkpoint, device="cpu", batch_size=2)
        stock.model.generation_config.num_beams = 2
        expected = stock.generate_until(requests)
        assert [str(text) for text in lm.generate_until(requests)] == expected
        return
    with pytest.raises(
        UserError, match=rf"^{name}: must be 1 under .*generation_config.json has 2"
    ):
        lm.generate_until(requests)
    if name == "num_beams":  # what the line says to type
        assert len(lm.generate_until(generation(PROMPTS[:2], {**arguments, name: 1}))) == 2


# ------------------------------------------------------------------- sizes of batches
@pytest.mark.parametrize("size", [0, -1, "0", "few", "auto:0", "auto:", "automatic", None, 2.5])
def test_what_is_no_size_of_a_batch_is_refused_before_a_model_is_loaded(monkeypatch, size):
    monkeypatch.setattr(HFLM, "__init__", lambda *a, **k: pytest.fail("a model was loaded"))
    with pytest.raises(UserError, match="^batch_size: must be a whole number of at least 1, auto"):
        BTransHF("nowhere", sigma=0.1, batch_size=size)


@pytest.mark.parametrize("size", [1, 32, "8", "auto", "auto:4"])
def test_sizes_of_batches_are_taken(size):
    check_batch_size(size)


@pytest.mark.parametrize("count", [1, 3, 9])
def test_more_sizes_than_requests_may_be_searched(checkpoint, count):
    requests = [
        instance("loglikelihood", ("w5 w6", f" w{place + 7}"), place) for place in range(count)
    ]
    lm = population_lm(checkpoint, members=2, batch_size="auto:4")
    expected = population_lm(checkpoint, members=2).loglikelihood(requests)
    found = lm.loglikelihood(requests)
    assert [score for score, _ in found] == pytest.approx([score for score, _ in expected])
    assert lm.batch_schedule == 4


# ------------------------------------------------------------------- extractor
def test_an_extractor_that_reads_nothing_says_so(checkpoint, caplog):
    lm = population_lm(checkpoint, members=2, extractor="number")
    line = "extractor: off for 2 of 3 questions, whose answers their task reads itself"
    with caplog.at_level(logging.WARNING):
        voted = generation(PROMPTS[2:3])
        lm.generate_until([*cloned(generation(PROMPTS[:2], repeats=2)), *voted])
    assert caplog.messages.count(line) == 1
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        lm.generate_until(voted)
        population_lm(checkpoint, members=2).generate_until(cloned(generation(repeats=2)))
    assert not any("extractor" in message for message in caplog.messages)


# ------------------------------------------------------------------- parts
def test_tasks_of_a_part_can_be_scored_afterwards():
    from btrans_eval.harness.part import PartIsDone, ended_before_scoring

    class Task:
        def apply_filters(self):
            return "scored"

    tasks = [Task(), Task()]
    tasks[1].apply_filters = own = lambda: "scored otherwise"
    config = SimpleNamespace(shard="1/2", part=(0, 2), store="s.db")
    lm = SimpleNamespace(runner=SimpleNamespace(config=config, is_never_scored=False))
    for task in tasks:
        with pytest.raises(PartIsDone), ended_before_scoring(lm, tasks):
            task.apply_filters()
    assert tasks[0].apply_filters() == "scored" and tasks[1].apply_filters is own
    assert vars(tasks[0]) == {}
