"""btrans-hf with a store: nothing is generated twice, and nothing is taken for something else."""

from __future__ import annotations

import logging
import sqlite3
from types import SimpleNamespace

import pytest
import tiny_checkpoint
import torch
import transformers
from engine import GREEDY, PROMPTS, SAMPLED, cloned, generation, instance, population_lm
from lm_eval.models.huggingface import HFLM

from btrans_eval.errors import UserError
from btrans_eval.harness.response import Response
from btrans_eval.population import fingerprint

REPEATS = 3


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    return tiny_checkpoint.save(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def path(tmp_path) -> str:
    return str(tmp_path / "responses.sqlite")


class Counted:
    """A model with a store, batch by batch, and how many rows it has generated."""

    def __init__(self, checkpoint, path, **arguments):
        own = {"members": 3, "batching": "static", **arguments}
        self.lm = population_lm(checkpoint, store=path, **own)
        self.rows = 0
        self.batches = []
        generate = self.lm.engine.generation.static

        def counted(batch):
            self.rows += len(batch)
            self.batches.append([(r.question.request.args[0], r.draw) for r in batch])
            return generate(batch)

        self.lm.engine.generation.static = counted

    def run(self, prompts=PROMPTS, arguments=SAMPLED, repeats=REPEATS):
        return self.lm.generate_until(cloned(generation(prompts, arguments, repeats)))


def rows(path) -> list:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT task, member, sample, text, tokens, finish FROM responses")
    return sorted(found.fetchall())


@pytest.mark.parametrize("arguments", [GREEDY, SAMPLED])
def test_a_second_run_generates_nothing_and_says_the_same(checkpoint, path, arguments):
    first = Counted(checkpoint, path)
    texts = first.run(arguments=arguments)
    assert first.rows == len(PROMPTS) * REPEATS == len(rows(path))
    second = Counted(checkpoint, path)
    again = second.run(arguments=arguments)
    assert again == texts and second.rows == 0
    assert [(t.tokens, t.truncated) for t in again] == [(t.tokens, t.truncated) for t in texts]


def test_a_store_changes_no_response(checkpoint, path):
    without = population_lm(checkpoint, members=3)
    requests = cloned(generation(arguments=SAMPLED, repeats=REPEATS))
    assert Counted(checkpoint, path).run() == without.generate_until(requests)


class Killed(Exception):
    pass


@pytest.mark.parametrize("batches", [0, 1, 2])
def test_an_interrupted_run_goes_on_with_the_same_batches(checkpoint, path, tmp_path, batches):
    undisturbed = Counted(checkpoint, str(tmp_path / "other.sqlite"))
    texts = undisturbed.run()
    first = Counted(checkpoint, path)
    generate = first.lm.engine.generation.static

    def killed(batch):
        if len(first.batches) == batches:
            raise Killed
        return generate(batch)

    first.lm.engine.generation.static = killed
    with pytest.raises(Killed):
        first.run()
    assert len(rows(path)) == 4 * batches
    second = Counted(checkpoint, path)
    assert second.run() == texts
    assert second.batches == undisturbed.batches[batches:]
    assert rows(path) == rows(str(tmp_path / "other.sqlite"))


def test_a_batch_of_which_a_part_is_stored_is_run_whole_and_the_stored_part_stays(checkpoint, path):
    first = Counted(checkpoint, path)
    texts = first.run()
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM responses WHERE id = 2")
        kept = connection.execute("SELECT id, key, created FROM responses").fetchall()
    second = Counted(checkpoint, path)
    assert second.run() == texts
    assert second.batches == first.batches[:1]
    with sqlite3.connect(path) as connection:
        now = connection.execute("SELECT id, key, created FROM responses").fetchall()
    assert set(kept) < set(now) and len(now) == len(kept) + 1


def test_what_is_stored_is_counted_in_the_progress_bar(checkpoint, path, capsys):
    Counted(checkpoint, path).run(PROMPTS[:2])
    capsys.readouterr()
    Counted(checkpoint, path).run()
    bars = [bar for bar in capsys.readouterr().err.split("\r") if "Responses" in bar]
    assert " 50%" in bars[0]


def test_a_limit_that_was_raised_generates_the_rest(checkpoint, path):
    Counted(checkpoint, path, batch_size=REPEATS).run(PROMPTS[:1])
    more = Counted(checkpoint, path, batch_size=REPEATS)
    more.run()
    assert len(rows(path)) == len(PROMPTS) * REPEATS
    assert more.rows == (len(PROMPTS) - 1) * REPEATS


CHANGES = {
    "sigma": {"sigma": 0.4},
    "mu": {"mu": 0.1},
    "prior": {"prior": "scaled"},
    "norms": {"norms": "layers.0"},
    "noise": {"noise": "token"},
    "seed": {"seed": 1},
    "dtype": {"dtype": "bfloat16"},
    "attention": {"attn_implementation": "eager"},
    "think_end_token": {"think_end_token": "w11"},
    "context": {"max_length": 64},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_another_model_or_noise_generates_anew(checkpoint, path, change):
    Counted(checkpoint, path).run()
    other = Counted(checkpoint, path, **change)
    other.run()
    assert other.rows == len(PROMPTS) * REPEATS


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0.9},
        {"top_p": 0.9},
        {"max_gen_toks": 7},
        {"until": ["w9"]},
        {"do_sample": False, "temperature": 0.0},
    ],
    ids=str,
)
def test_other_generation_arguments_generate_anew(checkpoint, path, change):
    Counted(checkpoint, path).run()
    other = Counted(checkpoint, path)
    other.run(arguments={**SAMPLED, **change})
    assert other.rows == len(PROMPTS) * REPEATS


