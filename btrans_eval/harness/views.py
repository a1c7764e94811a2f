"""Any generate-until task of the harness as a population task: the view that ``--repeats`` takes.

Each of the task's filter pipelines runs on each response alone and keeps its own columns; the
task's own metrics judge each response alone; votes are over the filtered answers.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from typing import Any

from btrans_eval.errors import UserError
from btrans_eval.harness.code_tasks import is_code_task
from btrans_eval.harness.diversity import Measures
from btrans_eval.harness.pipelines import kind_of_part, no_means, pipelines_of, put_pipelines
from btrans_eval.harness.scoring import PopulationFilter
from btrans_eval.harness.view import View

logger = logging.getLogger(__name__)

VOTING = {"MajorityVoteFilter", "TakeKFilter"}


def view_tasks(
    tasks: Sequence[Any], repeats: int, encoder: str | None, partition: str | None = None
) -> list[str]:
    """Turn every generate-until task into a population task of ``repeats`` responses, in place.

    Args:
        encoder, partition: as of `Measures`; a population task keeps its own where they are None.

    Returns:
        Names of the tasks that stay as they are: scored by loglikelihood.

    Raises:
        UserError: if a task cannot be viewed, naming it and the reason, or if none generates.
    """
    if repeats < 2:
        raise UserError(f"repeats: must be at least 2 for a population, got {repeats}")
    generative = [task for task in tasks if task.OUTPUT_TYPE == "generate_until"]
    others = [task.config.task for task in tasks if task.OUTPUT_TYPE != "generate_until"]
    if not generative:
        raise UserError(
            f"repeats: needs a task that generates, but {', '.join(others)} is scored by "
            "loglikelihood, where the members are combined anyway; drop --repeats"
        )
    for task in generative:  # all checked before the first is changed
        _check(task)
    measures = Measures(encoder, partition)
    measures.check()
    for task in generative:
        _view(task, repeats, measures)
    return others


def _check(task: Any) -> None:
    if _is_ours(task):
        return
    is_code_task(task)
    for pipeline in pipelines_of(task):
        for part in pipeline.filters:
            name = kind_of_part(part).__name__
            if name in VOTING:
                raise UserError(
                    f"repeats: {task.config.task} cannot be viewed as a population task: its "
                    f"pipeline {pipeline.name} itself votes or takes several ({name})"
                )
    left_out = no_means(task)
    if left_out and len(left_out) == len(task.aggregation()):
        raise UserError(
            f"repeats: {task.config.task} cannot be viewed as a population task: its metric "
            f"{left_out[0]} is no mean over questions, so a single response has no score"
        )


def _is_ours(task: Any) -> bool:
    parts = [part for pipeline in pipelines_of(task) for part in pipeline.filters]
    return any(kind_of_part(part) is PopulationFilter for part in parts)


def _view(task: Any, repeats: int, measures: Measures) -> None:
    task.set_config("repeats", repeats)
    if _is_ours(task):
        for pipeline in pipelines_of(task):
            pipeline.filters = [_with(part, repeats, measures) for part in pipeline.filters]
        return
    if left_out := no_means(task):
        logger.warning(
            "%s: left out, as no means over questions: %s", task.config.task, ", ".join(left_out)
        )
    views = [View(task, pipeline, repeats, measures) for pipeline in pipelines_of(task)]
    put_pipelines(task, views)
    task.process_results = lambda doc, results: dict(results[0].columns)


def _with(part: Any, repeats: int, measures: Measures) -> Any:
    if kind_of_part(part) is not PopulationFilter:
        return part
    named = {"encoder": measures.encoder, "partition": measures.partition}
    changed = {"k": repeats} | {name: value for name, value in named.items() if value}
    return functools.partial(part.func, *part.args, **(part.keywords | changed))
