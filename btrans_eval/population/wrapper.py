"""The paper's own form of the transform: one normalization layer, wrapped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from btrans_eval.population.hooks import Adding, per_row
from btrans_eval.population.population import Population


class BayesianBiasWrapper(nn.Module):
    """``y = Norm(x) * w + (b + z)`` for one layer (arXiv 2512.25063).

    The readable form of what ``Population`` does to each layer with a hook; both give the same
    bits. To evaluate a model use ``Population``, which leaves the module tree as it is.

    Args:
        population: the population that says what z is.
        layer: name of the layer to wrap, one of ``population.layers``.
        rows: the member of each row of the batch.

    Example:
        >>> pop = Population(model, sigma=0.01)
        >>> layer = BayesianBiasWrapper(pop, pop.layers[0].name, rows=[0, 1])
        >>> hidden = torch.zeros(2, 5, model.config.hidden_size)  # two members, five tokens
        >>> layer(hidden).shape == hidden.shape, bool((layer(hidden)[0] == layer(hidden)[1]).all())
        (True, False)
    """

    def __init__(self, population: Population, layer: str, rows: Sequence[int]) -> None:
        super().__init__()
        index = [found.name for found in population.layers].index(layer)
        self.norm = population.layers[index].module
        shifts = [torch.from_numpy(population.shift(member, index)) for member in rows]
        where = population.layers[index]
        self._add = Adding(per_row(torch.stack(shifts), where), where)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The norm's output with row i shifted by the bias of its member."""
        return self._add(self.norm, args, kwargs, self.norm(*args, **kwargs))
