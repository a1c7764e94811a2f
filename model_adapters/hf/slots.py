"""A cache of keys and values whose rows can be replaced one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

ROOM = 64
"""Tokens that a buffer has room for beyond what it holds when it is made, at most."""


class SlotLayer(DynamicLayer):  # type: ignore[no-untyped-call]  # its base has no types
    """Keys and values of one layer; all rows end at the same place, as if padded on the left.

    The tensors that transformers sees are views of buffers with room on the right, so that a
    new token is written and nothing is copied; `DynamicLayer` copies the whole cache for each.
    What lies left of a row's own tokens is finite and masked.

    Args:
        most: tokens of a row at its longest; there is no room for more before it is needed.
    """

    def __init__(self, most: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # has no types
        self._most = most
        self._buffers: tuple[Tensor, Tensor] | None = None
        self._start = self._end = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Buffers for the rows and widths of these states."""
        self.dtype, self.device = key_states.dtype, key_states.device
        size = self._size_for(0, key_states.shape[-2])
        self._buffers = (_zeros(key_states, size), _zeros(value_states, size))
        self._show()
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write one more token of every row; shapes (rows, heads, 1, width).

        Returns:
            keys and values of all tokens, (rows, heads, tokens, width).
        """
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        new = key_states.shape[-2]
        self._make_room(new)
        for buffer, states in zip(self._held(), (key_states, value_states), strict=True):
            buffer[..., self._end : self._end + new, :] = states
        self._end += new
        return self._show()

    def put(self, slots: Tensor, keys: Tensor, values: Tensor) -> None:
        """Replace rows by others, shape (slots, heads, tokens, width); all end where rows end."""
        tokens = keys.shape[-2]
        self._make_room(0, tokens)
        for buffer, states in zip(self._held(), (keys, values), strict=True):
            buffer[slots, :, : self._end - tokens] = 0  # what the last row left may not be finite
            buffer[slots, :, self._end - tokens : self._end] = states
        self._start = min(self._start, self._end - tokens)
        self._show()

    def keep(self, slots: Tensor) -> None:
        """Only these rows, in this order."""
        keys, values = self._held()
        self._buffers = (keys[slots], values[slots])
        self._show()

    def forget(self, tokens: int) -> None:
        """Drop the first tokens of every row, which belong to none any more."""
        self._start += tokens
        self._show()

    def _held(self) -> tuple[Tensor, Tensor]:
        if self._buffers is None:
            raise RuntimeError("the layer holds nothing yet")
        return self._buffers

    def _show(self) -> tuple[Tensor, Tensor]:
        """Let transformers see what is held."""
        keys, values = (buffer[..., self._start : self._end, :] for buffer in self._held())
        self.keys, self.values = keys, values
        return keys, values

    def _make_room(self, right: int, held: int = 0) -> None:
        """Room for ``right`` tokens after the end, and for rows of ``held`` tokens before it."""
        size = self._held()[0].shape[-2]
        if self._end + right <= size and held <= self._end:
            return
        shown = self._end - self._start
        length = max(shown, held)
        buffers = []
        for view in self._show():
            buffer = _zeros(view, self._size_for(length, right))
            buffer[..., length - shown : length, :] = view
            buffers.append(buffer)
        self._buffers = (buffers[0], buffers[1])
        self._start, self._end = length - shown, length
        self._show()

    def _size_for(self, held: int, new: int) -> int:
        """Tokens of a buffer for those that are held and new, and for some more."""
        return max(held + new, min(held + new + ROOM, self._most))


def _zeros(like: Tensor, tokens: int) -> Tensor:
    rows, heads, _, width = like.shape
    return like.new_zeros((rows, heads, tokens, width))


class Slots:
    """The cache of a batch whose rows come and go.

    Args:
        most: tokens of a row at its longest.

    Attributes:
        cache: what the model's forward pass takes as its cache.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.cache: Cache | None = None

    @property
    def layers(self) -> list[SlotLayer]:
        """One for each layer of the model that has keys and values."""
        layers = [] if self.cache is None else self.cache.layers
        return [layer for layer in layers if isinstance(layer, SlotLayer)]

    @property
    def length(self) -> int:
        """Tokens of every row, those of padding included."""
        return 0 if self.cache is None else int(self.cache.get_seq_length())

    def fill(self, prefilled: DynamicCache) -> None:
        """Take all rows of a prefilled cache, padded on the left, for the first ones."""
        self.cache = Cache(layers=[SlotLayer(self._most) for _ in prefilled.layers])
        for own, (keys, values) in zip(self.layers, _taken(prefilled), strict=True):
            own.update(keys, values)

    def put(self, slots: Sequence[int], prefilled: DynamicCache) -> None:
        """Replace the rows in some slots by those of a prefilled cache, padded on the left."""
        for own, (keys, values) in zip(self.layers, _taken(prefilled), strict=True):
            own.put(torch.tensor(slots, device=keys.device), keys, values)

    def keep(self, slots: Sequence[int]) -> None:
        """Only the rows in these slots, renumbered from 0."""
        for layer in self.layers:
            layer.keep(torch.tensor(slots, device=layer.device))

    def forget(self, tokens: int) -> None:
        """Drop the first tokens of every row."""
        for layer in self.layers if tokens else []:
            layer.forget(tokens)


def contents(cache: DynamicCache) -> Iterator[tuple[Tensor, Tensor]]:
    """Keys and values of each layer, (rows, heads, tokens, width)."""
    for layer in cache.layers:
        keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
        if keys is None or values is None:
            raise RuntimeError("a layer holds nothing yet")
        yield keys, values


def _taken(prefilled: DynamicCache) -> Iterator[tuple[Tensor, Tensor]]:
    """The contents, of which each layer is emptied then: the whole is never held twice."""
    for layer, held in zip(prefilled.layers, contents(prefilled), strict=True):
        yield held
        layer.reset()
