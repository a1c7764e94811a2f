"""What the rows of a call begin with alike: of generation, and of loglikelihoods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import accumulate
from typing import Any

import torch
from transformers import DynamicCache

from btrans_eval.model_adapters.hf import passes
from btrans_eval.model_adapters.hf.capacity import bytes_for_prefixes
from btrans_eval.model_adapters.hf.prefixes import Key, Prefixes, shared
from btrans_eval.model_adapters.hf.refill import Text

Bound = Callable[[Sequence[int], Sequence[int]], AbstractContextManager[None]]
"""Of members of rows, and where their noise begins, if with generation: binds the model."""


def prefixes_of(model: Any, cache_argument: str, bound: Bound, at_once: int) -> Prefixes:
    """Holds beginnings of prompts, each read under its member.

    Args:
        cache_argument: what the model calls its cache.
        at_once: how many are read in one batch, at most.
    """

    @torch.no_grad()
    def read(keys: Sequence[Key]) -> DynamicCache:
        ends = [len(tokens) for _, tokens in keys]
        padding = [max(ends) - end for end in ends]
        rows = [[0] * pad + [*tokens] for pad, (_, tokens) in zip(padding, keys, strict=True)]
        cache = DynamicCache()
        # where noise begins with generation it does so behind what is read here
        with bound([member or 0 for member, _ in keys], ends):
            passes.logits(model, cache_argument, rows, padding, cache)
        return cache

    return Prefixes(read, at_once, bytes_for_prefixes(model.device))


def share(texts: list[Text], are_alike: bool) -> bool:
    """Let texts know what they begin with alike, and come together; whether any do.

    Args:
        are_alike: whether all members read prompts as the model does.
    """
    by_prompt: dict[int, list[Text]] = {}
    for text in texts:
        by_prompt.setdefault(id(text.prompt), []).append(text)
    # read alike, a prompt is there for all that have it: each counts
    counted = [own[: len(own) if are_alike else 1] for own in by_prompt.values()]
    asked = [own[0].prompt[:-1] for own in counted]
    lengths = shared([prompt for prompt, own in zip(asked, counted, strict=True) for _ in own])
    firsts = accumulate((len(own) for own in counted[:-1]), initial=0)
    turns: dict[tuple[int, ...], int] = {}
    held: dict[tuple[int, ...], tuple[int, ...]] = {}  # each beginning once
    for own, prompt, first in zip(by_prompt.values(), asked, firsts, strict=True):
        beginning = tuple(prompt[: lengths[first]])
        beginning = held.setdefault(beginning, beginning)
        for text in own:
            text.beginning = (None if are_alike else text.member, beginning)
    for text in texts:
        turns.setdefault(text.beginning[1], len(turns))
    texts.sort(key=lambda text: turns[text.beginning[1]])  # few beginnings are held at a time
    return any(lengths)


class Contexts:
    """Rows of loglikelihoods of which the beginnings are read once.

    Args:
        rows: as they are fed.
        starts: index of the last token of each one's context.
        held: holds the beginnings.
    """

    def __init__(
        self, rows: Sequence[tuple[int, ...]], starts: Sequence[int], held: Prefixes
    ) -> None:
        self._held = held
        self._lengths: dict[tuple[int, ...], int] = {}
        self._longest: dict[tuple[int, ...], int] = {}
        lengths = shared([row[:start] for row, start in zip(rows, starts, strict=True)])
        for row, length in zip(rows, lengths, strict=True):
            self._lengths[row] = min(self._lengths.get(row, length), length)
        for row, length in self._lengths.items():
            beginning = row[:length]
            self._longest[beginning] = max(self._longest.get(beginning, 0), len(row))

    def turn(self, row: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        """Sorts rows that begin alike together, and the longest first."""
        beginning = row[: self._lengths[row]]
        return (-self._longest[beginning], beginning) if beginning else (-len(row), ())

    def read(self, rows: Sequence[tuple[int, ...]], member: int | None) -> DynamicCache | None:
        """A cache of as many first tokens as all rows have read; None where one has none.

        Args:
            rows: of a batch, without what pads them on the right.
            member: who answers; None where all members read alike.
        """
        lengths = [self._lengths.get(row, 0) for row in rows]
        if not min(lengths):
            return None
        keys = [(member, row[:length]) for row, length in zip(rows, lengths, strict=True)]
        return self._held.cache([(key, min(lengths)) for key in keys])
