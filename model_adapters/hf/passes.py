"""Rows padded on the left, and a forward pass over what follows what a cache holds of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from btrans_eval.model_adapters.hf.sampling import on


def padded(prompts: Sequence[Sequence[int]], padding: int) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, shape (rows, longest prompt).

    Not the harness's way, which looks at the first row only to see whether the prompts of a
    batch hold a BOS token of their own.

    Args:
        padding: the token that pads.
    """
    longest = max(map(len, prompts))
    tokens = [[padding] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(tokens), torch.tensor(mask)


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
