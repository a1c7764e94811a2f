"""``btrans-vllm``: the harness's ``vllm`` model type, answered by a population.

The same member is the same mind as in ``btrans-hf``: noise is keyed by the names that layers have
in transformers. Members share vLLM's batches where a trial at the start shows that they can, which
touches one private method (`mixing`); else they answer one after another, by public methods alone.
Sampled responses have seeds of their own, keyed as in ``btrans-hf``; vLLM's draws differ from its
draws.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from btrans_eval.model_adapters.vllm.stock import StockVLLM  # says where vLLM is missing

# isort: split
from btrans_eval.config import (
    OWN_ARGUMENTS,
    PopulationConfig,
    refuse_misspelled,
    split_arguments,
)
from btrans_eval.errors import UserError
from btrans_eval.harness.batches import check_batch_size
from btrans_eval.harness.bridge import refuse_cache_hook
from btrans_eval.harness.engine import Scored
from btrans_eval.harness.response import Response
from btrans_eval.harness.runner import Runner
from btrans_eval.model_adapters.vllm import setup
from btrans_eval.model_adapters.vllm.engine import VLLMEngine
from btrans_eval.model_adapters.vllm.noise import Noise
from btrans_eval.model_adapters.vllm.replicas import Engines, OneEngine, Replicas
from btrans_eval.model_adapters.vllm.trial import Sharing
from btrans_eval.population.calibrate import population_of
from btrans_eval.population.checkpoint import Checkpoint
from btrans_eval.population.norms import NormLayer, find_norms
from btrans_eval.population.population import Population

logger = logging.getLogger(__name__)

_PIECES = 4
"""Prompts handed to vLLM at once, as a multiple of what it runs at once: the engine runs empty
once for each, and what it has finished by then is stored."""
_USUAL_SEQUENCES = 256
_SLOTS = 64
"""Members that share batches, at most; more take turns, so many at a time."""


class BTransVLLM(StockVLLM):
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
        check_batch_size(others.get("batch_size", "auto"))
        self.pretrained = str(pretrained)
        self._checkpoint = checkpoint = Checkpoint(self.pretrained, setup.loading(others))
        self._model_config = setup.model_config(self.pretrained, others)
        self._calibrations = setup.Calibrations(checkpoint, self._model_config.dtype, others)
        self._outline = checkpoint.outline()
        self._populate(config)  # what can be refused is refused before the model is loaded
        is_noisy = not setup.is_stock(config)
        self._sharing = Sharing(config, others, self._model_config)
        slots = _SLOTS if is_noisy and self._sharing.reason is None else 0
        engine = {**setup.scheduling(others), **others, **setup.extension(is_noisy, others, slots)}
        super().__init__(self.pretrained, **engine)
        engines = self._start()
        vocabulary = self._model_config.get_vocab_size()
        self._noise = Noise(engines, vocabulary, slots) if is_noisy else None
        self.engine = VLLMEngine(
            self, engines, self._noise, self._sharing, self._model_config,
            others.get("lora_local_path"), *self._count_rows(),
        )  # fmt: skip
        self.become(config, config.responses)

    def become(self, config: PopulationConfig, responses: str | None) -> None:
        """From now on, answer as another population of the same model.

        Args:
            config: the population.
            responses: JSON-lines file for every member's response, or None.
        """
        setup.refuse_unsupported(config)
        gains = None
        if not setup.is_stock(config):
            if self._noise is None:
                raise UserError("sigma: vLLM was started without noise; start it again with noise")
            layers = find_norms(self._outline, config.norms)
            setup.refuse_reordered(self._config, layers)
            setup.refuse_gated(layers)
            self._noise.find(layers, self._weights_of(layers))
            self._sharing.settle(self._noise, config, layers)
            gains = self._noise.gains(layers) if config.prior == "scaled" else None
        population, calibration = self._populate(config, gains)
        before = getattr(self, "runner", None)
        self.runner = Runner(self.engine, population, config, None, calibration, responses, before)

    def _populate(
        self, config: PopulationConfig, gains: Mapping[str, float] | None = None
    ) -> tuple[Population, dict[str, Any] | None]:
        """The population, and how sigma was found.

        Without the gains, a population that only shows that it can be made.
        """
        if not setup.is_stock(config):
            setup.refuse_gated(find_norms(self._outline, config.norms))
        sigma, scales, calibration = self._calibrations.resolve(config)
        if config.prior in ("scaled", "balanced") and scales is None:
            names = [layer.name for layer in find_norms(self._outline, config.norms)]
            scales = dict(gains or dict.fromkeys(names, 1.0))
        population = population_of(self._outline, config, (sigma, scales, calibration))
        return population, calibration

    @property
    def population_config(self) -> PopulationConfig:
        """The population that answers, as the user gave it."""
        return self.runner.config

    # ------------------------------------------------------------ what the harness asks
    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[Response]:
        """Responses of the members, or the one that stands for them where a task wants one."""
        return self.runner.generate(requests, disable_tqdm)

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[Scored]:
        """Posterior predictive over the members: (log mean likelihood, most are greedy)."""
        return self.runner.loglikelihood(super().loglikelihood, requests, disable_tqdm)

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Posterior predictive of whole documents: log of the members' mean likelihood."""
        return self.runner.loglikelihood_rolling(
            super().loglikelihood_rolling, requests, disable_tqdm
        )

    def get_model_info(self) -> dict[str, Any]:
        """What the harness writes into the results file, with what the population really was."""
        return {**super().get_model_info(), "btrans": self.runner.info()}

    def set_cache_hook(self, cache_hook: Any) -> None:
        """Refuse the harness's response cache, which cannot tell members apart."""
        refuse_cache_hook(cache_hook)
        super().set_cache_hook(cache_hook)

    # ------------------------------------- what the harness's methods call back for tokens
    def _loglikelihood_tokens(
        self, requests: Any, disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[Scored]:
        return self.runner.score_tokens(requests, disable_tqdm, override_bs)

    def _model_generate(
        self, requests: list[list[int]], generate: bool = False, sampling_params: Any = None
    ) -> list[Any]:
        # texts are the runner's: the harness's methods ask only for tokens to be scored
        return self.engine.read(requests)

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

    def _count_rows(self) -> tuple[int, int]:
        """How many prompts vLLM is given at once, and how many of them it runs at once."""
        at_once: int
        if self.data_parallel_size > 1:
            at_once = self.model_args.get("max_num_seqs") or _USUAL_SEQUENCES
        else:
            at_once = self.model.llm_engine.vllm_config.scheduler_config.max_num_seqs
        places = int(at_once) * int(self.data_parallel_size)
        if self.batch_size == "auto":
            return _PIECES * places, places
        if self.batch_size < at_once:
            logger.warning(
                "batch_size: vLLM is given %d prompts at a time, and could run %d; use "
                "--batch_size auto", self.batch_size, at_once,
            )  # fmt: skip
        return int(self.batch_size), min(int(self.batch_size), places)
