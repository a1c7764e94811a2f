"""How many rows a device's memory is likely to hold."""

from __future__ import annotations

from typing import Any

import psutil
import torch

from btrans_eval.population.key_values import cache_in

_SHARE = 0.5
"""Of the free memory, for keys and values: the rest is for what a forward pass needs."""
_SHARE_OF_PREFIXES = 0.25
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
    return max(1, min(most, int(_free(model.device) * _SHARE / of_row)))


def bytes_for_prefixes(device: torch.device) -> int:
    """How much keys and values of shared beginnings may take."""
    return int(_free(device) * _SHARE_OF_PREFIXES)


def _free(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)
