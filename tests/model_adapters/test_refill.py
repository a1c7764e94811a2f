"""Rows that come and go say what they say in batches that end as one."""

from __future__ import annotations

import json
import logging
import random
import sqlite3

import pytest
import tiny_checkpoint
import torch
import transformers
from engine import GREEDY, PROMPTS, SAMPLED, cloned, generation, population_lm
from transformers import DynamicCache

from btrans_eval.errors import UserError
from btrans_eval.harness.batches import Row
from btrans_eval.harness.turns import InOrder
from btrans_eval.model_adapters.hf import generation as hf_generation
from btrans_eval.model_adapters.hf.ending import Ending
from btrans_eval.model_adapters.hf.refill import Refill
from btrans_eval.model_adapters.hf.slots import ROOM, SlotLayer, Slots

LONG = {"until": ["w9"], "max_gen_toks": 90, "do_sample": True, "temperature": 1.0}
REPEATS = 6


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    return tiny_checkpoint.save(tmp_path_factory.mktemp("llama"))


def said(lm, arguments=LONG, prompts=PROMPTS, repeats=REPEATS) -> list:
    texts = lm.generate_until(cloned(generation(prompts, arguments, repeats)))
    return [(text, text.tokens, text.truncated) for text in texts]


def both(checkpoint, arguments=LONG, **own):
    """What is said by static batches and by refilling."""
    own = {"members": 3, **own}
    refilled = population_lm(checkpoint, **own)
    for request in generation(arguments=arguments):
        assert refilled.engine.batching(request) == "refill", (
            "the test would compare static with itself"
        )
    static = said(population_lm(checkpoint, batching="static", **own), arguments)
    return static, said(refilled, arguments)


# ----------------------------------------------------------------- the same as static
@pytest.mark.parametrize("batch_size", [1, 2, 3, 8, 64])
def test_texts_do_not_depend_on_who_comes_and_goes(checkpoint, batch_size):
    static, refilled = both(checkpoint, batch_size=batch_size)
    assert refilled == static
    lengths = {tokens for _, tokens, _ in static}
    assert len(lengths) > 5 and any(truncated for _, _, truncated in static)


@pytest.mark.parametrize(
    "arguments",
    [
        {"do_sample": False, "max_gen_toks": 30, "until": []},
        {"do_sample": False, "max_gen_toks": 30, "until": ["w9", "w12 w3"]},
        {"do_sample": False, "max_gen_toks": 30, "until": [], "repetition_penalty": 1.4},
        {**LONG, "temperature": 0.6, "top_k": 9},
        {**LONG, "top_p": 0.7},
        {**LONG, "min_p": 0.2},
        {**LONG, "repetition_penalty": 1.7, "top_k": 20, "top_p": 0.9},
        {**LONG, "max_gen_toks": 1},
        {**LONG, "until": ["w9 w", "w1"]},
    ],
    ids=str,
)
def test_generation_arguments_keep_their_meaning(checkpoint, arguments):
    own = {"members": 6} if not arguments["do_sample"] else {}
    static, refilled = both(checkpoint, arguments, **own)
    assert refilled == static


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "phi3", "olmo2", "qwen3-moe"])
def test_families(family, tmp_path):
    path = tiny_checkpoint.save(tmp_path, family)
    static, refilled = both(path)
    assert refilled == static


def test_an_adapter(checkpoint, tmp_path):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    lora = LoraConfig(target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint)
    get_peft_model(model, lora).save_pretrained(tmp_path)
    static, refilled = both(checkpoint, peft=str(tmp_path))
    assert refilled == static
    assert static != said(population_lm(checkpoint, members=3))


@pytest.mark.parametrize("own", [{"noise": "token"}, {"noise_from": "generation"}], ids=str)
def test_noise_follows_the_tokens_of_its_row(checkpoint, own):
    static, refilled = both(checkpoint, **own)
    assert refilled == static
    assert static != said(population_lm(checkpoint, members=3))


def test_samples_of_the_stock_model(checkpoint):
    static, refilled = both(checkpoint, sigma=0.0)
    assert refilled == static


def test_prompts_of_very_different_lengths(checkpoint):
    prompts = ["w5", "w6 " * 100, "w7 w8", "w10 " * 40, ""]
    arguments = {**LONG, "max_gen_toks": 20}
    static = said(population_lm(checkpoint, members=3, batching="static"), arguments, prompts)
    refilled = population_lm(checkpoint, members=3, batch_size=3)
    assert said(refilled, arguments, prompts) == static


