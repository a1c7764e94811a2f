"""What can be known to be wrong with population tasks before anything is generated."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import jinja2
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask

from btrans_eval.errors import UserError
from btrans_eval.harness.arguments import check_arguments, check_given
from btrans_eval.harness.pipelines import pipelines_of
from btrans_eval.harness.plan import share_out
from btrans_eval.harness.scoring import PopulationFilter

logger = logging.getLogger(__name__)

_SCORED = ("loglikelihood", "multiple_choice", "loglikelihood_rolling")
"""Kinds of tasks of which nothing is generated."""


def check_tasks(tasks: Iterable[Any]) -> None:
    """Refuse population tasks that would fail after generation.

    Raises:
        UserError: if repeats and k differ, the encoder cannot be loaded, a model that is named is
            not here, or the rows lack the field of the gold answer or of the prompt.
    """
    for task in tasks:
        for scoring in population_filters(task):
            _check(task, scoring)


def population_filters(task: Any) -> list[PopulationFilter]:
    """The task's own population filters, made with the arguments that they will run with."""
    parts = [part for p in pipelines_of(task) for part in getattr(p, "filters", [])]
    return [part() for part in parts if getattr(part, "func", None) is PopulationFilter]


def _check(task: Any, scoring: PopulationFilter) -> None:
    name, repeats = task.config.task, task.config.repeats
    if repeats != scoring.k:
        raise UserError(
            f"repeats: {name} asks {repeats} times but scores {scoring.k} responses; "
            f"use btrans-eval run --repeats {repeats}, which changes both"
        )
    scoring.measures.check()
    row = next(iter(task.eval_docs), None)
    wanted = [scoring.gold] if scoring.kind is not None else []
    wanted += [scoring.measures.asked] if scoring.measures.asked is not None else []
    missing = [field for field in wanted if row is not None and field not in row]
    if row is not None and missing:
        raise UserError(
            f"{name}: rows of {task.config.dataset_path} must have the field {missing[0]!r}, "
            f"but have {', '.join(row)}; the dataset is not in its published format"
        )


def check_run_of(lm: Any, tasks: Iterable[Any]) -> None:
    """Refuse now what would be told once other tasks' loglikelihoods are done, which come first.

    Args:
        lm: a model type of ours, loaded.
        tasks: what it is about to answer, with the run's generation arguments.

    Raises:
        UserError: naming the argument.
    """
    tasks = list(tasks)
    scored = [task for task in tasks if task.OUTPUT_TYPE in _SCORED]
    if scored and lm.runner.config.extractor is not None:
        logger.warning("extractor: off for loglikelihoods, which are means over all members")
    for task in scored:
        if getattr(lm, "enable_thinking", None) and task.OUTPUT_TYPE != "loglikelihood_rolling":
            raise UserError(
                f"enable_thinking: goes with tasks that generate, but {task.config.task} is scored "
                "by loglikelihood; leave one of them out"
            )
    for task in tasks:
        if task.OUTPUT_TYPE == "generate_until":
            _check_request(task, lm.runner)


def _check_request(task: Any, runner: Any) -> None:
    given, engine = task.config.generation_kwargs, runner.engine
    own = getattr(type(task), "construct_requests", None)
    if own is not ConfigurableTask.construct_requests or not isinstance(given, dict):
        return  # what it asks is known when it asks
    name, repeats = task.config.task, task.config.repeats or 1
    check_given(name, given)
    request = Instance("generate_until", {}, ("", deepcopy(given)), 0, (name, 0, repeats))
    arguments = engine.arguments(request)
    share_out(repeats, runner.config, bool(arguments["do_sample"]), name)
    check_arguments(name, arguments, engine.context)
    engine.asked(request)  # knows their names
    engine.batching(request)  # and whether members can decode so


@contextmanager
def missing_fields_explained() -> Iterator[None]:
    """A prompt that names a field which the rows lack is told in one line, with the dataset."""
    try:
        yield
    except jinja2.UndefinedError as error:
        config = _config_of_failed_task(error)
        raise UserError(
            f"{config.task}: rows of {config.dataset_path} lack a field of the prompt or the gold "
            f"answer ({error.message}); the dataset is not in its published format"
        ) from error


def _config_of_failed_task(error: jinja2.UndefinedError) -> Any:
    """The configuration of the task that was being built when its template failed."""
    frame = error.__traceback__
    found: Any = SimpleNamespace(task="a task", dataset_path="its dataset")
    while frame is not None:
        config = getattr(frame.tb_frame.f_locals.get("self"), "config", None)
        if hasattr(config, "dataset_path"):
            found = config
        frame = frame.tb_next
    return found
