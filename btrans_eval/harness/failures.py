"""Questions that could not be scored: they count as wrong, and are told at the end."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable
from typing import Any

from lm_eval.api.metrics import mean as harness_mean

from btrans_eval.errors import UserError

logger = logging.getLogger(__name__)


class Failures:
    """The questions of a run that could not be scored.

    Attributes:
        filtering: the task whose filters are at work.
    """

    def __init__(self) -> None:
        self._failed: dict[tuple[str, Any], str] = {}
        self._without_vote: set[tuple[str, Any]] = set()
        self.filtering: Any = None

    def note(self, task: Any, doc_id: Any, error: Exception) -> None:
        """Count a question as failed, once however often it fails; its first error is kept."""
        reason = f"{type(error).__name__}: {error}"
        if (str(task), doc_id) not in self._failed:
            logger.warning("%s, row %s could not be scored: %s", task, doc_id, reason)
        self._failed.setdefault((str(task), doc_id), reason)

    def note_position(self, position: int, error: Exception) -> None:
        """``note`` for question number ``position`` of the task that is being filtered."""
        task = self.filtering
        if task is None:
            self.note("a task", position, error)
        else:
            self.note(task.config.task, task.instances[position].doc_id, error)

    def note_vote(self, task: Any, doc_id: Any, error: Exception) -> None:
        """``note`` for a question whose vote failed: whatever response is returned scores 0."""
        self.note(task, doc_id, error)
        self._without_vote.add((str(task), doc_id))

    def summary(self) -> dict[str, Any]:
        """For the results file: how many questions of each task failed, and up to five examples."""
        tasks = [task for task, _ in self._failed]
        examples = [
            {"task": task, "doc_id": doc_id, "error": error}
            for (task, doc_id), error in list(self._failed.items())[:5]
        ]
        counts = {task: tasks.count(task) for task in dict.fromkeys(tasks)}
        return {"failed_questions": counts, "failed_examples": examples} if counts else {}

    def line(self) -> str | None:
        """One line for the end of a run; None where nothing failed."""
        if not self._failed:
            return None
        (task, doc_id), error = next(iter(self._failed.items()))
        number = "1 question" if len(self._failed) == 1 else f"{len(self._failed)} questions"
        return (
            f"{number} could not be scored and count as wrong, for example row {doc_id} of {task} "
            f"({error}); mend the cause and run the same command again (with store= nothing is "
            "generated twice)"
        )

    def taken(self) -> dict[Any, str]:
        """All failures of this process, for the others."""
        return {(*key, key in self._without_vote): error for key, error in self._failed.items()}

    def add(self, others: dict[Any, str]) -> None:
        """Failures that other processes have noted."""
        for (task, doc_id, is_vote), error in others.items():
            self._failed.setdefault((task, doc_id), error)
            if is_vote:
                self._without_vote.add((task, doc_id))

    def has_unvoted(self, task: str) -> bool:
        """Whether the vote of a question of the task failed."""
        return any(failed == task for failed, _ in self._without_vote)

    def of_vote(self, task: str, doc_id: Any) -> str | None:
        """Why the vote of a question failed; None where it did not."""
        question = (task, doc_id)
        return self._failed[question] if question in self._without_vote else None


def watch(tasks: Iterable[Any], is_ours: bool, now: Callable[[], Failures]) -> None:
    """From now on a question that cannot be scored does not end the run.

    Args:
        tasks: the tasks of a run.
        is_ours: whether a population answers. Then a question that a task's own metric fails on
            scores 0, in tasks all of whose metrics are means over questions and better when
            higher; in others 0 is no score of a failed question, and the error is raised as ever.
        now: the failures of the run under way: tasks may outlive a run.
    """
    for task in tasks:
        task.population_answers = is_ours
        if not getattr(task, "is_watched", False):
            task.is_watched = True
            task.apply_filters = _named(task, now)
            task.process_results = _guarded(task, now)


def zero_is_worst(task: Any, metrics: Iterable[str]) -> bool:
    """Whether a failed question can score 0: metrics are means, and better when higher."""
    means = all(task.aggregation().get(metric) is harness_mean for metric in metrics)
    return means and all(task.higher_is_better().get(metric) is True for metric in metrics)


def _named(task: Any, now: Callable[[], Failures]) -> Any:
    original = task.apply_filters

    @functools.wraps(original)
    def apply_filters() -> Any:
        failures = now()
        outer, failures.filtering = failures.filtering, task
        try:
            return original()
        finally:
            failures.filtering = outer

    return apply_filters


def _guarded(task: Any, now: Callable[[], Failures]) -> Any:
    original = task.process_results
    seen: list[set[str]] = []  # the metrics of the first question that was scored
    raised: list[Exception] = []

    @functools.wraps(original)
    def process_results(doc: Any, results: Any) -> Any:
        if not task.population_answers:
            return original(doc, results)
        name, declared = task.config.task, set(task.aggregation())
        failures = now()
        try:
            # finding a row's number means looking through all rows: not for every question
            if failures.has_unvoted(name) and (why := failures.of_vote(name, _doc_id(task, doc))):
                raise RuntimeError(why)
            found = original(doc, results)
        except UserError:
            raise
        except Exception as error:
            can_be_zero = bool(declared) and zero_is_worst(task, declared)
            if not can_be_zero or (seen and seen[0] != declared):
                raise
            failures.note(name, _doc_id(task, doc), error)
            raised.append(error)
            return dict.fromkeys(declared, 0.0)
        if raised and set(found or ()) != declared:  # a metric that the failed question has no 0 in
            raise raised[0]
        if found is None:  # lm_eval 0.5: the task's scorer judges, and not this method
            return found
        seen.append(set(found))
        return found

    return process_results


def _doc_id(task: Any, doc: Any) -> Any:
    """Number of a row: of the same object, else of the first equal one."""
    for each in task.instances:
        if each.doc is doc:
            return each.doc_id
    text = repr(doc)
    return next((each.doc_id for each in task.instances if repr(each.doc) == text), None)
