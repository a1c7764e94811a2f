"""A training study from beginning to end: rows, runs, evaluation, report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from btrans_eval.errors import UserError
from btrans_eval.training.base import base_arguments
from btrans_eval.training.plan import TrainPlan
from btrans_eval.training.rows import Drawn, draw
from btrans_eval.training.run import Setting, train
from btrans_eval.training.task import Asking, TrainingTask


def run(plan: TrainPlan, folder: Path, report: Callable[[Path], None]) -> None:
    """Train every arm with every seed, and evaluate what was trained; what is done stays."""
    arguments, _ = base_arguments(plan.model_args)
    asking = Asking(
        plan.num_fewshot, plan.apply_chat_template, plan.system_instruction, plan.include_path
    )
    task = TrainingTask(plan.task, plan.group, asking, plan.reward)
    setting = Setting(plan, task, _drawn(plan, task, asking), arguments)
    for seed in plan.seeds:
        for arm in plan.arms:
            train(setting, arm, seed, run_folder(folder, arm.folder, seed))


def run_folder(folder: Path, arm: str, seed: int) -> Path:
    """Where an arm's run with a seed stands."""
    return folder / "runs" / arm / f"seed-{seed}"


def _drawn(plan: TrainPlan, task: TrainingTask, asking: Asking) -> Drawn:
    evaluated = []
    for name in plan.evaluation.tasks or (plan.task,):
        other = task if name == plan.task else TrainingTask(name, plan.group, asking)
        evaluated += other.evaluated_docs()
    if plan.rows is None:
        candidates = task.training_docs()
    else:
        try:
            lines = Path(plan.rows).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"rows: {plan.rows} cannot be read ({error})") from None
        candidates = task.own_docs([line for line in lines if line.strip()], plan.rows)
    return draw(task, candidates, evaluated, plan.examples, plan.strata)
