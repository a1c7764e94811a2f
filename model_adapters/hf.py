"""``btrans-hf``: the harness's ``hf`` model type, answered by a population."""

from __future__ import annotations

import logging
from typing import Any

import torch
import transformers
from lm_eval.models.huggingface import HFLM

from btrans_eval.config import (
    OWN_ARGUMENTS,
    PopulationConfig,
    refuse_misspelled,
    split_arguments,
)
from btrans_eval.demo import SIGMA, demo_arguments
from btrans_eval.errors import UserError
from btrans_eval.harness.memory import RowLimit
from btrans_eval.harness.ranks import Ranks, prepare_launch
from btrans_eval.model_adapters.hf_generation import HFGeneration
from btrans_eval.model_adapters.refill import Prepared, Unfit
from btrans_eval.population import calibrate, fingerprint
from btrans_eval.population.population import Population

logger = logging.getLogger(__name__)


class BTransHF(HFGeneration, HFLM):  # type: ignore[misc]
    """A population of one transformers model under lm_eval.

    Takes every argument of ``HFLM`` and those of ``btrans_eval.config.PopulationConfig``.

    Raises:
        UserError: on an argument outside its range, before the model is loaded.
    """

    def __new__(cls, *args: Any, **arguments: Any) -> BTransHF:
        kind = cls
        if arguments.get("from_store") and cls is BTransHF:
            from btrans_eval.model_adapters.hf_stored import StoredHF as kind
        return super().__new__(kind)  # type: ignore[no-any-return]

    def __init__(self, pretrained: Any = None, **arguments: Any) -> None:
        own, others = split_arguments(arguments)
        refuse_misspelled(others, OWN_ARGUMENTS)
        if pretrained is None:
            others = {**demo_arguments(), **others}
            pretrained = others.pop("pretrained")
            if not {"sigma", "kl"} & set(own) and own.get("prior", "isotropic") == "isotropic":
                own["sigma"] = SIGMA  # known: the demo needs no calibration
            logger.warning("no `pretrained` given: running the demo model, SmolLM2-135M-Instruct")
        self.population_config = config = PopulationConfig(**own)
        if others.get("backend") == "seq2seq":
            raise UserError("backend: must be causal under a population, got 'seq2seq'")
        # HFLM's own default, cuda, fails on a machine without
        others.setdefault("device", "cuda" if torch.cuda.is_available() else "cpu")
        prepare_launch()
        super().__init__(pretrained, **others)
        self._ranks = Ranks.of(self)
        self._logits_cache = self.logits_cache
        self._row_limit = RowLimit()
        self._batch_sizes = {}
        self._prepared: dict[str, Prepared | Unfit] = {}
        self.become(config, config.responses)

    def become(self, config: PopulationConfig, responses: str | None) -> None:
        """From now on, answer as another population of the same model.

        Args:
            config: the population.
            responses: JSON-lines file for every member's response, or None.
        """
        self.population_config = config
        found = self._resolve_noise(config)
        sigma, scales, self._calibration = self._ranks.from_first(found)
        self._population = Population(
            self._noisy_model(),
            sigma=sigma,
            mu=config.mu,
            prior=config.prior,
            noise=config.noise,
            noise_from=config.noise_from,
            norms=config.norms,
            seed=config.seed,
            scales=scales,
        )
        for note in self._population.notes:
            logger.warning("%s", note)
        # continuations that share a row have different contexts
        self.logits_cache = self._logits_cache and config.noise_from == "prompt"
        self._open_files(config, responses)

    def _resolve_noise(self, config: PopulationConfig) -> calibrate.Resolved:
        with self._bound(None):
            return calibrate.resolve(self.model, self.tokenizer, config)

    def _noisy_model(self) -> Any:
        """The model whose layers noise is added to."""
        return self.model

    def _fingerprint(self) -> str:
        return fingerprint.of_model(self.model)

    def _engine_facts(self) -> dict[str, Any]:
        """What responses depend on, apart from the members and the request."""
        config = self.model.config
        return {
            "engine": "transformers " + ".".join(transformers.__version__.split(".")[:2]),
            "model": self._fingerprint(),
            "tokenizer": fingerprint.of_tokenizer(self.tokenizer),
            "dtype": str(self.model.dtype),
            "autocast": str(self.mixed_precision_dtype),
            "softmax_dtype": str(self.softmax_dtype),
            "quantization": getattr(config, "quantization_config", None),
            "attention": getattr(config, "_attn_implementation", None),
            "experts": getattr(config, "_experts_implementation", None),
            "think_end_token": self.think_end_token,
            "max_length": self.max_length,
        }

    # ------------------------------------------------------------------ loading
    def _get_config(self, pretrained: str, *args: Any, **kwargs: Any) -> None:
        try:
            super()._get_config(pretrained, *args, **kwargs)
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"pretrained: must be a model on the hub or in a folder, but {pretrained!r} "
                f"could not be read ({reason})"
            ) from error
        if getattr(self._config, "is_encoder_decoder", False):
            raise UserError(
                f"pretrained: must be a decoder-only model, but {pretrained} is an encoder-decoder"
            )

    def _create_model(self, pretrained: str, *args: Any, **kwargs: Any) -> None:
        try:
            super()._create_model(pretrained, *args, **kwargs)
        except TypeError as error:
            if "unexpected keyword argument" not in str(error):
                raise
            name = str(error).rsplit("'", 2)[1]
            raise UserError(f"{name}: no such model argument ({error})") from error

    # -------------------------------------------------------------- loglikelihoods
    def _detect_batch_size(self, *args: Any, **kwargs: Any) -> Any:
        with self._bound(None):  # the search runs the model as it is
            return super()._detect_batch_size(*args, **kwargs)

    def _model_call(self, inps: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if self._bound_member is None:
            return super()._model_call(inps, *args, **kwargs)  # type: ignore[no-any-return]
        members = [self._bound_member] * inps.shape[0]
        with self._population.members(members, self._first_noisy(inps.tolist())):
            return super()._model_call(inps, *args, **kwargs)  # type: ignore[no-any-return]
