"""The paper's own form of the transform: one normalization layer, wrapped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from btrans_eval.population.hooks import add_per_row
from btrans_eval.population.population import Population


class BayesianBiasWrapper(nn.Module):
    """``y = Norm(x) * w + (b + z)`` for one layer (arXiv 2512.25063).

    The readable form of what ``Population`` does to each layer with a hook; both give the same
    bits. To evaluate a model use ``Population``, which leaves the module tree as it is.

    Args:
        population: the population that says what z is.
        layer: name of the layer to wrap, one of ``population.layers``.
        rows: the member of each row of the batch.
    """

    def __init__(self, population: Population, layer: str, rows: Sequence[int]) -> None:
        super().__init__()
        index = [found.name for found in population.layers].index(layer)
        self.norm = population.layers[index].module
        shifts = [torch.from_numpy(population.shift(member, index)) for member in rows]
        self._add = add_per_row(torch.stack(shifts), population.layers[index])

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """The norm's output with row i shifted by the bias of its member."""
        return self._add(self.norm, args, self.norm(*args, **kwargs))
