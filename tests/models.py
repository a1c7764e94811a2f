"""Tiny random models of real families, built from their configurations: no download."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from peft import LoraConfig, get_peft_model
from torch import nn

LAYERS = 2
VOCABULARY = 64

_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GROUPED = {**_SIZES, "num_key_value_heads": 2, "head_dim": 8}


@dataclass(frozen=True)
class Family:
    """One row of the architecture table."""

    name: str
    config: str
    norms: int
    arguments: dict[str, Any] = field(default_factory=lambda: dict(_GROUPED))
    lora: bool = False

    def build(self) -> nn.Module:
        torch.manual_seed(7)
        config = getattr(transformers, self.config)(**self.arguments)
        model = transformers.AutoModelForCausalLM.from_config(config).eval()
        for name, parameter in model.named_parameters():
            if "norm" in name.lower():  # weights that are not all one and biases not all zero
                nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.2)
        if self.lora:
            lora = LoraConfig(target_modules=["q_proj"], init_lora_weights=False)
            model = get_peft_model(model, lora).eval()
        return model


FAMILIES = [
    Family("llama", "LlamaConfig", 2 * LAYERS + 1),
    Family("llama-lora", "LlamaConfig", 2 * LAYERS + 1, lora=True),
    Family("qwen2", "Qwen2Config", 2 * LAYERS + 1, dict(_SIZES, num_key_value_heads=2)),
    Family("qwen3", "Qwen3Config", 4 * LAYERS + 1),
    Family(
        "qwen3-moe",
        "Qwen3MoeConfig",
        4 * LAYERS + 1,
        # grouped experts sum tokens of all rows in one product, whose rounding depends on how
        # many there are, in the stock model too; batched products keep the rows apart
        dict(
            _GROUPED,
            num_experts=4,
            num_experts_per_tok=2,
            moe_intermediate_size=16,
            experts_implementation="batched_mm",
        ),
    ),
    Family("mistral", "MistralConfig", 2 * LAYERS + 1),
    Family("gemma2", "Gemma2Config", 4 * LAYERS + 1),
    Family("gemma3", "Gemma3TextConfig", 6 * LAYERS + 1),
    Family("phi3", "Phi3Config", 2 * LAYERS + 1, dict(_SIZES, num_key_value_heads=2)),
    Family("olmo", "OlmoConfig", 2 * LAYERS + 1, dict(_SIZES)),
    Family("olmo2", "Olmo2Config", 4 * LAYERS + 1, dict(_SIZES)),
    Family(
        "gpt2",
        "GPT2Config",
        2 * LAYERS + 1,
        {
            "vocab_size": VOCABULARY,
            "n_embd": 32,
            "n_layer": LAYERS,
            "n_head": 4,
            "n_positions": 128,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
    ),
    Family("gpt-neox", "GPTNeoXConfig", 2 * LAYERS + 1, dict(_SIZES)),
    Family(
        "falcon",
        "FalconConfig",
        LAYERS + 1,  # one norm for attention and MLP, which run side by side
        dict(_SIZES, new_decoder_architecture=False, multi_query=True),
    ),
    Family(
        "bloom",
        "BloomConfig",
        2 * LAYERS + 2,
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "n_layer": LAYERS,
            "n_head": 4,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
    ),
]
BY_NAME = {family.name: family for family in FAMILIES}


def tokens(rows: int, length: int = 6, seed: int = 0) -> torch.Tensor:
    """Random prompt tokens, shape (rows, length), none of them special."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCABULARY, (rows, length), generator=generator)
