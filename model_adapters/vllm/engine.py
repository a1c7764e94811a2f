"""One model in vLLM as an engine: what its rows depend on, and tokens scored under a member."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import transformers
import vllm
from vllm import SamplingParams, TokensPrompt

from btrans_eval.config import PopulationConfig
from btrans_eval.harness.batches import Row
from btrans_eval.harness.engine import Scored, Tokens
from btrans_eval.harness.memory import RowLimit
from btrans_eval.harness.response import Response
from btrans_eval.harness.turns import Order
from btrans_eval.model_adapters import thoughts
from btrans_eval.model_adapters.vllm import setup
from btrans_eval.model_adapters.vllm.generation import SCHEME, Generation
from btrans_eval.model_adapters.vllm.noise import Noise
from btrans_eval.model_adapters.vllm.replicas import Engines
from btrans_eval.model_adapters.vllm.stock import PLATFORM, StockVLLM
from btrans_eval.model_adapters.vllm.tables import name
from btrans_eval.model_adapters.vllm.trial import Sharing
from btrans_eval.population import fingerprint
from btrans_eval.population.checkpoint import of_folder
from btrans_eval.population.population import Population

_SWITCHES = ("VLLM_BATCH_INVARIANT", "VLLM_USE_V2_MODEL_RUNNER")
"""Environment variables of vLLM that change how tokens are computed or drawn."""


class VLLMEngine:
    """Generates and scores with vLLM, and with the tokenizer and methods of the harness's ``VLLM``.

    Args:
        lm: loaded.
        engines: what runs.
        noise: of their workers; None where they were started without.
        sharing: whether members share their batches.
        model_config: vLLM's own of the model.
        adapter: folder of an adapter, or None.
        rows_at_once: prompts that vLLM is given at once.
        places: how many of them it runs at once.
    """

    def __init__(
        self,
        lm: StockVLLM,
        engines: Engines,
        noise: Noise | None,
        sharing: Sharing,
        model_config: Any,
        adapter: str | None,
        rows_at_once: int,
        places: int,
    ) -> None:
        self._lm, self._engines, self._noise, self._sharing = lm, engines, noise, sharing
        self._model_config, self._adapter, self._rows_at_once = model_config, adapter, rows_at_once
        self.row_limit = RowLimit()
        self._member: int | None = None
        self._asked: Asked | None = None
        ends = model_config.try_get_generation_config().get("eos_token_id")
        self.generation = Generation(lm, self._call, rows_at_once, places, ends)

    @property
    def name(self) -> str:
        return str(self._lm.pretrained)

    @property
    def context(self) -> int:
        return int(self._lm.max_length)

    def become(self, population: Population, config: PopulationConfig) -> None:
        self._population = population
        if self._noise is None:
            self.members_at_once = sys.maxsize  # they are all the same
        elif self._sharing.reason is None and config.scheduling != "member":
            self.members_at_once = self._noise.tables.slots
        else:
            self.members_at_once = 1
        self.generation.become(population, self.members_at_once)

    def facts(self) -> Mapping[str, Any]:
        lm, model = self._lm, self._model_config
        return {
            "engine": f"vllm {vllm.__version__}",
            "transformers": ".".join(transformers.__version__.split(".")[:2]),
            "switches": {name: os.environ[name] for name in _SWITCHES if name in os.environ},
            "platform": PLATFORM,
            "model": [
                fingerprint.of_parts(lm._config, ()),
                *self._engines.tell("btrans_fingerprint")[0],
            ],
            "tokenizer": fingerprint.of_tokenizer(lm.tokenizer),
            "adapter": None if self._adapter is None else of_folder(self._adapter),
            "dtype": str(model.dtype),
            "quantization": model.quantization,
            "arguments": setup.facts(lm.model_args),
            "seeds": SCHEME,
            "think_end_token": thoughts.fact(lm.think_end_token, lm.enable_thinking is not False),
            "max_length": lm.max_length,
            "truncation_side": lm.truncation_side,
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
        if self._noise is None:
            return "vllm"
        return f"vllm, {'mixed' if self.members_at_once > 1 else 'member'}"

    def rows_at_once(self, longest: Any) -> int:
        return self._rows_at_once

    def generate(self, rows: Sequence[Row], order: Order) -> Iterator[list[tuple[Row, Response]]]:
        return self.generation.generate(rows, order)

    def _call(
        self,
        members: Sequence[int | None],
        prompts: list[list[int]],
        parameters: list[SamplingParams],
    ) -> list[Any]:
        """vLLM's output for each prompt, answered by the member in its place.

        Each prompt has parameters of its own.
        """
        if self._noise is None:
            asked = [TokensPrompt(prompt_token_ids=each) for each in prompts]
            return self._engines.generate(asked, parameters, self._lm.lora_request)
        if self.members_at_once > 1:
            salts = self._noise.share(self._population, set(members))
            for member, each in zip(members, parameters, strict=True):
                name(each, salts[member])
        else:
            (member,) = set(members)
            salts = {member: self._noise.hold(self._population, member)}
        asked = [
            TokensPrompt(prompt_token_ids=each, cache_salt=salts[member])
            for member, each in zip(members, prompts, strict=True)
        ]
        return self._engines.generate(asked, parameters, self._lm.lora_request)

    # -------------------------------------------------------------- loglikelihoods
    members_at_once = 1

    @property
    def shares_rows(self) -> bool:
        return False  # each request is a row of its own

    @contextmanager
    def answering(self, member: int | None) -> Iterator[None]:
        """Within, what the harness's methods ask vLLM is answered by this member."""
        outer, self._member = self._member, member
        try:
            yield
        finally:
            self._member = outer

    def read(self, prompts: list[list[int]]) -> list[Any]:
        """vLLM's output for prompts whose tokens are scored, as the harness asks for it."""
        if self._asked is not None:
            return self._asked.read(prompts)
        return self._read([self._member], prompts)[self._member]

    def _read(
        self, members: Sequence[int | None], prompts: list[list[int]]
    ) -> dict[int | None, list[Any]]:
        """By member, vLLM's output for each of the prompts."""
        asked = [(member, prompt) for prompt in prompts for member in members]
        parameters = [
            SamplingParams(temperature=0, prompt_logprobs=1, max_tokens=1, detokenize=False)
            for _ in asked
        ]
        outputs = self._call([m for m, _ in asked], [prompt for _, prompt in asked], parameters)
        count = len(members)
        return {member: outputs[place::count] for place, member in enumerate(members)}

    def score(self, requests: Sequence[Tokens], rows: int | None) -> list[Scored]:
        return StockVLLM._loglikelihood_tokens(self._lm, requests, disable_tqdm=True)

    def score_each(
        self, requests: Sequence[Tokens], members: Sequence[int]
    ) -> dict[int, list[Scored]]:
        self._asked = Asked(self._read, members)
        try:
            scores = {}
            for member in members:
                self._asked.member = member
                scores[member] = self.score(requests, None)
        finally:
            self._asked = None
        return scores

    def batches(
        self, requests: Sequence[Tokens], groups: list[list[int]], task: str, size: int | None
    ) -> list[list[list[int]]]:
        """Longest first, in pieces after which scores are stored; a group is one request."""

        def length(group: list[int]) -> int:
            _, context, continuation = requests[group[0]]
            return len(context + continuation)

        order, at_once = sorted(groups, key=length, reverse=True), self._rows_at_once
        return [order[start : start + at_once] for start in range(0, len(order), at_once)]


class Asked:
    """What the harness's method asks vLLM once for each member, read for all of them at once.

    Args:
        read: prompts to vLLM's outputs by member.
        members: whom it asks for, in turn.
    """

    def __init__(
        self,
        read: Callable[[Sequence[int | None], list[list[int]]], dict[int | None, list[Any]]],
        members: Sequence[int],
    ) -> None:
        self._read, self._members = read, members
        self._waiting: dict[int | None, list[tuple[list[list[int]], list[Any]]]] = {}
        self.member = members[0]

    def read(self, prompts: list[list[int]]) -> list[Any]:
        """Outputs of the member whose turn it is; of a later one, those that were read before."""
        if self.member == self._members[0]:
            found = self._read(self._members, prompts)
            for member in self._members[1:]:
                self._waiting.setdefault(member, []).append((prompts, found[member]))
            return found[self.member]
        asked, outputs = self._waiting[self.member].pop(0)
        if asked != prompts:
            raise RuntimeError(f"the harness asks member {self.member} something else")
        return outputs
