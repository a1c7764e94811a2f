"""How many rows a device's memory is likely to hold."""

from __future__ import annotations

from typing import Any

import psutil
import torch

from btrans_eval.population.key_values import cache_in

_SHARE = 0.5
"""Of the free memory, for keys and values: the rest is for what a forward pass needs."""
_PROBE = 16


@torch.no_grad()
def rows_that_fit(model: Any, token: int, length: int, most: int) -> int:
    """Rows whose keys and values fit into half of the free memory, between 1 and ``most``.

    A first guess: a batch that does not fit after all is halved.

    Args:
        model: measured by one pass over a few tokens.
        token: one of its tokens.
        length: tokens of a row at its longest.
        most: rows at most.
    """
    tokens = torch.full((1, _PROBE), token, device=model.device)
    cache = cache_in(model(input_ids=tokens, use_cache=True))
    layers = getattr(cache, "layers", ())
    parts = [getattr(layer, name, None) for layer in layers for name in ("keys", "values")]
    held = [part for part in parts if part is not None]
    if not held:  # a state of one size, however long the row
        return most
    of_row = sum(each.nbytes for each in held) / _PROBE * length
    if model.device.type == "cuda":
        free = torch.cuda.mem_get_info(model.device)[0]
    else:
        free = psutil.virtual_memory().available
    return max(1, min(most, int(free * _SHARE / of_row)))
