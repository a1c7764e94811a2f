"""One model in vLLM as an engine: what its rows depend on, and tokens scored under a member."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
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
from btrans_eval.model_adapters import thoughts
from btrans_eval.model_adapters.vllm import setup
from btrans_eval.model_adapters.vllm.generation import SCHEME, Generation
from btrans_eval.model_adapters.vllm.noise import Noise
from btrans_eval.model_adapters.vllm.replicas import Engines
from btrans_eval.model_adapters.vllm.stock import PLATFORM, StockVLLM
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
        model_config: vLLM's own of the model.
        adapter: folder of an adapter, or None.
        rows_at_once: prompts that vLLM is given at once.
    """

    def __init__(
        self,
        lm: StockVLLM,
        engines: Engines,
        noise: Noise | None,
        model_config: Any,
        adapter: str | None,
        rows_at_once: int,
    ) -> None:
        self._lm, self._engines, self._noise = lm, engines, noise
        self._model_config, self._adapter, self._rows_at_once = model_config, adapter, rows_at_once
        self.row_limit = RowLimit()
        self._member: int | None = None
        ends = model_config.try_get_generation_config().get("eos_token_id")
        self.generation = Generation(lm, self._call, rows_at_once, ends)

    @property
    def name(self) -> str:
        return str(self._lm.pretrained)

    @property
    def context(self) -> int:
        return int(self._lm.max_length)

    def become(self, population: Population, config: PopulationConfig) -> None:
        self._population = population
        self.generation.become(population)

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
        return "vllm"

    def rows_at_once(self, longest: Any) -> int:
        return self._rows_at_once

    def generate(self, rows: Sequence[Row]) -> Iterator[list[tuple[Row, Response]]]:
        return self.generation.generate(rows)

    def _call(
        self, member: int | None, prompts: list[list[int]], parameters: list[SamplingParams]
    ) -> list[Any]:
        """vLLM's output for each prompt, answered by a member."""
        if self._noise is None:
            asked = [TokensPrompt(prompt_token_ids=each) for each in prompts]
        else:
            salt = self._noise.hold(self._population, member)
            asked = [TokensPrompt(prompt_token_ids=each, cache_salt=salt) for each in prompts]
        return self._engines.generate(asked, parameters, self._lm.lora_request)

    # -------------------------------------------------------------- loglikelihoods
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
        parameters = SamplingParams(
            temperature=0, prompt_logprobs=1, max_tokens=1, detokenize=False
        )
        return self._call(self._member, prompts, [parameters] * len(prompts))

    def score(self, requests: Sequence[Tokens], rows: int | None) -> list[Scored]:
        return StockVLLM._loglikelihood_tokens(self._lm, requests, disable_tqdm=True)

    def batches(
        self, requests: Sequence[Tokens], groups: list[list[int]], task: str, size: int | None
    ) -> list[list[list[int]]]:
        """Longest first, in pieces after which scores are stored; a group is one request."""

        def length(group: list[int]) -> int:
            _, context, continuation = requests[group[0]]
            return len(context + continuation)

        order, at_once = sorted(groups, key=length, reverse=True), self._rows_at_once
        return [order[start : start + at_once] for start in range(0, len(order), at_once)]
