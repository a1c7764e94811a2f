"""Train one arm with one seed: begin, or go on where the same command stopped."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import LoraConfig
from transformers import PrinterCallback

from btrans_eval import __version__
from btrans_eval.errors import UserError
from btrans_eval.population import calibrate, fingerprint
from btrans_eval.training import checkpoints
from btrans_eval.training.arms import TrainArm
from btrans_eval.training.base import load
from btrans_eval.training.guard import Watcher
from btrans_eval.training.learned_noise import MEANS, PRIOR
from btrans_eval.training.plan import TrainPlan
from btrans_eval.training.refusals import check_arguments
from btrans_eval.training.rewards import Rewards
from btrans_eval.training.rows import Drawn, order
from btrans_eval.training.steps import ROLLOUTS, STEPS, Lines, StepLog, lines
from btrans_eval.training.task import TrainingTask, generation_arguments
from btrans_eval.training.trainer import BTransGRPOTrainer
from btrans_eval.training.trl_arguments import arguments_of, differences

logger = logging.getLogger(__name__)

ADAPTER, RUN = "adapter", "run.json"
_PACKAGES = ("trl", "transformers", "peft", "torch", "lm_eval")
PAPER = {
    "stated": "GRPO; LoRA; 400 examples by strata; z frozen for a sequence; both arms alike",
    "second hand": "sigma 0.02",
    "ours": "members fresh or fixed, the update's noise, group, learning rate, rank, KL, "
    "temperature, steps, seeds, and how it is evaluated",
}
"""Which settings the paper is known to state (docs/training.md)."""


@dataclass(frozen=True)
class Setting:
    """What all arms and seeds of a study share.

    Attributes:
        plan: the study.
        task: asks and scores.
        drawn: the rows that are trained on.
        model_args: of the model, as it is loaded.
    """

    plan: TrainPlan
    task: TrainingTask
    drawn: Drawn
    model_args: Mapping[str, Any]


def check(plan: TrainPlan) -> None:
    """Refuse, before a model is loaded, what trl or members cannot do."""
    for arm in plan.arms:
        config = arguments_of(plan, arm, plan.seeds[0], Path("unused"), {"max_gen_toks": 1})
        check_arguments(config, arm.rollouts, {"watch": "the task's stop strings"})


def is_done(folder: Path) -> bool:
    """Whether a run was finished."""
    return (folder / RUN).is_file() and (folder / ADAPTER / "adapter_config.json").is_file()


def train(setting: Setting, arm: TrainArm, seed: int, folder: Path) -> None:
    """Train an arm with a seed, and write its adapter and what it used.

    Args:
        folder: of the run; what is there is gone on from.

    Raises:
        UserError: on a mistake of the user's, or a full disk.
    """
    if is_done(folder):
        logger.warning("%s, seed %d: trained before", arm.name, seed)
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _train(setting, arm, seed, folder)
    except (OSError, RuntimeError) as error:
        if not _is_full(error):
            raise
        last = checkpoints.latest(folder)
        kept = "its first step" if last is None else Path(last).name
        raise UserError(
            f"output_path: the disk of {folder} is full ({error}); make room, and run the same "
            f"command again: it goes on from {kept}"
        ) from error


def _is_full(error: Exception) -> bool:
    is_disk = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return is_disk or any(said in str(error) for said in ("No space left", "PytorchStreamWriter"))


def _train(setting: Setting, arm: TrainArm, seed: int, folder: Path) -> None:
    plan, docs = setting.plan, setting.drawn.docs
    lm = load(setting.model_args)
    template = lm.apply_chat_template if plan.apply_chat_template else None
    requests = [
        generation_arguments(setting.task.request(doc, number, template), plan.max_gen_toks)
        for number, doc in enumerate(docs)
    ]
    asked = lm.engine.arguments(requests[0])
    ending = lm.engine.generation.ending(requests[0])
    tokenizer = _tokenizer(lm, requests)
    noise = arm.population(seed)
    # sigma is measured on the model before it has an adapter
    resolved = calibrate.resolve(lm.model, lm.tokenizer, noise)
    population = calibrate.population_of(lm.model, noise, resolved)
    last = checkpoints.latest(folder)
    step = int(last.rpartition("-")[2]) if last else 0
    is_first = os.environ.get("RANK", "0") == "0"
    if is_first:
        _remove_unfinished(folder)
    rollouts = Lines(folder / ROLLOUTS, step) if is_first else None
    trainer: Any = None

    def write(found: list[dict[str, Any]]) -> None:
        now = trainer.state.global_step + 1
        if rollouts is None:
            return
        for member, line in zip(trainer.members, found, strict=True):
            rollouts.write({"step": now, "member": member, **line})

    rewards = Rewards(
        setting.task, docs, plan.group, ending.response, write, plan.by_vote, lambda: trainer.votes
    )
    places = order(len(docs), plan.prompts, plan.steps, seed)
    config = arguments_of(plan, arm, seed, folder, asked)
    trainer = BTransGRPOTrainer(
        lm.model,
        rewards,
        config,
        train_dataset=Dataset.from_dict(
            {"prompt": [requests[place].args[0] for place in places], "row": places}
        ),
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=plan.adapter.r,
            lora_alpha=plan.adapter.alpha,
            target_modules=_targets(plan.adapter.targets),
            lora_dropout=0.0,
            task_type="CAUSAL_LM",
        ),
        callbacks=[StepLog(Lines(folder / STEPS, step), f"{arm.name}, seed {seed}")]
        if is_first
        else [],
        population=population,
        rollouts=arm.rollouts,
        watch=ending.watch,
        extra_votes=plan.extra_votes,
    )
    trainer.remove_callback(PrinterCallback)
    watcher = Watcher(plan.guard, lambda: lines(folder / STEPS), lambda: lines(folder / ROLLOUTS))
    if plan.by_vote:
        trainer.add_callback(watcher)
    base = fingerprint.of_model(lm.model) if not step else None
    trainer.train(resume_from_checkpoint=last)
    if not is_first:
        return
    good = _before(watcher, plan.guard.window, folder) if watcher.reason else None
    part = folder / f"{ADAPTER}.part"
    shutil.rmtree(part, ignore_errors=True)
    if good is None:
        trainer.accelerator.unwrap_model(trainer.model).save_pretrained(part)
        if trainer.learned is not None:
            trainer.learned.save(part)
    else:
        part.mkdir()
        for path in [
            *good.glob("adapter_*"),
            *(good / name for name in (PRIOR, MEANS) if trainer.learned),
        ]:
            shutil.copy(path, part)
    shutil.rmtree(folder / ADAPTER, ignore_errors=True)
    part.rename(folder / ADAPTER)
    _write(folder / RUN, {
        "arm": arm.name,
        "seed": seed,
        "task": plan.task,
        "split": plan.split,
        "versions": {name: version(name) for name in _PACKAGES} | {"btrans_eval": __version__},
        "model_args": dict(setting.model_args),
        "weights_with_new_adapter": base,
        "sigma": population.sigma,
        "noise_sha256": population.digest(),
        "calibration": resolved[2],
        "learned_noise": trainer.learned.figures() if trainer.learned and not good else None,
        "rollouts": asdict(arm.rollouts),
        "steps": plan.steps,
        "prompts": plan.prompts,
        "group": plan.group,
        "tokens": trainer.state.num_input_tokens_seen,
        "strata": setting.drawn.strata,
        "rows_left_out_because_evaluated": setting.drawn.left_out,
        "row_sha256": setting.drawn.hashes,
        "order": places,
        "trl": differences(config),
        "paper": PAPER,
        "collapsed": good and {
            "step": watcher.step, "reason": watcher.reason, "adapter": good.name,
        },
    })  # fmt: skip


def _before(watcher: Watcher, window: int, folder: Path) -> Path:
    """The last checkpoint before the steps that were found collapsed.

    Raises:
        UserError: if there is none any more.
    """
    least = watcher.step - window
    good = [path for path in checkpoints.finished(folder) if checkpoints.step_of(path) <= least]
    if not good:
        raise UserError(
            f"reward: the vote collapsed by step {watcher.step}: {watcher.reason}. There is no "
            f"checkpoint of step {least} or before; take a higher beta, a lower learning_rate or "
            "fewer save_steps, and another folder"
        )
    logger.warning(
        "stopped at step %d, because %s; the adapter is that of %s",
        watcher.step, watcher.reason, good[-1].name,
    )  # fmt: skip
    return good[-1]


def _write(path: Path, facts: dict[str, Any]) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(facts, indent=1, default=str) + "\n", encoding="utf-8")
    os.replace(part, path)


def _tokenizer(lm: Any, requests: list[Any]) -> Any:
    """A tokenizer that gives trl the tokens that the harness feeds.

    Raises:
        UserError: if there is none.
    """
    wanted = [lm.engine.prompt_tokens(request) for request in requests]
    prompts = [request.args[0] for request in requests]
    tokenizer = deepcopy(lm.tokenizer)
    tokenizer.padding_side = "left"
    if tokenizer(text=prompts)["input_ids"] == wanted:
        return tokenizer
    with suppress(AttributeError):
        tokenizer.add_bos_token = False  # a chat template has written it
    if tokenizer(text=prompts)["input_ids"] == wanted:
        return tokenizer
    raise UserError(
        "task: trl would feed the model other tokens than the harness does (a prompt is longer "
        "than the model's context, or its BOS token is set by add_bos_token); shorten the prompts"
    )


def _targets(targets: Any) -> Any:
    return targets if isinstance(targets, str) else list(targets)


def _remove_unfinished(folder: Path) -> None:
    """Checkpoints that a kill has cut off."""
    whole = set(checkpoints.finished(folder))
    for path in folder.glob("checkpoint-*"):
        if path not in whole:
            shutil.rmtree(path)
