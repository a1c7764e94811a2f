"""``btrans-vllm``: the harness's ``vllm`` model type, answered by a population.

The same member is the same mind as in ``btrans-hf``: noise is keyed by the names that layers have
in transformers. Members answer one after another, and only vLLM's public methods are used. Sampled
responses have seeds of their own, keyed as in ``btrans-hf``; vLLM's draws differ from its draws.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import transformers
from torch import Tensor

from btrans_eval.model_adapters.vllm_stock import PLATFORM, StockVLLM  # says where vLLM is missing

# isort: split
import vllm
from vllm import SamplingParams, TokensPrompt

from btrans_eval.config import (
    OWN_ARGUMENTS,
    PopulationConfig,
    refuse_misspelled,
    split_arguments,
)
from btrans_eval.errors import UserError
from btrans_eval.harness.memory import RowLimit
from btrans_eval.harness.ranks import Ranks
from btrans_eval.model_adapters import vllm_setup as setup
from btrans_eval.model_adapters.vllm_engine import Engines, OneEngine, Replicas
from btrans_eval.model_adapters.vllm_generation import SCHEME, VLLMGeneration
from btrans_eval.model_adapters.vllm_noise import Noise
from btrans_eval.population import fingerprint
from btrans_eval.population.checkpoint import Checkpoint, of_folder
from btrans_eval.population.norms import NormLayer, find_norms
from btrans_eval.population.population import Population

logger = logging.getLogger(__name__)

_PIECES = 4
"""Prompts handed to vLLM at once, as a multiple of what it runs at once: the engine runs empty
once for each, and what it has finished by then is stored."""
_USUAL_SEQUENCES = 256
_SWITCHES = ("VLLM_BATCH_INVARIANT", "VLLM_USE_V2_MODEL_RUNNER")
"""Environment variables of vLLM that change how tokens are computed or drawn."""


class BTransVLLM(VLLMGeneration, StockVLLM):
    """A population of one model in vLLM under lm_eval.

    Takes every argument of the harness's ``VLLM`` and those of
    ``btrans_eval.config.PopulationConfig``, apart from noise of its own at every token or from
    the generation on.

    Raises:
        UserError: on an argument outside its range, before the model is loaded.
    """

    def __init__(self, pretrained: Any = None, **arguments: Any) -> None:
        own, others = split_arguments(arguments)
        refuse_misspelled(others, OWN_ARGUMENTS)
        if not pretrained:
            raise UserError("pretrained: name a model, as in pretrained=Qwen/Qwen3-0.6B")
        config = PopulationConfig(**own)
        setup.refuse_unsupported(config)
        setup.check_arguments(others)
        self.pretrained = str(pretrained)
        self._checkpoint = checkpoint = Checkpoint(self.pretrained, setup.loading(others))
        self._model_config = setup.model_config(self.pretrained, others)
        self._calibrations = setup.Calibrations(checkpoint, self._model_config.dtype, others)
        self._outline = checkpoint.outline()
        self._populate(config)  # what can be refused is refused before the model is loaded
        self._adapter_path = others.get("lora_local_path")
        is_noisy = not setup.is_stock(config)
        engine = {**setup.scheduling(others), **others, **setup.extension(is_noisy, others)}
        super().__init__(self.pretrained, **engine)
        self._engines = self._start()
        self._noise = Noise(self._engines, self._model_config.get_vocab_size())
        self._is_noisy = is_noisy
        self._ranks = Ranks()
        self._row_limit = RowLimit()
        self.rows_at_once = self._count_rows()
        self.become(config, config.responses)

    def become(self, config: PopulationConfig, responses: str | None) -> None:
        """From now on, answer as another population of the same model.

        Args:
            config: the population.
            responses: JSON-lines file for every member's response, or None.
        """
        setup.refuse_unsupported(config)
        if not (self._is_noisy or setup.is_stock(config)):
            raise UserError("sigma: vLLM was started without noise; start it again with noise")
        self.population_config = config
        gains = None
        if not setup.is_stock(config):
            layers = find_norms(self._outline, config.norms)
            setup.refuse_reordered(self._config, layers)
            setup.refuse_gated(layers)
            self._noise.find(layers, self._weights_of(layers))
            gains = self._noise.gains(layers) if config.prior == "scaled" else None
        self._populate(config, gains)
        for note in self._population.notes:
            logger.warning("%s", note)
        self._open_files(config, responses)

    def _populate(self, config: PopulationConfig, gains: Mapping[str, float] | None = None) -> None:
        """Make the population; without the gains, one that only shows that it can be made."""
        if not setup.is_stock(config):
            setup.refuse_gated(find_norms(self._outline, config.norms))
        sigma, scales, self._calibration = self._calibrations.resolve(config)
        if config.prior in ("scaled", "balanced") and scales is None:
            names = [layer.name for layer in find_norms(self._outline, config.norms)]
            scales = dict(gains or dict.fromkeys(names, 1.0))
        self._population = Population(
            self._outline,
            sigma=sigma,
            mu=config.mu,
            prior=config.prior,
            norms=config.norms,
            seed=config.seed,
            scales=scales,
        )

    @property
    def max_length(self) -> int:
        """Tokens of the context: vLLM's own, also of several engines, which the harness guesses."""
        if self.data_parallel_size > 1 and not self._max_length:
            return int(self._model_config.max_model_len)
        return int(super().max_length)

    def _weights_of(self, layers: Sequence[NormLayer]) -> dict[str, Tensor]:
        """The checkpoint's, where vLLM has loaded them from its safetensors."""
        if self.model_args.get("load_format", "auto") not in ("auto", "safetensors"):
            return {}
        where = self.model_args.get("download_dir")
        return self._checkpoint.weights(self._outline, layers, where)

    # ------------------------------------------------------------------ the engine
    def _start(self) -> Engines:
        if self.data_parallel_size <= 1:
            return OneEngine(self.model)
        gpus = self.tensor_parallel_size * int(self.model_args.get("pipeline_parallel_size", 1))
        return Replicas(self.model_args, self.data_parallel_size, gpus)

    def _count_rows(self) -> int:
        """How many prompts vLLM is given at once."""
        if self.data_parallel_size > 1:
            at_once = self.model_args.get("max_num_seqs") or _USUAL_SEQUENCES
        else:
            at_once = self.model.llm_engine.vllm_config.scheduler_config.max_num_seqs
        if self.batch_size == "auto":
            return _PIECES * int(at_once) * self.data_parallel_size
        if self.batch_size < at_once:
            logger.warning(
                "batch_size: vLLM is given %d prompts at a time, and could run %d; use "
                "--batch_size auto", self.batch_size, at_once,
            )  # fmt: skip
        return int(self.batch_size)

    def _model_generate(
        self, requests: list[list[int]], generate: bool = False, sampling_params: Any = None
    ) -> list[Any]:
        """As the harness's, answered by the member that is bound."""
        if not generate or sampling_params is None:
            sampling_params = SamplingParams(
                temperature=0, prompt_logprobs=1, max_tokens=1, detokenize=False
            )
        if not isinstance(sampling_params, list):
            sampling_params = [sampling_params] * len(requests)
        if self._is_noisy:
            salt = self._noise.hold(self._population, self._bound_member)
            prompts = [TokensPrompt(prompt_token_ids=each, cache_salt=salt) for each in requests]
        else:
            prompts = [TokensPrompt(prompt_token_ids=each) for each in requests]
        return self._engines.generate(prompts, sampling_params, self.lora_request)

    def _batches_of(
        self, requests: Sequence[Any], groups: list[list[int]], override_bs: int | None
    ) -> list[list[list[int]]]:
        """Longest first, in pieces after which scores are stored; a group is one request."""

        def length(group: list[int]) -> int:
            _, context, continuation = requests[group[0]]
            return len(context + continuation)

        order, size = sorted(groups, key=length, reverse=True), self.rows_at_once
        return [order[start : start + size] for start in range(0, len(order), size)]

    # ------------------------------------------------------------------- the store
    def _engine_facts(self) -> dict[str, Any]:
        """What responses depend on, apart from the members and the request."""
        model, path = self._model_config, self._adapter_path
        return {
            "engine": f"vllm {vllm.__version__}",
            "transformers": ".".join(transformers.__version__.split(".")[:2]),
            "switches": {name: os.environ[name] for name in _SWITCHES if name in os.environ},
            "platform": PLATFORM,
            "model": [
                fingerprint.of_parts(self._config, ()),
                *self._engines.tell("btrans_fingerprint")[0],
            ],
            "tokenizer": fingerprint.of_tokenizer(self.tokenizer),
            "adapter": None if path is None else of_folder(path),
            "dtype": str(model.dtype),
            "quantization": model.quantization,
            "arguments": setup.facts(self.model_args),
            "seeds": SCHEME,
            "think_end_token": self.think_end_token,
            "max_length": self.max_length,
            "truncation_side": self.truncation_side,
        }
