"""Generation in which no row waits for another: a finished row's place goes to the next prompt.

transformers' own continuous batching packs tokens of all requests into one row and does not tell
a layer which request a token belongs to, so it cannot carry members (5.23).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, LogitsProcessorList
from transformers.cache_utils import DynamicLayer

from btrans_eval.harness.turns import Turns
from btrans_eval.model_adapters.hf import passes
from btrans_eval.model_adapters.hf.prefixes import Key, Prefixes
from btrans_eval.model_adapters.hf.sampling import (
    OF_HISTORY,
    OF_SCORES,
    choose,
    on,
    process,
    refuse_other_modes,
)
from btrans_eval.model_adapters.hf.slots import Slots
from btrans_eval.population.key_values import cache_argument, cache_in
from btrans_eval.population.streams import Stream

_FREE_SHARE = 8
"""Prompts come in when one in so many places is free: one by one they would stop the rest often."""
_SHRINK_SHARE = 4
"""With no prompt left, the batch shrinks when one in so many places is free."""


@dataclass(eq=False)
class Text:
    """A response in the making.

    Attributes:
        place: its number among the texts that are asked for.
        member: who answers.
        prompt: token ids, at least one.
        beginning: what other prompts begin with as well, not all of it, under which member.
        stream: where tokens are drawn from; None: greedy.
        is_done: whether the response ends with these tokens.
        tokens: what was generated so far.
        logprobs: how likely the model finds each of them, nats.
    """

    place: int
    member: int
    prompt: list[int]
    stream: Stream | None
    is_done: Callable[[list[int]], bool]
    beginning: Key = (None, ())
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Tokens of prompt and response."""
        return len(self.prompt) + len(self.tokens)


class Unfit(Exception):
    """Why requests cannot be answered by refilling."""


ARGUMENTS = ("do_sample", "temperature", "top_k", "top_p", "min_p", "repetition_penalty")
"""Generation arguments whose meaning for a row does not depend on its batch."""


def unfit_before(model: Any, arguments: Iterable[str]) -> Unfit | None:
    """Why requests with these generation arguments cannot, as far as names and adapter tell."""
    adapter = getattr(model, "active_peft_config", None)
    if getattr(adapter, "is_prompt_learning", False):
        return Unfit("the adapter puts a learned prompt before the tokens")
    if getattr(adapter, "alora_invocation_tokens", None):
        return Unfit("the adapter begins at a place in the prompt")
    for name in arguments:
        if name not in ARGUMENTS:
            return Unfit(f"{name} is not known to be the same for every row of a batch")
    return None


class Prepared:
    """What ``model.generate`` makes of its arguments, asked as its ``custom_generate``.

    Attributes:
        processors: what it would apply to the scores.
        cache_argument: what the model, under any adapter, calls its cache.
    """

    processors: LogitsProcessorList
    cache_argument: str

    def __call__(
        self,
        model: Any,
        input_ids: Tensor,
        logits_processor: LogitsProcessorList,
        generation_config: Any,
        **others: Any,
    ) -> Tensor:
        """Args: those of a ``custom_generate``; returns the prompt.

        Raises:
            Unfit: if rows of this model cannot come and go.
            UserError: if members cannot decode in this way at all.
        """
        refuse_other_modes(generation_config)
        parameters = inspect.signature(type(model).forward).parameters
        for name in ("position_ids", "logits_to_keep"):
            if name not in parameters:
                raise Unfit(f"{type(model).__name__} takes no {name}")
        if any(_looks_at_the_longest(module) for module in model.modules()):
            raise Unfit(f"{type(model).__name__} scales positions by the longest row of a batch")
        cache = cache_in(others)
        layers = cache.layers if isinstance(cache, DynamicCache) else ()
        name_of_cache = cache_argument(model)
        if not layers or not others.get("use_cache") or name_of_cache is None:
            raise Unfit(f"{type(model).__name__} keeps no growing cache")
        for layer in layers:
            if type(layer) is not DynamicLayer:
                raise Unfit(f"{type(model).__name__} has a {type(layer).__name__}")
        for processor in logits_processor:
            if not isinstance(processor, (*OF_SCORES, *OF_HISTORY)):
                raise Unfit(f"the generation config asks for {type(processor).__name__}")
        self.processors, self.cache_argument = logits_processor, name_of_cache
        return input_ids


def _looks_at_the_longest(module: Any) -> bool:
    """Whether these rotary embeddings change for all rows when one has grown long."""
    kinds = getattr(module, "rope_type", None)
    kinds = kinds.values() if isinstance(kinds, dict) else [kinds]
    return any(kind in ("dynamic", "longrope") for kind in kinds)


