"""Programs of a run: whether they may be run, where they are, and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from btrans_eval.errors import UserError
from btrans_eval.execution.executor import Executor, check_testable, proven
from btrans_eval.execution.trial import PASSED, Program, Verdict
from btrans_eval.harness import record
from btrans_eval.harness.code_tasks import code_eval_replaced
from btrans_eval.harness.pipelines import pipelines_of
from btrans_eval.harness.ranks import on_this_machine

_CONFIRM = (
    "confirm_run_unsafe_code: {}; add --confirm_run_unsafe_code (docs/code.md says what protects)"
)


def prepare(tasks: Iterable[Any], is_confirmed: bool) -> None:
    """Before anything is generated: try out what protects, where a task runs programs.

    Raises:
        UserError: if the run was not confirmed, or a protection cannot be had.
    """
    names = [task.config.task for task in tasks if runs_programs(task)]
    if not names:
        return
    if not is_confirmed:
        raise UserError(_CONFIRM.format(f"{', '.join(names)} runs programs that the model writes"))
    record.current().executor = proven(processes=on_this_machine())


def load_without_programs(manager: Any, names: Sequence[str], command: str) -> Any:
    """Tasks for a command that runs no programs, as the harness's manager loads them.

    A task of programs is refused here: its own file would fetch a metric that runs them.

    Raises:
        UserError: if one of the tasks runs programs, by our means or its own.
    """
    with code_eval_replaced():
        loaded = manager.load(list(names))
    for name, task in loaded["tasks"].items():
        if getattr(task, "UNSAFE_CODE", False) or runs_programs(task):
            raise UserError(
                f"tasks: {name} runs programs that the model writes, which {command} does not; "
                f"leave it out, and ask it with btrans-eval run --repeats K --tasks {name} "
                "--confirm_run_unsafe_code (docs/code.md)"
            )
    return loaded


def runs_programs(task: Any) -> bool:
    """Whether a task's responses are programs that we run."""
    for pipeline in pipelines_of(task):
        if getattr(pipeline, "runs_programs", False):
            return True
        for part in getattr(pipeline, "filters", ()):
            if getattr(part, "keywords", {}).get("program") is not None:
                return True
    return False


def executor() -> Executor:
    """Who runs programs in the run under way.

    Raises:
        UserError: outside of a run that was confirmed.
    """
    found = record.current().executor
    if found is None:
        raise UserError(_CONFIRM.format("programs run only where the harness evaluates a task"))
    return found


def executed(
    rows: Sequence[Sequence[Program | None] | None], task: str
) -> list[list[Verdict] | None]:
    """How the programs of each question did; None where its tests cannot be run.

    What became of them is counted in the results; a question without a verdict is a failure.

    Args:
        rows: programs of each question, None where a response has none; None for a question that
            has failed already, which has no verdicts.
    """
    run, runs = record.current(), executor()
    found = iter(runs.verdicts([each for row in rows for each in row or ()]))
    verdicts: list[list[Verdict] | None] = [
        None if row is None else [next(found) for _ in row] for row in rows
    ]
    for place, of_row in enumerate(verdicts):
        try:
            check_testable(of_row or ())
        except Exception as error:
            run.failures.note_position(place, error)
            verdicts[place] = None
    told = [each for of_row in verdicts for each in of_row or ()]
    run.note(f"programs:{task}", runs.counts(told))
    run.note("programs_run_in", {"sandbox": runs.sandbox.kind, **runs.limits._asdict()})
    return verdicts


def scores_of(verdicts: Sequence[Verdict]) -> list[float]:
    """1.0 for each program that passed."""
    return [1.0 if each.kind == PASSED else 0.0 for each in verdicts]


def words_of(verdicts: Sequence[Verdict]) -> list[str]:
    """A few words on each, for people."""
    return [f"{each.kind}: {each.why}" if each.why else each.kind for each in verdicts]


def programs_of(
    make: Callable[[], list[Program | None]], place: int
) -> list[Program | None] | None:
    """The programs of a question's responses; None where making them raises, which is a failure.

    Args:
        place: number of the question.
    """
    try:
        return make()
    except UserError:
        raise
    except Exception as error:
        record.current().failures.note_position(place, error)
        return None
