"""A training study from beginning to end: rows, runs, evaluation, report."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from btrans_eval import __version__
from btrans_eval.errors import UserError
from btrans_eval.harness import record
from btrans_eval.training import report
from btrans_eval.training.analysis import analyse, sentence
from btrans_eval.training.base import base_arguments
from btrans_eval.training.evaluation import evaluate
from btrans_eval.training.plan import TrainPlan
from btrans_eval.training.rows import Drawn, draw, keep
from btrans_eval.training.run import RUN, Setting, check, train
from btrans_eval.training.task import Asking, TrainingTask, check_evaluated

logger = logging.getLogger(__name__)


def run(plan: TrainPlan, folder: Path) -> None:
    """Train every arm with every seed, and evaluate what was trained; what is done stays."""
    check(plan)
    arguments = base_arguments(plan.model_args)
    asking = Asking(
        plan.num_fewshot, plan.apply_chat_template, plan.system_instruction, plan.include_path
    )
    task = TrainingTask(plan.task, plan.votes or plan.group, asking, plan.reward)
    setting = Setting(plan, task, _drawn(plan, task, asking), arguments)
    keep(setting.drawn, folder)
    runs: dict[tuple[str, int], Path] = {}
    for seed in plan.seeds:
        for arm in plan.arms:
            runs[arm.name, seed] = folder / "runs" / arm.folder / f"seed-{seed}"
            train(setting, arm, seed, runs[arm.name, seed])
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # each arm of an evaluation is one process's
        if os.environ.get("RANK", "0") == "0":
            print("trained; run the same command again without accelerate, which evaluates")
        return
    found = evaluate(plan, runs, arguments, folder / "evaluation")
    baseline = next((arm.name for arm in plan.arms if arm.kind == "stock"), None)
    names = [arm.name for arm in plan.arms]
    tasks = {name: analyse(of_task, names, baseline) for name, of_task in found.items()}
    text = json.dumps(_facts(plan, folder, runs, tasks), indent=1, ensure_ascii=False)
    (folder / report.STUDY).write_text(text + "\n", encoding="utf-8")
    page = report.write(folder)
    for name, of_task in tasks.items():
        print(f"\n{name}, % right\n{report.scores(name, of_task).markdown()}")
        for one in of_task["differences"]:
            if one["measure"] == "clean model":
                print(sentence(one))
    print(f"\nreport: {page}")
    unscored = record.current().failures.line()
    if unscored is not None:
        logger.warning("in training, %s", unscored)


def _drawn(plan: TrainPlan, task: TrainingTask, asking: Asking) -> Drawn:
    if plan.split == "test":
        check_evaluated(plan.evaluation.tasks, asking)
        return draw(task, list(task.task.eval_docs), set(), plan.examples, plan.strata)
    evaluated: set[str] = set()
    for name in plan.evaluation.tasks or (plan.task,):
        # examples are no part of a question, and a task may refuse them
        alone = replace(asking, num_fewshot=None)
        other = task if name == plan.task else TrainingTask(name, plan.group, alone)
        evaluated |= other.evaluated()
    if plan.rows is None:
        candidates = task.training_docs()
    else:
        try:
            lines = Path(plan.rows).read_text(encoding="utf-8").split("\n")  # rows hold U+2028
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"rows: {plan.rows} cannot be read ({error})") from None
        candidates = task.own_docs(lines, plan.rows)
    return draw(task, candidates, evaluated, plan.examples, plan.strata)


def _facts(
    plan: TrainPlan,
    folder: Path,
    runs: Mapping[tuple[str, int], Path],
    tasks: Mapping[str, Any],
) -> dict[str, Any]:
    """All that the report shows."""
    used = {key: json.loads((path / RUN).read_text(encoding="utf-8")) for key, path in runs.items()}
    first = next(iter(used.values()))
    population = next((used[a.name, plan.seeds[0]] for a in plan.arms if a.kind != "stock"), None)
    return {
        "version": __version__,
        "task": plan.task,
        "split": plan.split,
        "model": Path(str(first["model_args"]["pretrained"])).name,
        "rows": len(first["row_sha256"]),
        "steps": plan.steps,
        "prompts": plan.prompts,
        "group": plan.group,
        "seeds": list(plan.seeds),
        "members": plan.evaluation.members,
        "evaluation_seed": plan.evaluation.seed,
        "evaluation_sigma": _said_sigma(plan, population),
        "arms": [
            {
                "name": arm.name,
                "kind": arm.kind,
                "runs": [
                    {
                        "seed": seed,
                        "folder": str(runs[arm.name, seed].relative_to(folder)),
                        "tokens": used[arm.name, seed]["tokens"],
                        "sigma": used[arm.name, seed]["sigma"],
                    }
                    for seed in plan.seeds
                ],
            }
            for arm in plan.arms
        ],
        "tasks": dict(tasks),
        "plan": plan.resolved(),
    }


def _said_sigma(plan: TrainPlan, population: Mapping[str, Any] | None) -> Any:
    """Of the members that evaluate, as the report says it.

    Args:
        population: what a run of the first population arm used.
    """
    sigma: Any = plan.evaluation.sigma
    if sigma is None and population is not None:
        sigma = population["sigma"] if population["sigma"] is not None else "its file's"
    said = "auto" if sigma is None else sigma
    if any(arm.rollouts.learn == "lora+sigma" for arm in plan.arms):
        return f"{said}, and of adapters that learned their noise what they learned"
    return said