class Refill:
    """One batch of a model, in which rows come and go.

    Args:
        model: a decoder-only transformers model with full attention and a cache in all layers.
        prepared: what ``model.generate`` made of the request's arguments.
        bind: a context in which row i of the batch is answered by the i-th text's member.
        places: rows at most.
        limit: new tokens of a text at most.
        prefixes: beginnings that prompts share; None: each prompt is read whole.
    """

    def __init__(
        self,
        model: Any,
        prepared: Prepared,
        bind: Callable[[Sequence[Text]], AbstractContextManager[None]],
        places: int,
        limit: int,
        prefixes: Prefixes | None,
    ) -> None:
        self._model, self._prepared, self._bind = model, prepared, bind
        self._places, self._limit = places, limit
        self._prefixes = prefixes
        self._rows: list[Text] = []
        self._free: set[int] = set()  # places of no text any more; their rows go on unread
        self._slots = Slots(0)

    @torch.no_grad()
    def run(self, texts: Sequence[Text], turns: Turns[Text]) -> Iterator[list[Text]]:
        """Generate those whose turn comes; yields those that finish at the same step.

        The model is bound to no member while the caller has the turn.

        Args:
            texts: all that may come.
            turns: which come next, and which are given up.
        """
        longest = max((len(text.prompt) for text in texts), default=0)
        self._slots = Slots(longest + self._limit)
        while True:
            self._leave([text for text in self._live() if not turns.wants(text)])
            free = len(self._free) if self._rows else self._places
            new = turns.take(free, free) if free * _FREE_SHARE >= len(self._rows) else []
            if new:
                self._join(new)
            elif self._rows:
                if free * _SHRINK_SHARE >= len(self._rows):
                    self._shrink()
                with self._bind(self._rows):
                    while not self._finished():
                        self._step()
            else:
                return
            if finished := self._finished():
                self._leave(finished)
                yield finished

    def _join(self, texts: list[Text]) -> None:
        """Read prompts into free places; each gets its first token."""
        longest = max(text.length for text in texts)
        padding = [longest - text.length for text in texts]
        cache = self._begun(texts)
        held = cache.get_seq_length()
        tokens = [
            ([0] * pad + text.prompt)[held:] for pad, text in zip(padding, texts, strict=True)
        ]
        with self._bind(texts):
            scores = self._scores(tokens, padding, cache)
            self._append(texts, scores)
        if not self._rows:
            self._rows = texts
            self._slots.fill(cache)
            return
        places = sorted(self._free)[: len(texts)]
        self._slots.put(places, cache)
        for place, text in zip(places, texts, strict=True):
            self._rows[place] = text
        self._free -= set(places)
        self._forget()

    def _begun(self, texts: Sequence[Text]) -> DynamicCache:
        """A cache of what is not read again of the prompts: all but as many last tokens of each."""
        rest = max(text.length - len(text.beginning[1]) for text in texts)
        rows = [(text.beginning, max(text.length - rest, 0)) for text in texts]
        begun = None
        if self._prefixes is not None and any(tokens for _, tokens in rows):
            begun = self._prefixes.cache(rows)
        return DynamicCache() if begun is None else begun

    def _step(self) -> None:
        """One more token for every row."""
        held = self._slots.length + 1
        padding = [
            held - (1 if place in self._free else row.length)
            for place, row in enumerate(self._rows)
        ]
        scores = self._scores([row.tokens[-1:] for row in self._rows], padding, self._slots.cache)
        self._append(self._rows, scores)

    def _scores(self, new: list[list[int]], padding: list[int], cache: Any) -> Tensor:
        """Scores after the last of the new tokens, float32, shape (rows, vocabulary)."""
        name = self._prepared.cache_argument
        return passes.logits(self._model, name, new, padding, cache)[:, -1].float()

    def _append(self, rows: Sequence[Text], scores: Tensor) -> None:
        """The next token of each row; a row in a free place goes on with its last one."""
        if rows is self._rows and self._free:
            live = [place for place in range(len(rows)) if place not in self._free]
            rows, scores = [rows[place] for place in live], scores[on(scores.device, live)]
        processed = process(
            self._prepared.processors, lambda: [row.prompt + row.tokens for row in rows], scores
        )
        streams = [row.stream for row in rows]
        found = choose(processed, scores, streams, [len(row.tokens) for row in rows])
        for row, token, logprob in zip(rows, *found, strict=True):
            row.tokens.append(token)
            row.logprobs.append(logprob)

    def _live(self) -> list[Text]:
        """The texts that are written."""
        return [row for place, row in enumerate(self._rows) if place not in self._free]

    def _finished(self) -> list[Text]:
        return [text for text in self._live() if text.is_done(text.tokens)]

    def _leave(self, texts: Sequence[Text]) -> None:
        """Free the places of texts."""
        if not texts:
            return
        gone = set(map(id, texts))
        self._free.update(place for place, row in enumerate(self._rows) if id(row) in gone)
        if len(self._free) == len(self._rows):
            self._rows, self._free, self._slots.cache = [], set(), None
        else:
            self._forget()

    def _shrink(self) -> None:
        """Give up free places."""
        kept = [place for place in range(len(self._rows)) if place not in self._free]
        if len(kept) < len(self._rows):
            self._slots.keep(kept)
            self._rows, self._free = [self._rows[place] for place in kept], set()

    def _forget(self) -> None:
        """Drop what lies before the longest row that is still written."""
        longest = max(
            row.length - 1 for place, row in enumerate(self._rows) if place not in self._free
        )
        self._slots.forget(self._slots.length - longest)
