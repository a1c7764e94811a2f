"""Beginnings that prompts share, read once for each member: few-shot examples, a system prompt.

What a token's keys and values are depends on the tokens before it and on the member, and on nothing
behind it. Prompts are compared by the tokens that are fed.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from torch import Tensor
from transformers import DynamicCache

from btrans_eval.model_adapters.hf.slots import contents

logger = logging.getLogger(__name__)

LEAST = 64
"""Tokens of a beginning that is worth a pass of its own."""

Key = tuple[int | None, tuple[int, ...]]
"""A member, or None where all members read alike, and the tokens."""
Layers = list[tuple[Tensor, Tensor]]
"""Keys and values of each layer, (heads, tokens, width)."""


def shared(prompts: Sequence[Sequence[int]]) -> list[int]:
    """How many of its first tokens each prompt shares, so that few tokens are left to read.

    All prompts that begin alike share what they have in common, or are parted by their next token
    and looked at again, whichever leaves fewer: so either what a subject's questions have in
    common is shared, or what a question's choices have.

    Args:
        prompts: what of each may be shared.
    """
    order = sorted(range(len(prompts)), key=lambda place: tuple(prompts[place]))
    ordered = [prompts[place] for place in order]
    until = list(accumulate(map(len, ordered), initial=0))
    found = [0] * len(ordered)
    open_ones: list[_Open] = []  # each begins in the one before it, and is longer
    for place, prompt in enumerate(ordered):
        is_last = place == len(ordered) - 1
        common = -1 if is_last else _common(prompt, ordered[place + 1])
        first, cost = place, len(prompt)
        while open_ones and open_ones[-1].tokens > common:
            whole = open_ones.pop()
            first, cost = whole.first, whole.cost + cost
            count = place + 1 - first
            once = until[place + 1] - until[first] - (count - 1) * whole.tokens
            if whole.tokens >= LEAST and once < cost:
                cost = once
                found[first : place + 1] = [whole.tokens] * count
        if open_ones and open_ones[-1].tokens == common:
            open_ones[-1].cost += cost
        elif not is_last:
            open_ones.append(_Open(common, first, cost))
    lengths = [0] * len(prompts)
    for place, length in zip(order, found, strict=True):
        lengths[place] = length
    return lengths


@dataclass
class _Open:
    """Prompts from ``first`` on that begin with the same tokens; what they take so far."""

    tokens: int
    first: int
    cost: int


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first tokens two prompts have in common."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


class Prefixes:
    """Keys and values of beginnings, as many as fit; what was used longest ago goes first.

    Args:
        read: reads some as the rows of a batch; their cache, padded on the left.
        at_once: rows of such a batch at most.
        budget: bytes that may be held.
    """

    def __init__(
        self, read: Callable[[Sequence[Key]], DynamicCache], at_once: int, budget: int
    ) -> None:
        self._read, self._at_once, self._budget = read, at_once, budget
        self._held: OrderedDict[Key, Layers] = OrderedDict()
        self._bytes, self._fit = 0, True

    def cache(self, rows: Sequence[tuple[Key, int]]) -> DynamicCache | None:
        """A cache of which each row holds the first tokens of a beginning, padded on the left.

        None where these do not fit together, or have not before: they would be read in vain.

        Args:
            rows: of each the beginning, and how many of its tokens, some of them more than 0.
        """
        keys = [key for key, tokens in rows if tokens]
        missing = self._missing(keys) if self._fit else []
        for start in range(0, len(missing), self._at_once):
            some = missing[start : start + self._at_once]
            self._keep(some, self._read(some))
        if self._fit and self._missing(keys):
            self._fit = False
            self._held.clear()
            logger.warning(
                "prompts are read whole: what those of one batch begin with does not fit into "
                "%d MiB of memory", self._budget >> 20,
            )  # fmt: skip
        return self._joined(rows) if self._fit else None

    def _missing(self, keys: Iterable[Key]) -> list[Key]:
        """Those that are not held, each once; those that are count as used now."""
        found = dict.fromkeys(keys)
        for key in found:
            if key in self._held:
                self._held.move_to_end(key)
        return [key for key in found if key not in self._held]

    def _keep(self, keys: Sequence[Key], read: DynamicCache) -> None:
        whole = [*contents(read)]
        for row, key in enumerate(keys):
            tokens = len(key[1])
            layers = [
                (states[row, :, -tokens:].clone(), values[row, :, -tokens:].clone())
                for states, values in whole
            ]
            self._held[key] = layers
            self._bytes += _size(layers)
        while self._bytes > self._budget and self._held:
            self._bytes -= _size(self._held.popitem(last=False)[1])

    def _joined(self, rows: Sequence[tuple[Key, int]]) -> DynamicCache:
        width = max(tokens for _, tokens in rows)
        example = next(self._held[key] for key, tokens in rows if tokens)
        cache = DynamicCache()
        for layer, pair in enumerate(example):
            filled = []
            for part, like in enumerate(pair):
                states = like.new_zeros((len(rows), like.shape[0], width, like.shape[2]))
                for row, (key, tokens) in enumerate(rows):
                    if tokens:
                        states[row, :, width - tokens :] = self._held[key][layer][part][:, :tokens]
                filled.append(states)
            cache.update(filled[0], filled[1], layer)
        return cache


def _size(layers: Layers) -> int:
    return sum(part.nbytes for pair in layers for part in pair)
