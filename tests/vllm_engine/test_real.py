"""The same members of a real model on real rows, in both engines."""

from __future__ import annotations

import pytest
import real_model
import torch
from engine import cloned, generation, instance
from real import needs_demo_model, needs_hub
from vllm_lm import SHARE, close

from btrans_eval.model_adapters.hf import BTransHF
from btrans_eval.model_adapters.vllm import BTransVLLM

pytestmark = [needs_hub, needs_demo_model]
PROMPTS, MEMBERS, TOKENS = 8, 8, 24
NEAR_TIE = 1e-3
GREEDY = {"until": ["Question:"], "max_gen_toks": TOKENS, "do_sample": False}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    return real_model.save(tmp_path_factory.mktemp("smollm2"))


@pytest.fixture(scope="module")
def hf(checkpoint):
    return BTransHF(checkpoint, sigma=0.01, members=MEMBERS, dtype="float32", batch_size=16)


@pytest.fixture(scope="module")
def vllm(checkpoint):
    lm = BTransVLLM(
        checkpoint, sigma=0.01, members=MEMBERS, dtype="float32", batch_size="auto",
        enforce_eager=True, max_model_len=1024, **SHARE,
    )  # fmt: skip
    yield lm
    close(lm)


def first_gap(hf, member, prompt, tokens) -> float:
    """How far the first token that btrans-hf would not have chosen lies below its choice."""
    fed = torch.tensor([prompt + tokens[:-1]])
    with hf.runner.population.members([member]), torch.no_grad():
        logits = hf.model(fed).logits[0, len(prompt) - 1 :]
    chosen = logits.gather(1, torch.tensor(tokens)[:, None])[:, 0]
    gaps = logits.max(1).values - chosen
    return float(gaps[gaps > 0][0]) if (gaps > 0).any() else 0.0


def test_the_same_member_says_the_same_in_both_engines(hf, vllm, monkeypatch):
    assert hf.runner.population.digest() == vllm.runner.population.digest()
    asked = [
        hf.apply_chat_template([{"role": "user", "content": row["question"]}])
        for row in real_model.rows(PROMPTS)
    ]
    outputs = []
    generate = vllm.engine._engines.generate

    def watched(prompts, parameters, adapter):
        found = generate(prompts, parameters, adapter)
        members = [int(each["cache_salt"].rpartition(":")[2]) for each in prompts]
        outputs.extend(zip(members, found, strict=True))
        return found

    monkeypatch.setattr(vllm.engine._engines, "generate", watched)
    requests = generation(asked, GREEDY, MEMBERS)
    ours = vllm.generate_until(cloned(requests))
    theirs = hf.generate_until(cloned(requests))
    assert len(outputs) == PROMPTS * MEMBERS
    assert len(set(ours)) > PROMPTS * MEMBERS * 0.6, "members hardly differ"
    same = sum(a == b for a, b in zip(ours, theirs, strict=True))
    gaps = [
        first_gap(hf, member, list(output.prompt_token_ids), list(output.outputs[0].token_ids))
        for member, output in outputs
    ]
    print(f"{same} of {len(ours)} texts are equal; largest gap of a choice {max(gaps):.2g}")
    assert same >= 0.95 * len(ours)
    assert max(gaps) <= NEAR_TIE


def test_the_members_loglikelihoods_are_the_same(hf, vllm):
    pairs = [
        instance("loglikelihood", (row["question"], " " + row["answer"][:60]), place)
        for place, row in enumerate(real_model.rows(4))
    ]
    for lm in (hf, vllm):  # each member alone, and what they say together
        lm.values = []
        for member in range(2):
            with lm.engine.answering(member):
                tokens = [tuple(map(lm.tok_encode, pair.args)) for pair in pairs]
                lm.values += [v for v, _ in lm.engine.score([(None, *t) for t in tokens], None)]
    assert vllm.values == pytest.approx(hf.values, abs=1e-3)
    together = [[value for value, _ in lm.loglikelihood(pairs)] for lm in (vllm, hf)]
    assert together[0] == pytest.approx(together[1], abs=1e-3)