def test_more_samples_of_a_member_are_generated_beside_those_that_are_there(checkpoint, path):
    Counted(checkpoint, path, members=1).run(["w8"], repeats=2)
    more = Counted(checkpoint, path, members=1)
    more.run(["w8"], repeats=4)
    assert [(member, sample) for _, member, sample, *_ in rows(path)] == [(0, s) for s in range(4)]


def test_a_changed_generation_config_end_token_or_engine_generates_anew(
    checkpoint, path, monkeypatch
):
    Counted(checkpoint, path).run()
    other = Counted(checkpoint, path)
    other.lm.model.generation_config.top_k = 7
    other.run()
    assert other.rows == len(PROMPTS) * REPEATS
    other = Counted(checkpoint, path)
    other.lm.model.generation_config.eos_token_id = [2, 33]
    other.run()
    assert other.rows == len(PROMPTS) * REPEATS
    monkeypatch.setattr(transformers, "__version__", "6.1.0")
    other = Counted(checkpoint, path)
    other.run()
    assert other.rows == len(PROMPTS) * REPEATS


def test_another_prompt_of_the_same_row_generates_anew(checkpoint, path):
    Counted(checkpoint, path).run(["w5 w6"])
    other = Counted(checkpoint, path)
    other.run(["w5 w7"])
    assert other.rows == REPEATS


def test_the_same_prompt_in_another_task_is_the_same_response(checkpoint, path):
    first = Counted(checkpoint, path)
    texts = first.run(["w5 w6"])
    second = Counted(checkpoint, path)
    request = instance("generate_until", ("w5 w6", dict(SAMPLED)), 7, REPEATS)
    request.task_name = "another"
    assert second.lm.generate_until(cloned([request])) == texts
    assert second.rows == 0


# ------------------------------------------------------------------------ fingerprints
def test_a_fingerprint_changes_with_one_weight_and_not_with_its_surroundings(checkpoint):
    load = transformers.AutoModelForCausalLM.from_pretrained
    model = load(checkpoint)
    ours = fingerprint.of_model(model)
    assert fingerprint.of_model(load(checkpoint)) == ours
    for _, parameter in list(model.named_parameters())[::5]:
        changed = parameter.data.view(-1)[-1].clone()
        parameter.data.view(-1)[-1] += 1e-3
        assert fingerprint.of_model(model) != ours
        parameter.data.view(-1)[-1] = changed
    assert fingerprint.of_model(model) == ours
    model.config.rope_parameters["rope_theta"] = 1.0
    assert fingerprint.of_model(model) != ours


def test_a_fingerprint_tells_two_values_that_changed_places(checkpoint):
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint)
    ours = fingerprint.of_model(model)
    weight = model.lm_head.weight.data
    weight[[3, 4]] = weight[[4, 3]]
    assert fingerprint.of_model(model) != ours


def test_an_adapter_is_another_model(checkpoint):
    from peft import LoraConfig, get_peft_model

    load = transformers.AutoModelForCausalLM.from_pretrained
    plain = fingerprint.of_model(load(checkpoint))
    digests = {plain}
    for alpha in (8, 16):
        torch.manual_seed(0)
        adapter = LoraConfig(r=2, lora_alpha=alpha, target_modules=["q_proj"])
        digests.add(fingerprint.of_model(get_peft_model(load(checkpoint), adapter)))
    assert len(digests) == 3


