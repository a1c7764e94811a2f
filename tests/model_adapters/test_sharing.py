"""What prompts begin with alike is read once a member, and nothing that is said depends on it."""

from __future__ import annotations

import math
import sqlite3

import pytest
import tiny_checkpoint
import torch
from engine import SAMPLED, cloned, generation, instance, population_lm

from btrans_eval.model_adapters.hf import generation as hf_generation
from btrans_eval.model_adapters.hf import prefixes, sharing

EXAMPLES = [" ".join(f"w{3 + (n * step) % 60}" for n in range(12)) for step in (1, 7)]
PROMPTS = [f"{EXAMPLES[n % 2]} w{20 + n}" + " w7" * (n % 3) for n in range(8)]
GREEDY = {"until": [], "max_gen_toks": 12, "do_sample": False}
MEMBERS = 3


@pytest.fixture(autouse=True)
def short_ones_count(monkeypatch):
    monkeypatch.setattr(prefixes, "LEAST", 4)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    return tiny_checkpoint.save(tmp_path_factory.mktemp("llama"))


def made(checkpoint, **own):
    """A population, and how many tokens each forward pass of it was given."""
    lm = population_lm(checkpoint, **{"members": MEMBERS, **own})
    fed: list[int] = []
    lm.model.get_input_embeddings().register_forward_hook(
        lambda module, args, output: fed.append(args[0].numel())
    )
    return lm, fed


def said(lm, arguments, prompts=PROMPTS, repeats=MEMBERS):
    return [
        str(text) for text in lm.generate_until(cloned(generation(prompts, arguments, repeats)))
    ]


def both(checkpoint, arguments, **own):
    """Texts, and tokens fed, of static batches and of shared beginnings."""
    static, all_tokens = made(checkpoint, batching="static", **own)
    shared, tokens = made(checkpoint, **own)
    return (said(static, arguments), sum(all_tokens)), (said(shared, arguments), sum(tokens))


@pytest.mark.parametrize("batch_size", [1, 3, 8, 64])
@pytest.mark.parametrize("arguments", [GREEDY, {**SAMPLED, "max_gen_toks": 12}], ids=str)
def test_texts_are_those_of_prompts_that_are_read_whole(checkpoint, arguments, batch_size):
    (static, whole), (shared, tokens) = both(checkpoint, arguments, batch_size=batch_size)
    assert shared == static
    assert len(set(shared)) > 10 and tokens < 0.7 * whole


@pytest.mark.parametrize("own", [{"noise_from": "generation"}, {"noise": "token"}], ids=str)
def test_wherever_noise_is(checkpoint, own):
    (static, _), (shared, _) = both(checkpoint, GREEDY, **own)
    assert shared == static


@pytest.mark.parametrize("family", ["qwen3", "qwen3-moe", "phi3", "olmo2"])
def test_families(family, tmp_path):
    path = tiny_checkpoint.save(tmp_path, family)
    (static, whole), (shared, tokens) = both(path, GREEDY, batch_size=8)
    assert shared == static and tokens < 0.7 * whole


def test_an_adapter(checkpoint, tmp_path):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    lora = LoraConfig(target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(checkpoint), lora).save_pretrained(tmp_path)
    (static, whole), (shared, tokens) = both(checkpoint, GREEDY, peft=str(tmp_path))
    assert shared == static and tokens < 0.8 * whole


def test_members_do_not_share_what_they_read(checkpoint, monkeypatch):
    static = said(made(checkpoint, batching="static")[0], GREEDY)
    share = hf_generation.share
    monkeypatch.setattr(hf_generation, "share", lambda texts, _: share(texts, True))
    assert said(made(checkpoint)[0], GREEDY) != static


def test_a_beginning_without_noise_is_one_for_all_members(checkpoint):
    one = f"{EXAMPLES[0]} w9 w8"
    for noise_from, expected in (("generation", 13 + MEMBERS), ("prompt", MEMBERS * 14)):
        lm, fed = made(checkpoint, noise_from=noise_from, batch_size=8)
        fed.clear()
        said(lm, {**GREEDY, "max_gen_toks": 1}, [one])
        assert sum(fed[-2:]) == expected, fed


def test_what_does_not_fit_into_memory_is_read_whole(checkpoint, monkeypatch):
    static = said(made(checkpoint, batching="static")[0], GREEDY)
    lm, tokens = made(checkpoint)
    enough = said(lm, GREEDY), sum(tokens)
    monkeypatch.setattr(sharing, "bytes_for_prefixes", lambda device: 100)
    lm, tokens = made(checkpoint)
    assert enough[0] == said(lm, GREEDY) == static
    assert sum(tokens) > 1.3 * enough[1]


@pytest.mark.parametrize("batch_size", [1, 4])
def test_where_memory_runs_out_prompts_are_read_whole(checkpoint, monkeypatch, caplog, batch_size):
    """As many rows as before are tried first, and a single row does not end the run."""
    static = made(checkpoint, batching="static", batch_size=batch_size)[0]
    expected = said(static, GREEDY), scores(static, pairs())
    monkeypatch.setattr(prefixes.Prefixes, "_joined", out_of_memory)
    lm, _ = made(checkpoint, batch_size=batch_size)
    assert said(lm, GREEDY) == expected[0] and lm.engine.row_limit.most is None
    assert "read whole from now on" in caplog.text
    lm, _ = made(checkpoint, batch_size=batch_size)
    assert scores(lm, pairs())[0] == pytest.approx(expected[1][0], abs=1e-5)
    assert lm.engine.row_limit.most is None


