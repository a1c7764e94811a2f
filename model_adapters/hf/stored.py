"""``btrans-hf`` with ``from_store=true``: scored from a store, without the model's weights."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lm_eval.models.huggingface import HFLM

from btrans_eval.config import OWN_ARGUMENTS, PopulationConfig, refuse_misspelled, split_arguments
from btrans_eval.errors import UserError
from btrans_eval.harness.batches import Row
from btrans_eval.harness.engine import Scored, Tokens
from btrans_eval.harness.response import Response
from btrans_eval.harness.turns import Order
from btrans_eval.model_adapters.hf.engine import HFEngine
from btrans_eval.model_adapters.hf.lm import BTransHF
from btrans_eval.population import fingerprint
from btrans_eval.population.calibrate import Resolved
from btrans_eval.population.checkpoint import Checkpoint
from btrans_eval.population.measured import needs_measuring, recall
from btrans_eval.population.measurements import Weights
from btrans_eval.population.norms import find_norms, survey
from btrans_eval.population.population import Population

logger = logging.getLogger(__name__)

_CHANGE_WEIGHTS = ("peft", "delta", "autogptq", "gptqmodel", "gguf_file", "tp_plan")
# what transformers takes beside, that changes no weight or has a key of its own
_KNOWN = {*inspect.signature(HFLM.__init__).parameters, "attn_implementation",
          "experts_implementation", "device_map"} - {"self", "kwargs"}  # fmt: skip


class StoredHF(BTransHF):
    """A population whose responses are all in a store.

    The model is laid out on the device ``meta``, as transformers loads it; the fingerprint of its
    weights is read tensor by tensor. So keys are those of the loaded model.

    Raises:
        UserError: on an argument that weights cannot be known with but by loading them.
    """

    def __init__(self, pretrained: Any = None, **arguments: Any) -> None:
        own, others = split_arguments(arguments)
        refuse_misspelled(others, OWN_ARGUMENTS)
        _check(pretrained, others, PopulationConfig(**own))
        trust = ("revision", "subfolder", "trust_remote_code")
        self._checkpoint = Checkpoint(
            pretrained, {name: others[name] for name in trust if others.get(name) is not None}
        )
        quantized = getattr(self._checkpoint.config, "quantization_config", None)
        if quantized is not None:
            raise _unknowable(f"pretrained: {pretrained} is quantized")
        # the harness moves a model to its device unless this is set
        super().__init__(pretrained, **{**arguments, "device": "cpu", "parallelize": True})

    def become(self, config: PopulationConfig, responses: str | None) -> None:
        """As `BTransHF.become`, from the store that this was opened with or another."""
        if not config.from_store:
            raise UserError("from_store: must stay true, since no weights are loaded, got false")
        super().become(config, responses)

    # ------------------------------------------------------------- in place of loading
    def _get_accelerate_args(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {"device_map": "meta"}

    def _create_model(self, pretrained: str, *args: Any, **kwargs: Any) -> None:
        try:
            super()._create_model(pretrained, *args, **kwargs)
        except (OSError, ImportError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"pretrained: {pretrained} cannot be laid out here ({reason}); give from_store "
                "the same files and packages as the run that generated"
            ) from error
        found = self._checkpoint.fingerprint_of(self._model)
        if found is None:
            raise _unknowable(
                f"pretrained: {pretrained} has no safetensors files with the names of the "
                "model's weights (they are renamed or joined when loaded)"
            )
        self._digest = found
        self._outline = self._checkpoint.outline()

    def _start(self) -> HFEngine:
        return StoredEngine(self, lambda: self._digest)

    def _noisy_model(self) -> Any:
        return self._outline

    def _resolve_noise(self, config: PopulationConfig) -> Resolved:
        sigma, scales, calibration = self._recalled(config)
        if config.prior == "scaled" and sigma:
            layers = find_norms(self._outline, config.norms)
            scales = self._checkpoint.gains(self._model, layers)
        return sigma, scales, calibration

    def _recalled(self, config: PopulationConfig) -> Resolved:
        if not needs_measuring(config):
            assert not isinstance(config.sigma, str)
            return config.sigma, None, None
        dtype = str(next(self._model.parameters()).dtype)
        tokenizer = fingerprint.of_tokenizer(self.tokenizer)
        unusual = survey(self._outline, config.norms).unusual
        found = recall(Weights(self._digest, dtype, tokenizer), config, unusual)
        if found is not None:
            logger.warning("sigma=%g, as measured before", found[0])
            return found
        if config.prior == "balanced":
            raise UserError(
                "prior: balanced was not measured on this machine for this model, and from_store "
                "loads no weights to measure; set BTRANS_EVAL_CACHE to the folder of the run that "
                "generated (~/.cache/btrans_eval there)"
            )
        raise UserError(
            "sigma: auto was not measured on this machine for this model, and from_store loads no "
            "weights to measure; give sigma=NUMBER, which `btrans-eval store "
            f"{config.store}` lists, or set BTRANS_EVAL_CACHE to the folder of the run that "
            "generated"
        )

    def _detect_batch_size(self, *args: Any, **kwargs: Any) -> int:
        return int(self.max_batch_size)


class StoredEngine(HFEngine):
    """What a store's responses depend on, with nothing behind it that could make new ones."""

    def batching(self, request: Any) -> str:
        return "none: from the store"

    def become(self, population: Population, config: PopulationConfig) -> None:
        super().become(population, config)
        self._store = config.store

    def generate(self, rows: Sequence[Row], order: Order) -> Iterator[list[tuple[Row, Response]]]:
        raise self._gone()

    def score(self, requests: Sequence[Tokens], rows: int | None) -> list[Scored]:
        raise self._gone()

    def _gone(self) -> UserError:
        return UserError(
            f"from_store: a response left {self._store} while it was read, and no weights are "
            "loaded; run the same command without from_store"
        )


def _check(pretrained: Any, others: Mapping[str, Any], config: PopulationConfig) -> None:
    """Refuse what the weights' fingerprint cannot be known with, before anything is read."""
    if pretrained is None:
        raise UserError(
            "from_store: the demo model, which runs without pretrained=, is a GGUF file, whose "
            "weights are known only when loaded; leave from_store out, or give pretrained=NAME"
        )
    if not isinstance(pretrained, str):
        raise UserError(
            f"from_store: pretrained must be a name or a folder, got a {type(pretrained).__name__} "
            "that is loaded; leave from_store out"
        )
    for name in others:
        if name not in _KNOWN or (name in _CHANGE_WEIGHTS and others[name]):
            raise _unknowable(f"{name}: may change the weights, got {others[name]!r}")
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes > 1:
        raise UserError(
            f"from_store: scores in one process, got {processes}; start it without accelerate "
            "launch or torchrun"
        )
    if not Path(str(config.store)).is_file():
        raise UserError(
            f"store: must be there with from_store, but {config.store} is not; name the store "
            "that was generated or merged"
        )


def _unknowable(what: str) -> UserError:
    return UserError(
        f"{what}, so whose responses are in the store could only be known by loading it; leave "
        "from_store out: what is in the store is not generated again"
    )