def test_a_learned_prompt_is_another_model(checkpoint):
    from peft import PromptTuningConfig, get_peft_model

    digests = {fingerprint.of_model(transformers.AutoModelForCausalLM.from_pretrained(checkpoint))}
    for seed in (0, 1):
        torch.manual_seed(seed)
        base = transformers.AutoModelForCausalLM.from_pretrained(checkpoint)
        tuned = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
        digests.add(fingerprint.of_model(get_peft_model(base, tuned)))
    assert len(digests) == 3


def test_a_model_that_is_not_in_memory_is_refused():
    with torch.device("meta"):
        layer = torch.nn.Linear(2, 2)
    with pytest.raises(UserError, match="store: the weights of bias are offloaded"):
        fingerprint.of_model(layer)


def test_a_fingerprint_of_a_tokenizer(checkpoint):
    load = transformers.AutoTokenizer.from_pretrained
    tokenizer = load(checkpoint)
    ours = fingerprint.of_tokenizer(tokenizer)
    assert fingerprint.of_tokenizer(load(checkpoint)) == ours
    tokenizer(["w5", "w6 w7"], padding="longest", truncation=True, max_length=1)
    assert fingerprint.of_tokenizer(tokenizer) == ours  # its last use is no part of it
    tokenizer.clean_up_tokenization_spaces = not tokenizer.clean_up_tokenization_spaces
    assert fingerprint.of_tokenizer(tokenizer) != ours
    tokenizer = load(checkpoint)
    tokenizer.add_tokens(["w99"])
    assert fingerprint.of_tokenizer(tokenizer) != ours


# ---------------------------------------------------------------------- loglikelihoods
def choices() -> list:
    return [
        instance("loglikelihood", (context, f" w{word}"), doc)
        for doc, context in enumerate(["w5 w6", "w8", "w10 w11 w12", "w20", "w21 w22"])
        for word in (3, 14)
    ]


def counted_calls(lm) -> list:
    calls = []
    model_call = lm._model_call

    def counted(inps, *args, **kwargs):
        calls.append(inps.shape[0])
        return model_call(inps, *args, **kwargs)

    lm._model_call = counted
    return calls


def test_loglikelihoods_are_kept_and_are_the_same(checkpoint, path):
    without = population_lm(checkpoint, members=2, batch_size=2)
    expected = without.loglikelihood(choices())
    first = population_lm(checkpoint, members=2, batch_size=2, store=path)
    calls = counted_calls(first)
    assert first.loglikelihood(choices()) == expected
    assert calls == [2, 2, 1] * 2
    second = population_lm(checkpoint, members=2, batch_size=2, store=path)
    calls = counted_calls(second)
    assert second.loglikelihood(choices()) == expected and calls == []
    third = population_lm(checkpoint, members=2, batch_size=2, store=path, sigma=0.2)
    assert third.loglikelihood(choices()) != expected


def test_interrupted_loglikelihoods_go_on_with_the_same_batches(checkpoint, path):
    expected = population_lm(checkpoint, members=2, batch_size=2).loglikelihood(choices())
    first = population_lm(checkpoint, members=2, batch_size=2, store=path)
    model_call = first._model_call

    def killed(inps, *args, **kwargs):
        if len(calls) == 4:
            raise Killed
        calls.append(inps.shape[0])
        return model_call(inps, *args, **kwargs)

    calls = []
    first._model_call = killed
    with pytest.raises(Killed):
        first.loglikelihood(choices())
    second = population_lm(checkpoint, members=2, batch_size=2, store=path)
    rest = counted_calls(second)
    assert second.loglikelihood(choices()) == expected
    assert rest == [2, 1]


def test_scores_that_share_a_row_are_not_taken_for_scores_of_their_own(checkpoint, path):
    """The harness reads a continuation in the row of a longer one at the longer one's places."""
    pair = [
        instance("loglikelihood", ("w5 w6", " w7 w8"), 0),
        instance("loglikelihood", ("w5 w6 w7", " w8"), 1),
    ]
    population_lm(checkpoint, members=2, store=path).loglikelihood(pair)
    alone = population_lm(checkpoint, members=2, store=path).loglikelihood(pair[1:])
    assert alone == population_lm(checkpoint, members=2).loglikelihood(pair[1:])


