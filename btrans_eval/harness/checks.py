"""What can be known to be wrong with population tasks before anything is generated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import jinja2

from btrans_eval.errors import UserError
from btrans_eval.harness.pipelines import pipelines_of
from btrans_eval.harness.scoring import PopulationFilter


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
