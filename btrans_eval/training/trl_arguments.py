"""trl's arguments: what a study says, the task's ways to sample, and what is left to trl."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from trl import GRPOConfig

from btrans_eval.errors import UserError
from btrans_eval.training.arms import TrainArm
from btrans_eval.training.plan import TrainPlan

_OF_TASK = ("top_p", "top_k", "min_p", "repetition_penalty")
_CHECKPOINTS = 2
_PLACES = ("output_dir", "logging_dir", "run_name")


def arguments_of(
    plan: TrainPlan, arm: TrainArm, seed: int, folder: Path, asked: Mapping[str, Any]
) -> GRPOConfig:
    """trl's arguments: what the study says, the task's ways to sample, and what is left to it.

    Raises:
        UserError: if trl refuses them, or a step cannot be shared among the processes.
    """
    rows, passes = shared(plan, int(os.environ.get("WORLD_SIZE", "1")))
    ours = {
        "output_dir": str(folder),
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": passes,
        "num_generations": plan.group,
        "max_completion_length": asked["max_gen_toks"],
        "max_steps": plan.steps,
        "learning_rate": plan.learning_rate,
        "lr_scheduler_type": "constant",
        "beta": plan.kl_weight,
        "temperature": arm.temperature,
        "seed": seed,
        "bf16": plan.bf16,
        "use_cpu": not torch.cuda.is_available(),
        "gradient_checkpointing": plan.gradient_checkpointing,
        "shuffle_dataset": False,  # the rows stand in the order in which they are asked
        "disable_dropout": True,
        "disable_tqdm": True,
        "logging_steps": 1,
        "report_to": list(plan.report_to),
        "save_strategy": "steps",
        "save_steps": plan.save_steps,
        "save_total_limit": _CHECKPOINTS + plan.by_vote * _shown_late(plan),
    }
    sampling = {name: asked[name] for name in _OF_TASK if asked.get(name) is not None}
    try:
        return GRPOConfig(**{**ours, **sampling, **plan.trl})
    except (TypeError, ValueError) as error:
        raise UserError(f"trl: refuses its arguments ({error})") from None


def shared(plan: TrainPlan, processes: int) -> tuple[int, int]:
    """Rows of a pass of each process, and its passes of a step: a step is one of any number."""
    whole = plan.rollouts_of_a_step
    if processes > 1 and plan.by_vote:
        raise UserError(
            f"reward: the vote is for one process, got {processes}: the guard must see all rollouts"
        )
    rows = plan.at_once or whole // processes
    if not rows or whole % (rows * processes):
        raise UserError(
            f"at_once: must divide a process's share of prompts x group = {whole} rollouts, got "
            f"{plan.at_once} with {processes} processes; choose prompts and at_once that divide"
        )
    return rows, whole // (rows * processes)


def _shown_late(plan: TrainPlan) -> int:
    """Checkpoints of the steps that show a collapse, before which one must still be there."""
    return plan.guard.window // plan.save_steps + 1


def differences(config: GRPOConfig) -> dict[str, Any]:
    """Arguments of trl, as resolved, that are not as its class declares them."""
    declared = {each.name: each.default for each in fields(config)}
    return {
        name: value
        for name, value in config.to_dict().items()
        if name in declared and declared[name] != value and name not in _PLACES
    }