def test_rolling_loglikelihoods_are_kept(checkpoint, path):
    document = [instance("loglikelihood_rolling", (" ".join(PROMPTS),))]
    arguments = {"members": 2, "max_length": 4, "batch_size": 2}
    expected = population_lm(checkpoint, **arguments).loglikelihood_rolling(document)
    first = population_lm(checkpoint, store=path, **arguments)
    assert first.loglikelihood_rolling(document) == expected
    second = population_lm(checkpoint, store=path, **arguments)
    calls = counted_calls(second)
    assert second.loglikelihood_rolling(document) == expected and calls == []


@pytest.mark.parametrize("logits_cache", [True, False])
def test_our_batches_of_loglikelihoods_are_the_harnesss(checkpoint, logits_cache):
    stock = HFLM(checkpoint, device="cpu", batch_size=3, logits_cache=logits_cache)
    ours = population_lm(checkpoint, sigma=0.0, batch_size=3, logits_cache=logits_cache)
    requests = choices() + [
        instance("loglikelihood", ("w5 w6", " w3 w4"), 9),  # as long a row as another's
        instance("loglikelihood", ("w5 w6 w3", " w4"), 10),
        instance("loglikelihood", ("", " w4"), 11),
    ]
    seen = [[], []]
    for lm, shapes in zip((stock, ours), seen, strict=True):
        model_call = lm._model_call
        lm._model_call = lambda inps, shapes=shapes, call=model_call, **k: (
            shapes.append(inps.tolist()) or call(inps, **k)
        )
    assert ours.loglikelihood(requests) == stock.loglikelihood(requests)
    assert seen[0] == seen[1]


def test_auto_finds_the_harnesss_batches_of_loglikelihoods(checkpoint, path, monkeypatch):
    """And keeps each at once; with all of them stored, none is looked for."""
    auto = {"batch_size": "auto", "max_batch_size": 4}
    stock = HFLM(checkpoint, device="cpu", **auto)
    shapes = counted_calls(stock)
    expected = stock.loglikelihood(choices())
    ours = population_lm(checkpoint, sigma=0.0, store=path, **auto)
    calls, kept = counted_calls(ours), []
    write = ours.runner._shelf.write_likelihoods
    ours.runner._shelf.write_likelihoods = lambda *of: kept.append(len(of[1])) or write(*of)
    assert ours.loglikelihood(choices()) == expected
    assert calls == shapes and calls[-2:] == [4, 1]
    assert len(kept) == 2
    again = population_lm(checkpoint, sigma=0.0, store=path, **auto)
    calls = counted_calls(again)
    assert again.loglikelihood(choices()) == expected and calls == []


def test_auto_looks_for_the_batch_size_once_for_all_members(checkpoint, monkeypatch):
    auto = {"batch_size": "auto", "max_batch_size": 4}
    lm = population_lm(checkpoint, members=3, **auto)
    looked, detect = [], lm._detect_batch_size
    monkeypatch.setattr(lm, "_detect_batch_size", lambda *of: looked.append(of) or detect(*of))
    fixed = population_lm(checkpoint, members=3, batch_size=4)
    assert lm.loglikelihood(choices()) == fixed.loglikelihood(choices())
    assert len(looked) == 1


def test_a_loglikelihood_that_is_no_number_is_told(checkpoint, path):
    lm = population_lm(checkpoint, members=2, store=path)
    torch.nn.init.constant_(lm.model.get_output_embeddings().weight, torch.nan)
    with pytest.raises(UserError, match="sigma: a loglikelihood of member 0 is not a number"):
        lm.loglikelihood(choices())


# ------------------------------------------------------------------------- out of memory
def starved(lm, most: int):
    """The device has memory for ``most`` rows."""
    generate = lm.engine.generation.static
    sizes = []

    def limited(batch):
        sizes.append(len(batch))
        if len(batch) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return generate(batch)

    lm.engine.generation.static = limited
    return sizes


