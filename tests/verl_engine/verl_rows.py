"""An engine of verl on a tiny Llama, and rows as its trainer hands them over."""

from __future__ import annotations

import torch
from tensordict import NonTensorStack, TensorDict
from verl.trainer.config import CheckpointConfig
from verl.utils import tensordict_utils as tu
from verl.workers.config import FSDPEngineConfig, FSDPOptimizerConfig, HFModelConfig
from verl.workers.engine import EngineRegistry

FLOAT32 = {"param_dtype": "fp32", "reduce_dtype": "fp32", "buffer_dtype": "fp32"}


def engine_of(folder, btrans="sigma=0.3,seed=5", strategy="fsdp2", forward_only=False, model=None,
              overrides=None, is_loaded=True, **given):  # fmt: skip
    """One by verl's registry, its model loaded."""
    overrides = {"attn_implementation": "sdpa", "btrans": btrans, **(overrides or {})}
    model_config = HFModelConfig(
        path=folder, override_config=overrides, enable_gradient_checkpointing=True, **(model or {})
    )
    engine_config = FSDPEngineConfig(
        strategy=strategy, mixed_precision=FLOAT32, use_torch_compile=False,
        forward_only=forward_only, **given,
    )  # fmt: skip
    made = EngineRegistry.new(
        "language_model", strategy, model_config=model_config, engine_config=engine_config,
        optimizer_config=FSDPOptimizerConfig(lr=1e-3, total_training_steps=4),
        checkpoint_config=CheckpointConfig(),
    )  # fmt: skip
    if is_loaded:
        made.initialize()
    return made


def tokens(*lengths):
    """Rows of so many tokens."""
    made = torch.Generator().manual_seed(3)
    return [torch.randint(3, 64, (length,), generator=made) for length in lengths]


def nested(rows):
    return torch.nested.as_nested_tensor(list(rows), layout=torch.jagged)


def batch_of(rows, sessions, firsts, responses=3, tokens_at_once=24, packed=True, **fields):
    """Rows whose last ``responses`` tokens were sampled, with the fields that verl's have."""
    mask = nested([torch.ones(responses, dtype=torch.long) for _ in rows])
    data = TensorDict(
        {
            "input_ids": nested(rows),
            "position_ids": nested([torch.arange(len(row)) for row in rows]),
            "prompts": nested([row[:-responses] for row in rows]),
            "responses": nested([row[-responses:] for row in rows]),
            "response_mask": mask,
            "loss_mask": mask,
            "session_id": NonTensorStack(*sessions),
            "global_steps": NonTensorStack(*[1] * len(rows)),
            **({} if firsts is None else {"btrans_first": torch.tensor(firsts)}),
            **fields,
        },
        batch_size=[len(rows)],
    )
    tu.assign_non_tensor(
        data, temperature=1.0, use_dynamic_bsz=True, max_token_len_per_gpu=tokens_at_once,
        use_remove_padding=packed,
    )  # fmt: skip
    return data
