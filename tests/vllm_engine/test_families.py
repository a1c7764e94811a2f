"""Normalization layers of every kind: the members of btrans-hf in vLLM, gains included."""

from __future__ import annotations

import pytest
import small_checkpoints
from engine import PROMPTS, instance, population_lm
from vllm_lm import close, said, vllm_lm

GREEDY = {"until": [], "max_gen_toks": 8, "do_sample": False}
LAYERS = {"qwen3": 9, "gemma2": 9, "gpt2": 5, "olmo2": 9, "qwen3-moe": 9}


@pytest.mark.parametrize("family", LAYERS)
def test_members_are_those_of_btrans_hf(family, tmp_path):
    checkpoint = small_checkpoints.save(tmp_path, family)
    lm = vllm_lm(checkpoint, prior="scaled", sigma=0.2)
    try:
        assert len(lm.runner.population.layers) == LAYERS[family]
        assert lm.engine.members_at_once > 1, "members of this family do not share batches"
        other = population_lm(checkpoint, dtype="float32", max_length=256)
        other.become(lm.population_config, None)
        assert lm.runner.population.digest() == other.runner.population.digest()
        assert said(lm, PROMPTS, GREEDY) == said(other, PROMPTS, GREEDY)
        requests = [instance("loglikelihood", ("w5 w6", f" w{n}"), n) for n in (3, 14, 40)]
        assert [value for value, _ in lm.loglikelihood(requests)] == pytest.approx(
            [value for value, _ in other.loglikelihood(requests)], abs=1e-4
        )
    finally:
        close(lm)