@pytest.mark.parametrize("most, sizes", [(3, [4, 2, 2, 2, 2, 2, 2]), (1, [4, 2] + [1] * 12)])
def test_out_of_memory_halves_the_batch_and_goes_on(checkpoint, path, caplog, most, sizes):
    expected = population_lm(checkpoint, members=3).generate_until(
        cloned(generation(arguments=SAMPLED, repeats=REPEATS))
    )
    run = Counted(checkpoint, path)
    tried = starved(run.lm, most)
    with caplog.at_level(logging.WARNING):
        assert run.run() == expected
    assert tried == sizes
    said = [r.message for r in caplog.records if "out of memory with" in r.message]
    assert len(said) == {3: 1, 1: 2}[most]


def test_memory_for_not_even_one_row_is_one_line_and_keeps_what_was_done(checkpoint, path):
    Counted(checkpoint, path).run(PROMPTS[2:3])
    run = Counted(checkpoint, path)
    starved(run.lm, 0)
    with pytest.raises(UserError, match="batch_size: memory does not suffice for a single row"):
        run.run()
    assert len(rows(path)) == REPEATS


def test_another_runtime_error_is_not_out_of_memory(checkpoint):
    lm = population_lm(checkpoint, batching="static")
    lm.engine.generation.static = lambda batch: (_ for _ in ()).throw(
        RuntimeError("shape mismatch")
    )
    with pytest.raises(RuntimeError, match="shape mismatch"):
        lm.generate_until(generation())


def test_out_of_memory_in_loglikelihoods(checkpoint, path):
    expected = population_lm(checkpoint, members=2, batch_size=1).loglikelihood(choices())
    lm = population_lm(checkpoint, members=2, batch_size=4, store=path)
    model_call = lm._model_call

    def limited(inps, *args, **kwargs):
        if inps.shape[0] > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return model_call(inps, *args, **kwargs)

    lm._model_call = limited
    found = lm.loglikelihood(choices())
    for (value, greedy), (other, other_greedy) in zip(found, expected, strict=True):
        assert value == pytest.approx(other, abs=1e-5) and greedy == other_greedy


# ------------------------------------------------------------------------------- odd input
def test_odd_prompts_pass_through_the_store(checkpoint, path):
    prompts = ["", "w5 \U0001f600 w6", "\u05e9\u05dc\u05d5\u05dd w7", "w5 \x00 w6", "w4 " * 300]
    first = Counted(checkpoint, path)
    texts = first.run(prompts)
    assert Counted(checkpoint, path).run(prompts) == texts


def test_odd_responses_pass_through_the_store(checkpoint, path):
    odd = ["\U0001f600", "\u05e9\u05dc\u05d5\u05dd", "a\x00b", "", "'; DROP TABLE responses; --"]
    first = Counted(checkpoint, path)
    first.lm.engine.generation.static = lambda batch: [
        Response(odd[int(r.question.request.args[0][2:])], 1, False) for r in batch
    ]
    prompts = [f"w1{n}" for n in range(len(odd))]
    texts = first.run(prompts, repeats=2)
    assert texts == [text for text in odd for _ in range(2)]
    second = Counted(checkpoint, path)
    assert second.run(prompts, repeats=2) == texts and second.rows == 0


def test_a_limit_of_one_token(checkpoint, path):
    texts = Counted(checkpoint, path).run(arguments={**SAMPLED, "max_gen_toks": 1})
    assert all(text.tokens <= 1 for text in texts)


def test_a_prompt_that_cannot_be_tokenized_is_told_before_anything_is_generated(checkpoint, path):
    run = Counted(checkpoint, path)
    encode = run.lm.tok_encode

    def failing(text, *args, **kwargs):
        if text == "w8":
            raise ValueError("bad bytes")
        return encode(text, *args, **kwargs)

    run.lm.tok_encode = failing
    expected = r"toy: the tokenizer fails on the prompt of row 1 \(ValueError: bad bytes\)"
    with pytest.raises(UserError, match=expected):
        run.run()
    assert run.rows == 0


def test_verdicts_on_answers_are_kept(checkpoint, path):
    judge = population_lm(checkpoint, store=path).runner.judge
    assert judge.equal("x+1", "1+x", "latex") is True
    assert judge.equal("x+1", "x+2", "latex") is False
    lm = population_lm(checkpoint, store=path)
    again = lm.runner._shelf.store.verdicts("another release")
    assert not any(pair in again for pair in list(judge.verdicts))
    judge = lm.runner.judge  # its verdicts are read from the file
    judge.pool = SimpleNamespace(run=lambda pairs: pytest.fail("judged again"))
    assert judge.equal("x+1", "1+x", "latex") is True
    assert judge.equal("x+2", "x+1", "latex") is False
