"""What training with members cannot be had with, told in one line before a model is loaded."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import Any

from torch import nn

from btrans_eval.config import PopulationConfig
from btrans_eval.errors import UserError
from btrans_eval.population.norms import NormLayer
from btrans_eval.population.population import Population
from btrans_eval.training.rollouts import Rollouts

TRL = "1.16"
"""The release of trl whose private methods the trainer was tested on."""

_TRIMS = {"top_p": 1.0, "top_k": 0, "min_p": None, "repetition_penalty": 1.0}
_PASSES = {
    "torch_compile": "its graph would ignore the noise",
    "use_vllm": "trl asks it for all rollouts of a prompt in one request, which has no members",
    "use_transformers_continuous_batching": "it packs rows, whose members could not be told apart",
    "use_transformers_paged": "it packs rows, whose members could not be told apart",
    "use_liger_kernel": "its kernels replace the norms that noise is added to",
    "fsdp": "it takes the norms' weights apart",
}


def check_trl() -> None:
    """Refuse a release of trl that was not tested, and none at all."""
    try:
        release = importlib.metadata.version("trl")
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            "train: needs trl, which is not installed; pip install 'btrans_eval[train]'"
        ) from None
    if release.split(".")[:2] != TRL.split("."):
        raise UserError(
            f"trl: must be {TRL}, whose inner ways were tested, got {release}; "
            f"pip install 'trl=={TRL}.*'"
        )


def check_arguments(args: Any, rollouts: Rollouts, others: Mapping[str, Any]) -> None:
    """Refuse trl's arguments that members cannot be had with.

    Args:
        args: a ``GRPOConfig``.
        rollouts: who answers.
        others: what else the trainer was given, by name; of it ``watch`` and ``peft_config``, too.
    """
    for name, reason in _PASSES.items():
        value = getattr(args, name, None)
        if value:
            raise UserError(f"{name}: cannot be had with members, got {value!r}: {reason}")
    for name in ("tools", "environment_factory", "rollout_func"):
        if others.get(name):
            raise UserError(
                f"{name}: cannot be had with members, since it generates for some rows at a time; "
                "leave it out"
            )
    if (getattr(args, "model_init_kwargs", None) or {}).get("use_kernels"):
        raise UserError("use_kernels: cannot be had with members: kernels replace the norms")
    if args.mask_truncated_completions and others.get("watch") is not None:
        raise UserError(
            "mask_truncated_completions: cannot be had where stop strings end rollouts, got True: "
            "trl takes such a rollout, without an end token, for truncated, and would not learn "
            "from it; leave it out"
        )
    if args.num_generations < 2:
        raise UserError(
            f"num_generations: a group needs at least 2 rollouts, got {args.num_generations}"
        )
    every = args.steps_per_generation * args.num_iterations
    is_saved = getattr(args.save_strategy, "value", args.save_strategy) == "steps"
    if is_saved and (args.save_steps * args.gradient_accumulation_steps) % every:
        raise UserError(
            f"save_steps: must fall between two generations, which are every {every} batches of "
            f"{args.gradient_accumulation_steps} a step, got {args.save_steps}: what was generated "
            "is not saved"
        )
    trimmed = [name for name, whole in _TRIMS.items() if getattr(args, name) != whole]
    if rollouts.update == "clean" and trimmed:
        raise UserError(
            f"{trimmed[0]}: must be {_TRIMS[trimmed[0]]} with update=clean, whose importance "
            f"weights are of untrimmed probabilities, got {getattr(args, trimmed[0])}"
        )
    _check_adapter(others.get("peft_config"))


def _check_adapter(adapter: Any) -> None:
    if adapter is None:
        return
    if getattr(adapter, "is_prompt_learning", False):
        raise UserError(
            f"peft_config: must leave the tokens as they are, got {type(adapter).__name__}, which "
            "puts a learned prompt before them; use LoRA"
        )
    for name in getattr(adapter, "modules_to_save", None) or ():
        if "norm" in name.lower():
            raise UserError(
                f"modules_to_save: must hold no norm, got {name}: noise is added to the norms as "
                "they are; leave it out"
            )


def check_population(population: PopulationConfig | Population) -> None:
    """Refuse noise whose place in a row is not known when the row is bound."""
    if population.noise_from != "prompt":
        raise UserError(
            "noise_from: must be prompt in training, got generation: where a row's noise begins is "
            "not known before its prompt is read"
        )


def check_reference(reference: Any, population: Population, rollouts: Rollouts) -> None:
    """Refuse a KL between a model with noise and another without.

    Args:
        reference: trl's copy of the model, where it has one; an adapter needs none.
    """
    if reference is not None and rollouts.update == "member" and not population.is_stock:
        raise UserError(
            "beta: must be 0 where the whole model learns under its members, since trl's reference "
            "is a copy without their noise; give peft_config=LoraConfig(...), beta=0, or "
            "update=clean"
        )


def check_learned(population: Population, processes: int, args: Any) -> None:
    """Refuse noise that could not learn by reward."""
    if args.load_best_model_at_end:
        raise UserError(
            "load_best_model_at_end: cannot be had with learn=lora+sigma: the adapter would be of "
            "another step than the noise; resume from the checkpoint instead"
        )
    if population.noise != "sequence":
        raise UserError(
            f"learn: lora+sigma needs noise=sequence, got noise={population.noise}; leave noise out"
        )
    if processes > 1:
        raise UserError(
            f"learn: lora+sigma goes with one process, got {processes}: its gradients are not "
            "gathered; start one, or write learn=lora"
        )


def check_model(model: nn.Module, layers: tuple[NormLayer, ...]) -> None:
    """Refuse a model in training that would not compute the same twice, or whose norms are wrapped.

    Args:
        model: with its adapter.
        layers: those that noise is added to.
    """
    for name, module in model.named_modules():
        is_dropout = isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0
        functional = getattr(module, "attention_dropout", 0.0)
        if is_dropout or (isinstance(functional, float) and functional > 0):
            raise UserError(
                f"dropout: must be 0, since it would differ between generation and update, but "
                f"{name} has it; set disable_dropout=True, and attention_dropout=0 in the model's "
                "configuration"
            )
    parts = {id(module) for module in model.modules()}
    for layer in layers:
        if id(layer.module) not in parts:
            raise UserError(
                f"population: must be of the model that is trained, got one whose {layer.name} is "
                "of another copy, which nothing would ask; give Population(model, ...) of the same "
                "object, or a PopulationConfig"
            )
    adapted = {id(module) for name, module in model.named_modules() if hasattr(module, "base_layer")
               or type(module).__name__ == "ModulesToSaveWrapper"}  # fmt: skip
    wrapped = {id(each): name for name, module in model.named_modules() if id(module) in adapted
               for each in module.modules()}  # fmt: skip
    for layer in layers:
        if id(layer.module) in wrapped:
            raise UserError(
                f"peft_config: must not adapt norms, but {wrapped[id(layer.module)]} is adapted; "
                "name other target_modules"
            )