def out_of_memory(*args):
    raise RuntimeError("CUDA out of memory.")


def test_batch_size_auto_shares_for_every_member(checkpoint):
    lm, tokens = made(checkpoint, batch_size="auto", max_batch_size=4)
    whole, all_tokens = made(checkpoint, batch_size="auto", max_batch_size=4, batching="static")
    assert scores(lm, pairs())[0] == pytest.approx(scores(whole, pairs())[0], abs=1e-5)
    assert sum(tokens[-12:]) < sum(all_tokens[-12:])


def test_a_model_that_cannot_generate_scores(checkpoint):
    lm, _ = made(checkpoint)
    expected = scores(lm, pairs())[0]
    lm, _ = made(checkpoint)
    lm.model.generation_config.stop_strings = ["w9"]
    assert scores(lm, pairs())[0] == pytest.approx(expected, abs=1e-5)


def test_the_model_itself_never_shares(checkpoint):
    arguments = {**SAMPLED, "max_gen_toks": 3}
    _, (_, tokens) = both(checkpoint, arguments, sigma=0.0, batch_size=64)
    _, (_, noisy) = both(checkpoint, arguments, batch_size=64)
    assert tokens > 1.3 * noisy
    lm, fed = made(checkpoint, sigma=0.0, batching="refill")
    stock, fed_stock = made(checkpoint, sigma=0.0, batching="static")
    assert lm.loglikelihood(pairs()) == stock.loglikelihood(pairs())
    assert sum(fed) == sum(fed_stock)


# ------------------------------------------------------------------------- loglikelihoods
def pairs(choices=(" w3", " w4", " w5 w6 w7", " w8 w9")):
    contexts = [f"{EXAMPLES[n % 2]} w{20 + n}" + " w7" * (n % 3) for n in range(5)]
    contexts += ["w11 w12", "w13"]
    return [
        instance("loglikelihood", (context, choice), place)
        for place, context in enumerate(contexts)
        for choice in choices
    ]


def scores(lm, asked):
    return [value for value, _ in lm.loglikelihood(asked)], [g for _, g in lm.loglikelihood(asked)]


@pytest.mark.parametrize("batch_size", [1, 4, 64])
@pytest.mark.parametrize(
    "own", [{}, {"noise_from": "generation"}, {"noise": "token"}, {"max_length": 10}], ids=str
)
def test_loglikelihoods_are_those_of_rows_that_are_read_whole(checkpoint, own, batch_size):
    if own.get("noise_from") == "generation" and batch_size > 1:
        pytest.skip("refused: rows of one batch could not be told apart")
    own = {**own, "batch_size": batch_size}
    static, shared = made(checkpoint, batching="static", **own), made(checkpoint, **own)
    values, are_greedy = scores(static[0], pairs())
    found, found_greedy = scores(shared[0], pairs())
    assert found == pytest.approx(values, abs=1e-5) and found_greedy == are_greedy
    assert sum(shared[1]) < sum(static[1])


def test_few_tokens_are_read_of_five_examples(checkpoint):
    asked = [
        instance("loglikelihood", (f"{' '.join([EXAMPLES[0]] * 5)} w{3 + n}", f" w{c}"), n)
        for n in range(30)
        for c in (3, 4, 5)
    ]
    static, shared = made(checkpoint, batching="static"), made(checkpoint)
    assert scores(shared[0], asked)[0] == pytest.approx(scores(static[0], asked)[0], abs=1e-5)
    assert sum(shared[1]) < 0.1 * sum(static[1])


def test_loglikelihoods_of_members_that_read_another_s_contexts_are_others(checkpoint, monkeypatch):
    values, _ = scores(made(checkpoint)[0], pairs())
    read = sharing.Contexts.read
    monkeypatch.setattr(sharing.Contexts, "read", lambda self, rows, _: read(self, rows, 7))
    assert scores(made(checkpoint)[0], pairs())[0] != pytest.approx(values, abs=1e-3)


def test_what_was_stored_in_part_ends_as_if_it_had_not_been(checkpoint, tmp_path):
    path = tmp_path / "store.sqlite"
    first = made(checkpoint, store=path)[0].loglikelihood(pairs())
    with sqlite3.connect(path) as connection:
        names = [
            n for (n,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")
        ]
        table = next(name for name in names if "likelihood" in name)
        gone = connection.execute(f"DELETE FROM {table} WHERE rowid % 3 != 0").rowcount
    assert gone > 20
    again = made(checkpoint, store=path)[0].loglikelihood(pairs())
    assert again == first and all(math.isfinite(value) for value, _ in first)


def test_rolling_loglikelihoods_stay(checkpoint):
    texts = [instance("loglikelihood_rolling", (" ".join([EXAMPLES[0]] * 3) + f" w{n}",), n)
             for n in range(3)]  # fmt: skip
    static = made(checkpoint, batching="static")[0].loglikelihood_rolling(texts)
    assert made(checkpoint)[0].loglikelihood_rolling(texts) == pytest.approx(static, abs=1e-4)
