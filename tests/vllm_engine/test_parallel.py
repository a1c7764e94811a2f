"""The same members from compiled graphs, sharded layers, and several engines.

Pipelines are left out: vLLM 0.32.0 itself fails on them on CPUs (its model runner there makes no
room for what one stage hands to the next).
"""

from __future__ import annotations

import os

import pytest
import small_checkpoints
from engine import PROMPTS, instance, population_lm
from vllm_lm import close, said, vllm_lm

GREEDY = {"until": [], "max_gen_toks": 12, "do_sample": False}
PAIRS = [("w5 w6", " w7 w8"), ("w5 w6 w8", " w9"), ("w11", " w12 w13 w14")]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    return small_checkpoints.save(tmp_path_factory.mktemp("qwen3"), "qwen3")


@pytest.fixture(scope="module")
def expected(checkpoint):
    lm = population_lm(checkpoint, dtype="float32", max_length=256, sigma=0.1, members=3)
    return answers(lm)


def answers(lm):
    pairs = [instance("loglikelihood", pair, place) for place, pair in enumerate(PAIRS)]
    return said(lm, PROMPTS, GREEDY), [value for value, _ in lm.loglikelihood(pairs)]


@pytest.mark.parametrize(
    "arguments",
    [{"enforce_eager": False}, {"tensor_parallel_size": 2}],
    ids=lambda arguments: next(iter(arguments)),
)
def test_members_are_the_same_however_the_model_is_run(
    checkpoint, expected, arguments, monkeypatch
):
    if "enforce_eager" not in arguments:  # one core for each worker; vLLM gives each a NUMA node
        monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "0|1")
    lm = vllm_lm(checkpoint, **arguments)
    try:
        assert (lm.engine.members_at_once > 1) == ("enforce_eager" in arguments)
        texts, values = answers(lm)
    finally:
        close(lm)
    assert texts == expected[0]
    assert values == pytest.approx(expected[1], abs=1e-4)


def test_members_are_the_same_in_each_of_two_engines(checkpoint, expected):
    ray = pytest.importorskip("ray", reason="ray is not installed (make test-vllm has it)")
    # the actors see neither pytest's path nor its working folder
    ray.init(num_cpus=2, include_dashboard=False, runtime_env={"env_vars": dict(os.environ)})
    try:
        lm = vllm_lm(checkpoint, data_parallel_size=2)
        texts, values = answers(lm)
        assert lm.get_model_info()["btrans"]["norms_matched"] == 9
    finally:
        ray.shutdown()
    assert texts == expected[0]
    assert values == pytest.approx(expected[1], abs=1e-4)
