"""What ``btrans-vllm`` checks and finds out before it starts vLLM."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
import transformers
from lm_eval.models.utils import configure_pad_token
from vllm import LLM
from vllm.engine.arg_utils import EngineArgs

from btrans_eval.config import PRIORS, PopulationConfig, check_whole, refuse_misspelled
from btrans_eval.errors import UserError
from btrans_eval.model_adapters.vllm import mixing
from btrans_eval.model_adapters.vllm.stock import PLATFORM, VLLM
from btrans_eval.population import fingerprint
from btrans_eval.population.calibrate import Resolved
from btrans_eval.population.checkpoint import Checkpoint
from btrans_eval.population.measured import needs_measuring, recall
from btrans_eval.population.measurements import Weights
from btrans_eval.population.norms import NormLayer, survey

logger = logging.getLogger(__name__)

_ENGINE = frozenset(field.name for field in fields(EngineArgs))
_KNOWN = {
    name
    for function in (VLLM.__init__, LLM.__init__)
    for name in (*inspect.signature(function).parameters, *_ENGINE, "device")
} - {"self", "kwargs"}
_ADAPTERS = "btrans_eval.model_adapters"
_NOISY, _STOCK = f"{_ADAPTERS}.vllm.worker.NoisyWorker", f"{_ADAPTERS}.vllm.weights.WeightReader"
_GRAPH = "a bias in every normalization layer, 1"

# what has a key of its own, and how much is computed at once or kept where
_NO_MATTER = {
    "additional_config", "worker_extension_cls", "model", "revision", "tokenizer",
    "tokenizer_revision", "dtype", "quantization", "max_model_len", "max_num_seqs",
    "max_num_batched_tokens", "gpu_memory_utilization", "kv_cache_memory_bytes", "download_dir",
    "disable_log_stats", "seed", "trust_remote_code", "max_lora_rank",
}  # fmt: skip


def refuse_unsupported(config: PopulationConfig) -> None:
    """Refuse noise that vLLM cannot carry.

    Raises:
        UserError: naming the argument.
    """
    if config.noise == "token":
        raise UserError(
            "noise: must be sequence in vLLM, where all tokens of a pass share one bias, got "
            "token; use --model btrans-hf"
        )
    if config.noise_from == "generation":
        raise UserError(
            "noise_from: must be prompt in vLLM, where all tokens of a pass share one bias, got "
            "generation; use --model btrans-hf"
        )
    if config.from_store:
        raise UserError(
            "from_store: must be false in vLLM, whose workers tell what they hold of the weights; "
            "leave it out: with store=FILE nothing is generated twice"
        )
    if config.batching == "static":
        raise UserError("batching: vLLM makes its own batches, got static; leave it out")


def check_arguments(others: Mapping[str, Any]) -> None:
    """Refuse model arguments that vLLM does not have, or that members would not survive.

    Raises:
        UserError: naming the argument.
    """
    for name in others:
        if name not in _KNOWN:
            refuse_misspelled([name], sorted(_KNOWN))
            raise UserError(f"{name}: neither vLLM nor the harness has such a model argument")
    for name in ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"):
        if name in others:
            check_whole(name, others[name], minimum=1)
    for name in ("worker_extension_cls", "worker_cls"):
        if others.get(name):
            raise UserError(
                f"{name}: is how members reach vLLM's workers, got {others[name]!r}; leave it out"
            )
    for name in ("kv_transfer_config", "kv_offloading_size"):
        if others.get(name):
            raise UserError(
                f"{name}: a cache outside of vLLM may give one member's keys and values "
                "to another; leave it out"
            )
    if others.get("logprobs_mode") not in (None, "raw_logprobs"):
        raise UserError(
            "logprobs_mode: must be raw_logprobs, since log-probabilities are the member's own "
            f"before anything is made of them, got {others['logprobs_mode']!r}; leave it out"
        )
    if not isinstance(others.get("think_end_token") or "", str):
        raise UserError(
            "think_end_token: must be the token's text in vLLM, got "
            f"{others['think_end_token']!r}; for example think_end_token=</think>"
        )
    if not isinstance(others.get("additional_config") or {}, dict):
        raise UserError("additional_config: must be a dictionary; leave it out")


def scheduling(others: Mapping[str, Any]) -> dict[str, Any]:
    """Engine arguments without which sampling fails.

    On CPUs vLLM 0.32 ends with an error where it reads a prompt in pieces whose response has a seed
    ("CPU Generator does not use offset").
    """
    is_needed = PLATFORM == "cpu" and "enable_chunked_prefill" not in others
    return {"enable_chunked_prefill": False} if is_needed else {}


def extension(is_noisy: bool, others: Mapping[str, Any], slots: int) -> dict[str, Any]:
    """The engine arguments that name our part of its workers.

    Args:
        is_noisy: whether there is noise at all.
        others: the harness's and vLLM's model arguments.
        slots: how many members share batches; 0: none do.
    """
    if not is_noisy:
        return {"worker_extension_cls": _STOCK}
    # a compiled graph with noise must not be taken for one without
    given = {**(others.get("additional_config") or {}), "btrans_eval": _GRAPH}
    if slots:
        given[mixing.SLOTS] = slots
    return {"worker_extension_cls": _NOISY, "additional_config": given}


def is_stock(config: PopulationConfig) -> bool:
    """Whether these arguments ask for the model itself."""
    return config.prior in PRIORS and config.sigma == 0 and config.mu == 0


def refuse_reordered(config: Any, layers: Sequence[NormLayer]) -> None:
    """Refuse layers without weights whose channels vLLM has in another order than transformers.

    Raises:
        UserError: naming one of them.
    """
    for layer in layers:
        if config.model_type.startswith("llama4") and layer.name.endswith(".qk_norm"):
            raise UserError(
                f"norms: vLLM orders the channels of {layer.name} otherwise than transformers, so "
                "members would not be those of btrans-hf; use norms=residual, or --model btrans-hf"
            )


def refuse_gated(layers: Sequence[NormLayer]) -> None:
    """Refuse layers whose noise goes where this engine cannot put it, or not alone.

    Raises:
        UserError: naming some of them.
    """
    names = [layer.name for layer in layers if layer.is_gated]
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise UserError(
            f"norms: {names[0]}{more} multiplies by a gate, and vLLM cannot add noise before it; "
            "leave these out with norms=, or use --model btrans-hf"
        )
    for layer in layers:
        if layer.part is not None:
            raise UserError(
                f"norms: {layer.path} returns several norms, and vLLM cannot add noise to each; "
                "leave it out with norms=, or use --model btrans-hf"
            )


def loading(others: Mapping[str, Any]) -> dict[str, Any]:
    """What transformers needs to load the same checkpoint's configuration."""
    return {name: others[name] for name in ("revision", "trust_remote_code") if name in others}