# ---------------------------------------------------------------------- fewer passes
def test_places_are_refilled(checkpoint):
    """The model sees fewer rows than static batches show it, and never more than batch_size."""
    shown = {}
    for batching in ("static", "refill"):
        lm = population_lm(checkpoint, members=3, batching=batching, batch_size=8)
        rows = []
        hook = lm.model.register_forward_pre_hook(
            lambda module, args, given, rows=rows: rows.append(given["input_ids"].shape[0]),
            with_kwargs=True,
        )
        said(lm)
        hook.remove()
        assert max(rows) == 8
        shown[batching] = sum(rows)
    assert shown["refill"] < 0.85 * shown["static"]


# ------------------------------------------------------------------------- the cache
@pytest.mark.parametrize("most", [0, 60, 10**6])
def test_slots_hold_what_a_growing_cache_of_each_row_holds(most):
    """Random arrivals, steps, departures and shrinkings against a list for each row."""
    chance = random.Random(5)
    for _ in range(20):
        slots, rows = Slots(most), []

        def fresh(count, chance=chance):
            texts = [torch.randn(chance.randint(1, 90), 4) for _ in range(count)]
            longest = max(map(len, texts))
            cache = DynamicCache()
            padded = [torch.cat([torch.full((longest - len(t), 4), torch.nan), t]) for t in texts]
            keys = torch.stack(padded)[:, None].expand(-1, 2, -1, -1)
            cache.update(keys.clone(), -keys.clone(), 0)
            return texts, cache

        rows, cache = fresh(5)
        slots.fill(cache)
        for _ in range(60):
            event = chance.random()
            if event < 0.6:
                new = torch.randn(len(rows), 4)
                keys = new[:, None, None].expand(-1, 2, -1, -1)
                slots.cache.update(keys, -keys, 0)
                rows = [torch.cat([r, n[None]]) for r, n in zip(rows, new, strict=True)]
            elif event < 0.85:
                places = chance.sample(range(len(rows)), chance.randint(1, len(rows) - 1))
                texts, cache = fresh(len(places))
                slots.put(sorted(places), cache)
                for place, text in zip(sorted(places), texts, strict=True):
                    rows[place] = text
            elif event < 0.9 and len(rows) > 2:
                kept = sorted(chance.sample(range(len(rows)), len(rows) - 1))
                slots.keep(kept)
                rows = [rows[place] for place in kept]
            slots.forget(slots.length - max(map(len, rows)))
            (layer,) = slots.layers
            assert slots.length == max(map(len, rows)) == layer.get_seq_length()
            for place, row in enumerate(rows):
                for head in range(2):
                    assert torch.equal(layer.keys[place, head, -len(row) :], row)
                    assert torch.equal(layer.values[place, head, -len(row) :], -row)


def test_what_a_broken_row_leaves_is_not_seen_by_the_next():
    layer = SlotLayer(100)
    broken = torch.full((2, 1, 30, 4), torch.nan)
    layer.update(broken, broken)
    layer.put(torch.tensor([0]), torch.ones(1, 1, 5, 4), torch.ones(1, 1, 5, 4))
    assert torch.isfinite(layer.keys[0]).all() and torch.isfinite(layer.values[0]).all()
    assert layer.keys[0, 0, -5:].eq(1).all() and layer.keys[0, 0, :-5].eq(0).all()


def test_a_token_is_written_without_copying_the_others():
    layer = SlotLayer(10**6)
    layer.update(torch.zeros(1, 1, 3, 4), torch.zeros(1, 1, 3, 4))
    first = layer.keys.data_ptr()
    for _ in range(ROOM):
        layer.update(torch.ones(1, 1, 1, 4), torch.ones(1, 1, 1, 4))
    assert layer.keys.data_ptr() == first and layer.get_seq_length() == 3 + ROOM


def test_there_is_no_room_for_more_than_the_longest_row_can_have():
    layer = SlotLayer(90)
    layer.update(torch.zeros(2, 1, 20, 4), torch.zeros(2, 1, 20, 4))
    for _ in range(70):
        layer.update(torch.ones(2, 1, 1, 4), torch.ones(2, 1, 1, 4))
        assert layer.keys.untyped_storage().nbytes() <= 4 * 4 * 2 * 90


def test_a_batch_holds_no_more_than_static_ones_at_their_longest(checkpoint):
    lm, most = population_lm(checkpoint, members=3), []
    model_call = lm.model.forward

    def watched(*args, **kwargs):
        output = model_call(*args, **kwargs)
        cache = kwargs.get("cache") or kwargs.get("past_key_values")
        if not isinstance(cache, DynamicCache):
            tokens = cache.layers[0].keys.untyped_storage().nbytes() / (2 * 8 * 4)  # 2 heads of 8
            most.append(tokens / cache.layers[0].keys.shape[0])
        return output

    lm.model.forward = watched
    said(lm)
    longest = max(len(lm.tok_encode(prompt)) for prompt in PROMPTS)
    assert 0.5 * (longest + LONG["max_gen_toks"]) < max(most) <= longest + LONG["max_gen_toks"]


