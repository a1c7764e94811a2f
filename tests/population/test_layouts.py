"""Norms whose output is laid out in unusual ways still give each row its own noise."""

from __future__ import annotations

import pytest
import torch
import transformers
from models import _GROUPED, tokens

from btrans_eval import Population
from btrans_eval.errors import UserError

LINEAR = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"],
}
# (configuration, its arguments, layers found, how many of them see rows one after another)
LAYOUTS = [
    ("Qwen3_5TextConfig", {**_GROUPED, **LINEAR}, 8, 1),  # a gated norm over (rows * ..., width)
    (
        "Llama4TextConfig",  # weightless norms
        {**_GROUPED, "num_local_experts": 2, "intermediate_size_mlp": 48},
        7,
        0,
    ),
    (
        "OPTConfig",
        {
            "vocab_size": 64,
            "hidden_size": 32,
            "ffn_dim": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "word_embed_proj_dim": 32,
        },
        5,
        2,
    ),
]


@pytest.mark.parametrize(
    "config, arguments, layers, flat", LAYOUTS, ids=lambda value: str(value)[:9]
)
@torch.no_grad()
def test_a_row_gets_the_noise_of_its_own_member(config, arguments, layers, flat):
    torch.manual_seed(0)
    built = getattr(transformers, config)(**arguments)
    model, batch = transformers.AutoModelForCausalLM.from_config(built).eval(), tokens(3)
    population = Population(model, sigma=0.3)
    assert len(population.layers) == layers
    assert sum(layer.is_flat for layer in population.layers) == flat
    members = [4, 0, 2]
    with population.members(members):
        mixed = model(batch).logits
    for row, member in enumerate(members):
        with population.members([member]):
            alone = model(batch[row : row + 1]).logits
        torch.testing.assert_close(mixed[row], alone[0], atol=1e-4, rtol=0)
        assert not torch.allclose(mixed[row], model(batch[row : row + 1]).logits[0], atol=1e-3)


def test_rows_that_do_not_come_first_are_refused():
    config = transformers.XLNetConfig(vocab_size=64, d_model=32, n_layer=1, n_head=4, d_inner=48)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with pytest.raises(UserError, match="norms: rows of a batch must come first"):
        Population(model, sigma=0.1)
