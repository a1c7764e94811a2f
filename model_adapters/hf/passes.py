"""A forward pass over tokens that follow what a cache holds, rows padded on the left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from btrans_eval.model_adapters.hf.sampling import on


def logits(
    model: Any,
    cache_argument: str,
    new: Sequence[Sequence[int]],
    padding: Sequence[int],
    cache: Any,
    last: int = 1,
) -> Tensor:
    """Logits after the last of the new tokens, shape (rows, last, vocabulary).

    Args:
        cache_argument: what the model calls its cache.
        new: tokens that the cache does not hold yet, of every row equally many.
        padding: how many places at the beginning of each row are nobody's.
        cache: of what came before; it then holds the new tokens, too.
        last: how many of the new tokens; 0: all.
    """
    held = cache.get_seq_length() + len(new[0])
    device = model.device
    place = torch.arange(held, device=device)[None] - on(device, padding)[:, None]
    output = model(
        input_ids=on(device, new),
        attention_mask=(place >= 0).long(),
        position_ids=place.clamp(min=0)[:, -len(new[0]) :],
        use_cache=True,
        logits_to_keep=last,
        **{cache_argument: cache},
    )
    found: Tensor = output.logits
    return found