# ------------------------------------------------------------------------ when it ends
def test_a_response_is_done_at_the_first_token_that_ends_it():
    words = ["ab", "c", " ", "ST", "OP", "S", "TOP", "\u00e9"]

    def decode(tokens, clean):
        return "".join(words[token] for token in tokens if token < len(words))

    ending = Ending(decode, ["STOP", "", "c c"], 12, frozenset({99}), None)
    chance = random.Random(3)
    ends = set()
    for _ in range(3000):
        tokens = [chance.choice([*range(len(words)), 99]) for _ in range(12)]
        slow = next(
            length
            for length in range(1, 13)
            if tokens[length - 1] == 99
            or length == 12
            or "STOP" in decode(tokens[:length], False)
            or "c c" in decode(tokens[:length], False)
        )
        is_done = ending.watch()
        fast = next(length for length in range(1, 13) if is_done(tokens[:length]))
        assert fast == slow
        ends.add(tokens[slow - 1])
    assert {99, 4, 6, 1} <= ends


# --------------------------------------------------------------------------- falling back
@pytest.mark.parametrize(
    "arguments, reason",
    [
        ({"no_repeat_ngram_size": 2}, "no_repeat_ngram_size"),
        ({"min_new_tokens": 3}, "min_new_tokens"),
        ({"cache_implementation": "static"}, "cache_implementation"),
    ],
)
def test_an_argument_that_rows_cannot_have_alone_is_answered_static_and_said(
    checkpoint, caplog, arguments, reason
):
    arguments = {**LONG, **arguments, "max_gen_toks": 8}
    lm = population_lm(checkpoint, members=3)
    with caplog.at_level(logging.WARNING):
        texts = said(lm, arguments)
    lines = [r.message for r in caplog.records if r.message.startswith("batching: static for toy")]
    assert len(lines) == 1 and reason in lines[0]
    assert texts == said(population_lm(checkpoint, members=3, batching="static"), arguments)


@pytest.mark.parametrize("family, reason", [("gemma2", "Sliding"), ("bloom", "position_ids")])
def test_a_model_whose_rows_cannot_be_replaced_is_answered_static_and_said(
    tmp_path, caplog, family, reason
):
    path = tiny_checkpoint.save(tmp_path, family)
    with caplog.at_level(logging.WARNING):
        said(population_lm(path, members=3), {**LONG, "max_gen_toks": 3})
    lines = [r.message for r in caplog.records if r.message.startswith("batching: static for toy")]
    assert len(lines) == 1 and reason in lines[0]


def test_beams_in_the_generation_config_are_refused_and_not_answered_greedily(checkpoint):
    lm = population_lm(checkpoint, members=3)
    lm.model.generation_config.num_beams = 2
    with pytest.raises(UserError, match="num_beams: must be 1"):
        said(lm, {**LONG, "do_sample": False}, repeats=1)


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "dynamic", "factor": 2.0},
        {
            "rope_type": "longrope", "factor": 2.0, "original_max_position_embeddings": 64,
            "short_factor": [1.0] * 4, "long_factor": [2.0] * 4,
        },
    ],
)  # fmt: skip
def test_a_model_whose_positions_depend_on_the_longest_row_is_answered_static(
    tmp_path, caplog, rope
):
    path = tiny_checkpoint.save(tmp_path)
    file = tmp_path / "config.json"
    config = json.loads(file.read_text())
    config["rope_parameters"] |= rope
    file.write_text(json.dumps(config))
    with caplog.at_level(logging.WARNING):
        lm = population_lm(path, members=3)
        assert lm.engine.batching(generation(arguments=LONG)[0]) == "static"
    assert "scales positions by the longest row" in caplog.text


def test_a_learned_prompt_is_answered_static_and_said(checkpoint, caplog):
    from peft import PromptTuningConfig, get_peft_model

    lm = population_lm(checkpoint, members=3)
    tuned = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    lm._model = get_peft_model(lm.model, tuned)
    with caplog.at_level(logging.WARNING):
        assert lm.engine.batching(generation(arguments=LONG)[0]) == "static"
    assert "learned prompt" in caplog.text


