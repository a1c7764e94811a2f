"""Small random models whose heads are wide enough for vLLM, with a tokenizer of words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tiny_checkpoint
import torch
import transformers
from models import VOCABULARY
from torch import nn

CONTEXT = 512

_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": CONTEXT,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GROUPED = {**_SIZES, "num_key_value_heads": 1, "head_dim": 32}
_OLD = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", _GROUPED),
    "qwen3": ("Qwen3Config", _GROUPED),
    "gemma2": ("Gemma2Config", _GROUPED),
    "olmo2": ("Olmo2Config", _SIZES),
    "qwen3-moe": (
        "Qwen3MoeConfig",
        {**_GROUPED, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
    ),
    "gpt2": ("GPT2Config", {**_OLD, "n_embd": 64, "n_layer": 2, "n_head": 2, "n_positions": 512}),
}


def save(folder: Path, family: str = "llama") -> str:
    """Write the checkpoint in float32 and return its path; the same bytes every time."""
    tiny_checkpoint.save(folder)  # for its tokenizer
    name, arguments = FAMILIES[family]
    torch.manual_seed(7)
    model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, name)(**arguments))
    for path, parameter in model.named_parameters():
        if "norm" in path.lower() or ".ln_" in path:  # not all one, and biases not all zero
            nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.2)
        elif parameter.ndim > 1:  # a random model with the usual small weights repeats itself
            nn.init.normal_(parameter, std=0.15)
    model.save_pretrained(folder)
    return str(folder)