def model_config(pretrained: str, others: Mapping[str, Any]) -> Any:
    """vLLM's own configuration of the model, before an engine starts."""
    arguments = {name: value for name, value in others.items() if name in _ENGINE}
    length = others.get("max_length") or others.get("max_model_len")
    try:
        return EngineArgs(
            **{**arguments, "model": pretrained, "max_model_len": length and int(length)}
        ).create_model_config()
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"model_args: vLLM refuses them ({reason})") from error


def facts(model_args: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the engine's arguments that responses may depend on."""
    return {name: value for name, value in model_args.items() if name not in _NO_MATTER}


class Calibrations:
    """Sigma and scales, from what was measured with transformers.

    Args:
        checkpoint: the model.
        dtype: that vLLM computes in.
        others: the harness's and vLLM's model arguments.
    """

    def __init__(
        self, checkpoint: Checkpoint, dtype: torch.dtype, others: Mapping[str, Any]
    ) -> None:
        self._checkpoint, self._dtype, self._others = checkpoint, dtype, others
        self._weights: Weights | None = None
        self._known: dict[PopulationConfig, Resolved] = {}

    def resolve(self, config: PopulationConfig) -> Resolved:
        """As `calibrate.resolve`.

        Raises:
            UserError: if that was not measured, naming the command that does.
        """
        if config not in self._known:
            self._known[config] = self._look_up(config)
        return self._known[config]

    def _look_up(self, config: PopulationConfig) -> Resolved:
        if not needs_measuring(config):
            assert not isinstance(config.sigma, str)
            return config.sigma, None, None
        what = "prior: balanced" if config.prior == "balanced" else "sigma: auto"
        for name in ("lora_local_path", "quantization"):
            if self._others.get(name):
                raise UserError(
                    f"{what} is measured with transformers, which does not see {name}; give "
                    "sigma=NUMBER and another prior"
                )
        if self._weights is None:
            self._weights = Weights(
                self._checkpoint.fingerprint(self._dtype),
                str(self._dtype),
                fingerprint.of_tokenizer(self._tokenizer()),
            )
        outline = self._checkpoint.outline()
        found = recall(self._weights, config, survey(outline, config.norms).unusual)
        if found is None:
            raise UserError(
                f"{what} was not measured yet for this model in {self._kind()}, and vLLM cannot; "
                f"run {self._command(config)} first, or give sigma=NUMBER"
            )
        logger.warning("%s: sigma=%g, as measured with transformers", what, found[0])
        return found

    def _kind(self) -> str:
        return str(self._dtype).removeprefix("torch.")

    def _command(self, config: PopulationConfig) -> str:
        arguments = [f"pretrained={self._checkpoint.name}", f"dtype={self._kind()}"]
        arguments += [
            f"{name}={self._others[name]}"
            for name in ("revision", "trust_remote_code", "tokenizer", "add_bos_token")
            if name in self._others
        ]
        arguments += [
            f"{name}={getattr(config, name)}"
            for name, usual in (("norms", "all"), ("seed", 0))
            if getattr(config, name) != usual
        ]
        if config.prior == "balanced" and config.kl is not None:
            given = ",".join([*arguments, "prior=balanced", f"kl={config.kl:g}"])
            return f"lm_eval --model btrans-hf --model_args {given} --tasks btrans_demo --limit 1"
        budget = "" if config.kl is None else f" --kl {config.kl:g}"
        given = ",".join(arguments)
        return f"btrans-eval calibrate --model_args {given}{budget} --output_path OUT"

    def _tokenizer(self) -> Any:
        """The tokenizer as ``hf`` loads it."""
        others = self._others
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            others.get("tokenizer") or self._checkpoint.name, **loading(others), **_bos(others)
        )
        return configure_pad_token(tokenizer, model_config=self._checkpoint.config)


def _bos(others: Mapping[str, Any]) -> dict[str, Any]:
    given = others.get("add_bos_token")
    return {} if given is None else {"add_bos_token": given}