def test_an_adapter_that_begins_within_the_prompt_is_answered_static_and_said(checkpoint, caplog):
    from peft import LoraConfig, get_peft_model

    lm = population_lm(checkpoint, members=3)
    begins = LoraConfig(
        task_type="CAUSAL_LM", target_modules=["q_proj"], alora_invocation_tokens=[6]
    )
    lm._model = get_peft_model(lm.model, begins)
    with caplog.at_level(logging.WARNING):
        assert lm.engine.batching(generation(arguments=LONG)[0]) == "static"
    assert "begins at a place in the prompt" in caplog.text


@pytest.mark.parametrize(
    "arguments, line",
    [
        ({"eos_token_id": 5}, "eos_token_id: is set for each response; use until instead"),
        ({"stop_strings": ["w5"]}, "stop_strings: is set for each response; use until instead"),
        ({"pad_token_id": 5}, "pad_token_id: is set for each response"),
        ({"temperature": -1.0}, "gen_kwargs: transformers refuses them"),
        ({"top_p": -0.5}, "gen_kwargs: transformers refuses them"),
        ({"repetition_penalty": 2}, "gen_kwargs: transformers refuses them"),
    ],
    ids=str,
)
@pytest.mark.parametrize("batching", ["refill", "static"])
def test_arguments_that_cannot_work_are_one_line_before_anything_is_generated(
    checkpoint, monkeypatch, arguments, line, batching
):
    lm = population_lm(checkpoint, members=3, batching=batching)
    for name in ("flow", "static"):
        monkeypatch.setattr(lm.engine.generation, name, lambda *rows: pytest.fail("generated"))
    with pytest.raises(UserError, match=line):
        said(lm, {**LONG, **arguments})


