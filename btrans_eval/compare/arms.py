"""Run the arms of a comparison through the harness, one after another, the model loaded once."""

from __future__ import annotations

import logging
import os
import random
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from btrans_eval.compare.plan import ArmPlan, Plan, TaskPlan
from btrans_eval.errors import UserError
from btrans_eval.harness import record
from btrans_eval.harness.command import begin

logger = logging.getLogger(__name__)

MODEL = "btrans-hf"
HARNESS_SEED = 0


def run_arms(plan: Plan, folder: Path, store: Path) -> dict[str, Path]:
    """Every arm's results and samples under ``folder/arms``; responses come from the store first.

    Args:
        plan: the comparison.
        folder: where results and the plan itself (compare.yaml) go; an arm's earlier results are
            replaced.
        store: file of responses; what is there is not generated again.

    Returns:
        the folder of each arm, by name.
    """
    begin(str(store), {name for task in plan.tasks for name in task.gen_kwargs})
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=plan.include_path)
    _check(plan, manager)  # before anything is written, or a model loaded
    if os.environ.get("LOCAL_RANK", "0") == "0":  # others could read what is half written
        _keep(plan, folder)
    folders: dict[str, Path] = {}
    lm: Any = None
    loaded: dict[str, Any] | None = None
    for number, arm in enumerate(plan.arms, 1):
        logger.warning("arm %d of %d: %s", number, len(plan.arms), arm.name)
        target = folders[arm.name] = folder / "arms" / arm.folder
        if lm is None or plan.loading(arm) != loaded:
            lm, loaded = None, plan.loading(arm)  # the old model goes before the new one comes
            lm = _load(plan, arm, str(store))
        if target.exists():
            shutil.rmtree(target)
        lm.become(plan.population(arm, str(store)), str(target / "members.jsonl"))
        _run(plan, arm, lm, manager, target)
    return folders


def _keep(plan: Plan, folder: Path) -> None:
    """Write the plan beside its results; a line where another comparison was there."""
    folder.mkdir(parents=True, exist_ok=True)
    kept, resolved = folder / "compare.yaml", plan.resolved().encode()
    if kept.exists() and kept.read_bytes() != resolved:
        logger.warning(
            "output_path: %s holds a comparison of other settings, which this one replaces; what "
            "was generated for it stays in its store", folder,
        )  # fmt: skip
    kept.write_bytes(resolved)


def _load(plan: Plan, arm: ArmPlan, store: str) -> Any:
    from lm_eval.api.registry import get_model

    own = {"sigma": 0.0, "store": store}  # the arm's noise comes with `become`
    arguments = {"batch_size": plan.batch_size, **plan.loading(arm), **own}
    return get_model(MODEL)(**arguments)


def _check(plan: Plan, manager: Any) -> None:
    """Every task exists, can be viewed, runs no programs, and takes the examples asked for."""
    names = {*manager.all_tasks}
    for task in plan.tasks:
        if task.task not in names:
            raise UserError(
                f"tasks: no task or group named {task.task}; lm_eval ls tasks lists them"
            )
    for task in plan.tasks:
        for name, each in _tasks(plan, task, plan.arms[0], manager)["tasks"].items():
            if plan.num_fewshot and each.get_config("num_fewshot") == 0:
                raise UserError(
                    f"num_fewshot: {name} says 0 itself, and the harness then takes no other "
                    f"number, got {plan.num_fewshot}; leave it out, or copy the task without its "
                    "num_fewshot: 0"
                )


def _tasks(plan: Plan, task: TaskPlan, arm: ArmPlan, manager: Any) -> Any:
    """A task or group as the harness loads it, viewed, with the arm's generation arguments."""
    from btrans_eval.harness.executing import load_without_programs
    from btrans_eval.harness.views import view_tasks

    random.seed(HARNESS_SEED)  # as the harness does: some rows are shuffled when loaded (GPQA)
    loaded = load_without_programs(manager, [task.task], "btrans-eval compare")
    view_tasks(list(loaded["tasks"].values()), plan.repeats, plan.encoder)
    for each in loaded["tasks"].values():
        if each.OUTPUT_TYPE == "generate_until":
            arguments = {**task.gen_kwargs, **_decoding(arm)}
            each.set_config(key="generation_kwargs", value=arguments, update=True)
    return loaded


def _decoding(arm: ArmPlan) -> dict[str, Any]:
    if arm.temperature is None:
        return {"do_sample": False, "temperature": 0.0}
    return {"do_sample": True, "temperature": arm.temperature}


def _run(plan: Plan, arm: ArmPlan, lm: Any, manager: Any, target: Path) -> None:
    import lm_eval
    from lm_eval.loggers import EvaluationTracker

    parts = [(task, _tasks(plan, task, arm, manager)) for task in plan.tasks]
    whole: dict[str, Any] = {}
    for _, loaded in parts:
        for kind, found in loaded.items():
            whole.setdefault(kind, {}).update(found)
    tracker = EvaluationTracker(output_path=str(target))
    described = {**plan.loading(arm), **_described(plan, arm)}
    with _loading(manager, whole):
        results = lm_eval.simple_evaluate(
            model=lm,
            model_args=described,
            tasks=[task.task for task in plan.tasks],
            task_manager=manager,
            samples=_samples(parts),
            num_fewshot=plan.num_fewshot,
            apply_chat_template=plan.apply_chat_template,
            fewshot_as_multiturn=plan.fewshot_as_multiturn,
            system_instruction=plan.system_instruction,
            batch_size=plan.batch_size,
            evaluation_tracker=tracker,
            bootstrap_iters=0,
            log_samples=True,
        )
    if results is None:  # another process writes
        return
    results["config"]["model"] = MODEL
    results["config"]["gen_kwargs"] = _decoding(arm)
    run = record.current().finished
    said = run and run.failures.line()
    if said:
        logger.warning("%s: %s", arm.name, said)
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for task in results["configs"]:
        tracker.save_results_samples(task_name=task, samples=samples[task])
    if not list(target.rglob("results_*.json")):
        raise UserError(
            f"output_path: the results of {arm.name} could not be written to {target}; make room, "
            "then run the same command again: nothing is generated twice"
        )


def _described(plan: Plan, arm: ArmPlan) -> dict[str, Any]:
    """Our own arguments of the arm that are not defaults, for the results file."""
    config = plan.population(arm)
    names = ("sigma", "kl", *arm.own)
    return {name: value for name in names if (value := getattr(config, name)) is not None}


def _samples(parts: list[tuple[TaskPlan, Any]]) -> Mapping[str, list[int]] | None:
    """The rows of each task that has a limit; None where none has."""
    if all(task.limit is None for task, _ in parts):
        return None
    return {
        name: list(range(min(task.limit or len(one.eval_docs), len(one.eval_docs))))
        for task, loaded in parts
        for name, one in loaded["tasks"].items()
    }


@contextmanager
def _loading(manager: Any, loaded: Any) -> Iterator[None]:
    """Within the block the harness gets these tasks, and does not load its own."""
    manager.load = lambda tasks: loaded
    try:
        yield
    finally:
        del manager.load
