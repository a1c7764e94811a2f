"""One transformers model as an engine: what its rows depend on, tokens scored under a member."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import Collator

from btrans_eval.config import PopulationConfig
from btrans_eval.errors import UserError
from btrans_eval.harness.batches import Row
from btrans_eval.harness.engine import Scored, Tokens
from btrans_eval.harness.memory import RowLimit
from btrans_eval.harness.response import Response
from btrans_eval.harness.turns import Order
from btrans_eval.model_adapters import thoughts
from btrans_eval.model_adapters.hf import passes
from btrans_eval.model_adapters.hf.generation import Generation
from btrans_eval.model_adapters.hf.sharing import Contexts, prefixes_of
from btrans_eval.population import fingerprint
from btrans_eval.population.population import Population


class HFEngine:
    """Generates and scores with the model, the tokenizer and the methods of an ``HFLM``.

    Args:
        lm: loaded; its own methods, as ``HFLM`` has them, are what the stock model does.
        weights: the fingerprint of the model's weights.
    """

    def __init__(self, lm: HFLM, weights: Callable[[], str]) -> None:
        self._lm, self._weights = lm, weights
        self.row_limit = RowLimit(self._release)
        self._may_share_rows = lm.logits_cache
        self._batch_sizes: dict[tuple[str, int], dict[int, int]] = {}
        self._member: int | None = None
        self.generation = Generation(lm, self.row_limit)
        self._starts: dict[tuple[int, ...], set[int]] = {}
        self._contexts: Contexts | None = None

    @property
    def name(self) -> str:
        return str(self._lm.pretrained)

    @property
    def context(self) -> int:
        return int(self._lm.max_length)

    def become(self, population: Population, config: PopulationConfig) -> None:
        self._population = population
        self.generation.become(population, config)
        # continuations that share a row have different contexts
        self._lm.logits_cache = self._may_share_rows and config.noise_from == "prompt"

    def facts(self) -> Mapping[str, Any]:
        lm, config = self._lm, self._lm.model.config
        return {
            "engine": "transformers " + ".".join(transformers.__version__.split(".")[:2]),
            "model": self._weights(),
            "tokenizer": fingerprint.of_tokenizer(lm.tokenizer),
            "dtype": str(lm.model.dtype),
            "autocast": str(lm.mixed_precision_dtype),
            "softmax_dtype": str(lm.softmax_dtype),
            "quantization": getattr(config, "quantization_config", None),
            "attention": getattr(config, "_attn_implementation", None),
            "experts": getattr(config, "_experts_implementation", None),
            "think_end_token": thoughts.fact(lm.think_end_token, lm.enable_thinking is not False),
            "max_length": lm.max_length,
        }

    # --------------------------------------------------------------- generation
    def arguments(self, request: Any) -> dict[str, Any]:
        return self.generation.arguments(request)

    def asked(self, request: Any) -> dict[str, Any]:
        return self.generation.asked(request)

    def length(self, request: Any) -> int:
        return len(self._lm.tok_encode(request.args[0]))

    def prompt_tokens(self, request: Any) -> list[int]:
        return self.generation.prompt_tokens(request)

    def batching(self, request: Any) -> str:
        return self.generation.batching(request)

    def rows_at_once(self, longest: Any) -> int:
        return self.generation.rows_at_once(longest)

    def generate(self, rows: Sequence[Row], order: Order) -> Iterator[list[tuple[Row, Response]]]:
        return self.generation.generate(rows, order)

    # -------------------------------------------------------------- loglikelihoods
    members_at_once = 1

    @property
    def shares_rows(self) -> bool:
        return bool(self._lm.logits_cache)

    @contextmanager
    def answering(self, member: int | None) -> Iterator[None]:
        """Within, every row that the harness's methods call the model with is this member's."""
        outer, self._member = (self._member, self._contexts), member
        try:
            yield
        finally:
            self._member, self._contexts = outer

    def logits(self, rows: torch.Tensor, whole: Callable[[], torch.Tensor]) -> torch.Tensor:
        """What a model call, shape (rows, tokens), says to its last tokens: those that are asked.

        Args:
            whole: says it to all of them; bound to the member whose turn it is.
        """
        if self._member is None:
            return whole()
        fed = rows.tolist()
        members, starts = [self._member] * len(fed), self._first_noisy(fed)
        read = None
        if self._contexts is not None:
            are_alike = self._population.noise_from == "generation"
            reader = None if are_alike else self._member
            read = self._contexts.read([_unpadded(row) for row in fed], reader)
        if read is None:
            with self._population.members(members, starts):
                return whole()
        new = [row[read.get_seq_length() :] for row in fed]
        with torch.no_grad(), self.generation.bound(members, starts):
            name = str(self.generation.growing_cache)
            return passes.logits(self._lm.model, name, new, [0] * len(new), read, last=0)

    def score(self, requests: Sequence[Tokens], rows: int | None) -> list[Scored]:
        self._starts = self._starts_of(requests)
        found: list[Scored] = HFLM._loglikelihood_tokens(
            self._lm, requests, disable_tqdm=True, override_bs=rows
        )
        return found

    def batches(
        self, requests: Sequence[Tokens], groups: list[list[int]], task: str, size: int | None
    ) -> list[list[list[int]]]:
        """The harness's batches of groups of requests that share one row.

        Its own ``Collator`` plans them, with ``batch_size=auto`` its own search for their size.
        """

        def longest(group: list[int]) -> Tokens:
            return requests[max(group, key=lambda index: len(requests[index][2]))]

        def row_of(group: list[int]) -> tuple[int, ...]:
            return self._fed(*longest(group)[1:])[0]

        def longest_first(group: list[int]) -> Any:
            _, context, continuation = longest(group)
            row = tuple(context + continuation)
            turn = () if contexts is None else contexts.turn(row_of(group))
            return *turn, -len(row), row

        contexts = self._contexts = self._shared(list(map(longest, groups)))
        rows: list[Tokens] = []

        def found(place: int, ordered: Sequence[list[int]]) -> int:
            rows.extend(map(longest, ordered) if not rows else ())  # asked of every group
            return int(self._lm._batch_scheduler(place, rows))

        size = size if self._lm.batch_size == "auto" else int(self._lm.batch_size)
        if size:  # a row that shares nothing would have its whole batch read whole
            parts: dict[bool, list[list[int]]] = {True: [], False: []}
            for group in groups:
                parts[contexts is not None and contexts.turn(row_of(group))[1] != ()].append(group)
            plans = [Collator(part, sort_fn=longest_first) for part in parts.values() if part]
            return [batch for plan in plans for batch in plan.get_batched(n=size)]
        plan = Collator(groups, sort_fn=longest_first)
        # found for these requests, as the harness does, and once for all members
        asked = task, max(len(row[1] + row[2]) for row in requests)
        self._lm.batch_sizes = self._batch_sizes.setdefault(asked, {})
        return list(plan.get_batched(batch_fn=found))

    def _shared(self, requests: Sequence[Tokens]) -> Contexts | None:
        """What contexts begin with alike; None where each row is read whole."""
        cache = self.generation.growing_cache
        if cache is None or self._member is None or not self.generation.reads_once:
            return None
        fed = [self._fed(context, continuation) for _, context, continuation in requests]
        # one by one: what is read does not depend on what was stored before
        held = prefixes_of(self._lm.model, cache, self.generation.bound, 1)
        return Contexts([row for row, _ in fed], [start for _, start in fed], held)

    def _release(self) -> bool:
        """Give up what is read once, for good, if there is any."""
        is_held = self.generation.shares or self._contexts is not None
        if is_held:
            self.generation.reads_once = self.generation.shares = False
            self._contexts = None
        return is_held

    def _fed(
        self, context: Sequence[int], continuation: Sequence[int]
    ) -> tuple[tuple[int, ...], int]:
        """A row without padding, and the index of the last token of its context."""
        fed = [*context, *continuation][-(self.context + 1) :][:-1]
        return _unpadded(fed), max(len(fed) - len(continuation), 0)

    def _starts_of(self, requests: Sequence[Tokens]) -> dict[tuple[int, ...], set[int]]:
        """By row as it is fed: the index of the last context token of requests that feed it."""
        starts: dict[tuple[int, ...], set[int]] = {}
        for _, context, continuation in requests:
            row, start = self._fed(context, continuation)
            starts.setdefault(row, set()).add(start)
        return starts

    def _first_noisy(self, rows: Sequence[Sequence[int]]) -> list[int] | None:
        """Where the noise of each row begins, padded with 0 on the right; None: at its first token.

        Raises:
            UserError: if a row may be either of two requests.
        """
        if self._population.noise_from == "prompt":
            return None
        found: list[int] = []
        for row in rows:
            starts = self._starts[_unpadded(row)]
            if len(starts) > 1:
                raise UserError(
                    "noise_from: generation cannot tell two requests of a batch apart that feed "
                    "the same tokens with different contexts; use batch_size=1"
                )
            found += starts
        return found


def _unpadded(row: Sequence[int]) -> tuple[int, ...]:
    """A row without the zeros at its end, which the harness pads with."""
    length = next((end for end in range(len(row), 0, -1) if row[end - 1]), 0)
    return tuple(row[:length])