# ------------------------------------------------------------------------- no numbers
@pytest.mark.parametrize("batching", ["refill", "static"])
@pytest.mark.parametrize("arguments", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_a_model_that_says_no_numbers_says_no_text(checkpoint, batching, arguments):
    lm = population_lm(checkpoint, members=3, batching=batching)
    torch.nn.init.constant_(lm.model.get_output_embeddings().weight, torch.nan)
    with pytest.raises(UserError, match="sigma: the model's output is not finite"):
        said(lm, arguments, repeats=3)


def test_greedy_stock_responses_are_those_of_static_batches(checkpoint):
    """Bit for bit what `hf` says, so its batches are `hf`'s too."""
    lm = population_lm(checkpoint, sigma=0.0)
    assert lm.engine.batching(generation(arguments=GREEDY)[0]) == "static"
    assert lm.engine.batching(generation(arguments=SAMPLED)[0]) == "refill"


# ----------------------------------------------------------------------------- durability
class Killed(Exception):
    pass


def texts_of(path) -> list:
    with sqlite3.connect(path) as connection:
        return sorted(connection.execute("SELECT member, sample, prompt, text FROM responses"))


def test_a_finished_response_is_kept_at_once_and_only_the_rest_is_generated(
    checkpoint, tmp_path, monkeypatch
):
    path, other = str(tmp_path / "a.sqlite"), str(tmp_path / "b.sqlite")
    expected = said(population_lm(checkpoint, members=3, store=other))
    lm = population_lm(checkpoint, members=3, store=path)
    stream, finished = lm.engine.generation.flow, []

    def killed(rows, order):
        for group in stream(rows, order):
            finished.extend(group)
            yield group
            assert len(texts_of(path)) == len(finished)
            if len(finished) > 7:
                raise Killed

    monkeypatch.setattr(lm.engine.generation, "flow", killed)
    with pytest.raises(Killed):
        said(lm)
    assert 7 < len(finished) < len(expected)
    again = population_lm(checkpoint, members=3, store=path)
    begun = []
    monkeypatch.setattr(
        again.engine.generation,
        "flow",
        lambda rows, order, real=again.engine.generation.flow: (
            begun.extend(rows) or real(rows, order)
        ),
    )
    assert said(again) == expected
    assert len(begun) == len(expected) - len(finished)
    assert texts_of(path) == texts_of(other)


def test_what_is_no_longer_wanted_leaves_its_place_and_touches_no_other(checkpoint):
    unwanted = set()

    class Wanted(InOrder):
        def wants(self, item):
            return item not in unwanted

    lm = population_lm(checkpoint, members=3, batch_size=4)
    asked, _, _ = questions(lm)
    rows = [Row(question, draw) for question in asked for draw in range(len(question.draws))]
    generate = lm.engine.generation.generate
    whole = {row: text for group in generate(rows, InOrder) for row, text in group}
    assert len(whole) == len(rows)
    said = {}
    for group in generate(rows, Wanted):
        said.update(group)
        unwanted |= {*rows[:-1]} - {*said}
    assert 1 < len(said) < len(rows) / 2 and rows[-1] in said
    assert said == {row: whole[row] for row in said}


def test_rows_that_are_needed_and_never_begun_are_no_end(checkpoint):
    class Lazy(InOrder):
        def take(self, most, early):
            return super().take(most, early) if len(self._items) > 3 else []

    lm = population_lm(checkpoint, members=3, batch_size=4)
    asked, _, _ = questions(lm)
    rows = [Row(question, draw) for question in asked for draw in range(len(question.draws))]
    with pytest.raises(RuntimeError, match="rows of toy are needed and were not begun"):
        list(lm.engine.generation.generate(rows, Lazy))


def test_the_model_is_its_own_while_the_caller_has_the_turn(checkpoint):
    lm = population_lm(checkpoint, members=3)
    tokens = torch.tensor([[5, 6, 7]])
    stock = lm.model(tokens).logits
    answers = lm.runner._answering.answers(*questions(lm))
    for _ in range(5):
        next(answers)
        assert torch.equal(lm.model(tokens).logits, stock)


def questions(lm):
    from btrans_eval.harness.plan import plan_questions

    requests = cloned(generation(PROMPTS, LONG, REPEATS))
    return plan_questions(requests, lm.population_config, lm.runner._is_sampled), InOrder, True


# ------------------------------------------------------------------------- out of memory
class Starved(Refill):
    """The device has memory for ``most`` rows, and none at all in the first steps' course."""

    most = 8
    steps = 0

    def _step(self):
        Starved.steps += 1
        if len(self._rows) > self.most and Starved.steps > 12:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        super()._step()


def test_out_of_memory_halves_the_rows_and_loses_no_finished_response(
    checkpoint, tmp_path, monkeypatch, caplog
):
    expected = said(population_lm(checkpoint, members=3, batch_size=8))
    monkeypatch.setattr(hf_generation, "Refill", Starved)
    monkeypatch.setattr(Starved, "most", 3)
    monkeypatch.setattr(Starved, "steps", 0)
    path = str(tmp_path / "s.sqlite")
    with caplog.at_level(logging.WARNING):
        assert said(population_lm(checkpoint, members=3, batch_size=8, store=path)) == expected
    lines = [r.message for r in caplog.records if r.message.startswith("out of memory")]
    assert lines == [
        "out of memory with 8 rows: going on with 4 at once",
        "out of memory with 4 rows: going on with 2 at once",
    ]
    assert len(texts_of(path)) == len(expected)


def test_no_memory_for_one_row_is_one_line(checkpoint, monkeypatch):
    monkeypatch.setattr(hf_generation, "Refill", Starved)
    monkeypatch.setattr(Starved, "most", 0)
    monkeypatch.setattr(Starved, "steps", 99)
    with pytest.raises(UserError, match="batch_size: memory does not suffice for a single row"):
        said(population_lm(checkpoint, members=3))


# --------------------------------------------------------------------------- batch_size=auto
def test_auto_begins_with_what_fits_and_not_with_one(checkpoint, monkeypatch, caplog):
    lm = population_lm(checkpoint, members=3, batch_size="auto", max_batch_size=16)
    with caplog.at_level(logging.WARNING):
        assert said(lm) == said(population_lm(checkpoint, members=3))
    assert any("auto begins with 16 rows" in r.message for r in caplog.records)


def test_auto_counts_keys_and_values_of_a_row_at_its_longest(checkpoint, monkeypatch):
    from btrans_eval.model_adapters.hf import capacity

    lm = population_lm(checkpoint)
    # 2 layers, keys and values, 2 heads of 8 float32
    of_token = 2 * 2 * 2 * 8 * 4

    class Memory:
        available = 2 * 50 * of_token * 7

    monkeypatch.setattr(capacity.psutil, "virtual_memory", lambda: Memory)
    assert capacity.rows_that_fit(lm.model, 1, 50, 64) == 7
    assert capacity.rows_that_fit(lm.model, 1, 50, 4) == 4
    assert capacity.rows_that_fit(lm.model, 1, 10**6, 64) == 1


def test_auto_without_keys_and_values_begins_with_the_most():
    from btrans_eval.model_adapters.hf import capacity

    config = transformers.MambaConfig(
        vocab_size=64, hidden_size=16, state_size=4, num_hidden_layers=2
    )
    model = transformers.MambaForCausalLM(config).eval()
    assert capacity.rows_that_fit(model, 1, 10**6, 64) == 64
