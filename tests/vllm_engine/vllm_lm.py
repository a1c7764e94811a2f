"""btrans-vllm on small checkpoints; importing this skips a test where vLLM is not installed."""

from __future__ import annotations

import contextlib

import pytest
from engine import cloned, generation
from tiny_checkpoint import SPECIAL

pytest.importorskip("vllm", reason="vLLM is not installed (make test-vllm has it)")

from btrans_eval.model_adapters.vllm import BTransVLLM  # noqa: E402

SMALL = {"dtype": "float32", "enforce_eager": True, "max_model_len": 256}
"""Float32, so that both engines agree but for rounding."""
SHARE = {"gpu_memory_utilization": 0.15}


def vllm_lm(checkpoint, **arguments) -> BTransVLLM:
    own = {"sigma": 0.1, "members": 3, "batch_size": "auto"}
    return BTransVLLM(checkpoint, **{**SMALL, **SHARE, **own, **arguments})


def become(lm, **arguments) -> None:
    """Make another population of an engine that runs already."""
    from btrans_eval.config import PopulationConfig

    lm.become(PopulationConfig(**{"sigma": 0.1, "members": 3, **arguments}), None)


def close(lm) -> None:
    """End the engine's processes, and wait for them."""
    if hasattr(lm, "model"):
        with contextlib.suppress(AttributeError):
            lm.model.llm_engine.engine_core.shutdown()


def said(lm, prompts, arguments, repeats=3) -> list:
    """What each member says to each prompt: (text, tokens, truncated).

    The harness's ``vllm`` keeps special tokens in a text, and the blank between it and the prompt,
    which its ``hf`` leaves out.
    """
    texts = lm.generate_until(cloned(generation(prompts, arguments, repeats)))
    return [(words(text), text.tokens, text.truncated) for text in texts]


def words(text: str) -> str:
    """A text of a small checkpoint without special tokens."""
    return " ".join(word for word in text.split() if word not in SPECIAL)
