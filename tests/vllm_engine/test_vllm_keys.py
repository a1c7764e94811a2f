"""Keys and seeds of sampled responses in btrans-vllm, without an engine."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import vllm_lm
from engine import GREEDY, SAMPLED, instance
from tiny_checkpoint import tokenizer

from btrans_eval.errors import UserError
from btrans_eval.harness.batches import Row
from btrans_eval.harness.plan import Question
from btrans_eval.model_adapters.vllm.generation import Generation
from btrans_eval.model_adapters.vllm.stock import StockVLLM
from btrans_eval.store.keys import canonical

END = "</s>"


@pytest.fixture
def generation() -> Generation:
    known = tokenizer()
    lm = SimpleNamespace(
        tokenizer=known, eot_token_id=known.eos_token_id, max_gen_toks=8, max_length=64,
        modify_gen_kwargs=StockVLLM.modify_gen_kwargs, think_end_token=None, prefix_token_id=1,
        tok_encode=known.encode, truncation_side="left",
    )  # fmt: skip
    made = Generation(lm, lambda *given: [], 4, 4, None)
    made.become(SimpleNamespace(seed=0), 1)
    return made


def key_and_seed(generation, arguments):
    request = instance("generate_until", ("w5", arguments))
    question = Question(request, [(0, 0)], wants_all=False)
    return canonical(generation.asked(request)), generation._seed(Row(question, 0))


def test_responses_of_two_seeds_have_two_keys(generation):
    given = [
        {**SAMPLED, "until": until, **more}
        for until in (["w9"], ["w9", END], [END, "w9"], ["", "w9"], [])
        for more in ({}, {"do_sample": 1}, {"skip_special_tokens": False}, {"seed": 3})
    ]
    found = [key_and_seed(generation, arguments) for arguments in given]
    assert len({seed for _, seed in found}) == len({key for key, _ in found}) == len(given)


def test_keys_of_usual_arguments_are_those_of_stores_that_exist(generation):
    for arguments in (SAMPLED, GREEDY, {**SAMPLED, "seed": 3, "top_p": 0.9}):
        for until, resolved in ((["w9"], ["w9", END]), ("w9", ["w9", END]), ([], [END])):
            asked = generation.asked(instance("g", ("w5", {**arguments, "until": until})))
            assert asked["until"] == resolved
    greedy = generation.asked(instance("g", ("w5", {**GREEDY, "until": ["w9", END]})))
    assert greedy["until"] == ["w9", END]


def test_an_empty_stop_string_is_none(generation):
    request = instance("generate_until", ("w5", {**GREEDY, "until": ["", "w9"]}))
    arguments, until, limit = generation._resolve(request)
    assert until == ["w9", END]
    row = Row(Question(request, [(0, 0)], wants_all=False), 0)
    assert generation._parameters(row, arguments, until, limit).stop == ["w9", END]


def test_no_size_of_a_batch_is_refused_before_vllm_starts():
    with pytest.raises(UserError, match="^batch_size: must be a whole number of at least 1"):
        vllm_lm.BTransVLLM("nowhere", sigma=0.1, batch_size=0)
