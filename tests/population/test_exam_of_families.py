"""The exam of benchmarks/models.py for a sample of the families that it knows."""

from __future__ import annotations

import exam
import pytest

PLACES = {"noise=token", "noise_from=generation"}
# by family: the checks that are refused in one line, where some are
FAMILIES: dict[str, set[str]] = {
    "llama": set(),
    "llama4_text": set(),
    "qwen3": set(),
    "qwen3_next": PLACES,
    "qwen3_5_moe_text": PLACES,
    "olmo_hybrid": PLACES,
    "kimi_linear": set(),
    "bailing_hybrid": set(),
    "lara_mini": PLACES,
    "gemma3_text": set(),
    "gemma4_text": set(),
    "gpt_oss": set(),
    "deepseek_v3": set(),
    "deepseek_v4": PLACES,
    "glm4_moe": set(),
    "hy_v4": set(),
    "zaya": set(),
    "mamba2": PLACES,
    "zamba2": set(),
    "xlstm": set(),
    "bert": set(),
    "bart": set(),
    "opt": PLACES,
    "reformer": PLACES,
    "minimax": set(),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family(family):
    verdict = exam.examine(family)
    assert not verdict.built
    refused = {name for name, told in verdict.checks.items() if told.startswith("refused: noise")}
    held = {name for name, told in verdict.checks.items() if told == "holds"}
    assert refused == FAMILIES[family], verdict.checks
    assert held | refused == set(verdict.checks) >= set(exam.CHECKS), verdict.checks


def test_a_model_that_cannot_carry_a_population_is_refused_in_one_line():
    told = exam.examine("xlnet").checks
    assert list(told) == ["attaches"] and told["attaches"].startswith("refused: norms: rows")


def test_the_exam_sees_noise_in_the_wrong_place(monkeypatch):
    """As it was before: after the gate, and in one of two norms for both."""
    from btrans_eval.population import gates

    monkeypatch.setattr(gates, "is_gated", lambda *args: False)
    checks = exam.examine("qwen3_next").checks
    assert checks["every norm as in the formula"].startswith("wrong: model.layers.0.linear_attn")


def test_the_exam_sees_a_norm_that_is_left_out(monkeypatch):
    from btrans_eval.population import norms

    is_norm = norms.is_norm
    monkeypatch.setattr(norms, "is_norm", lambda m: is_norm(m) and type(m).__name__ != "ZayaQKNorm")
    checks = exam.examine("zaya").checks
    assert checks["every norm as in the formula"].endswith("qk_norm carries no noise")
