"""Programs of a run: whether they may be run, where they are, and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from btrans_eval.errors import UserError
from btrans_eval.execution.executor import Executor, check_testable, proven
from btrans_eval.execution.trial import PASSED, Program, Verdict
from btrans_eval.harness import record

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
    record.current().executor = proven()


def runs_programs(task: Any) -> bool:
    """Whether a task's responses are programs that we run."""
    for pipeline in getattr(task, "_filters", ()):
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


def executed(rows: Sequence[Sequence[Program | None]], task: str) -> list[list[Verdict] | None]:
    """How the programs of each question did; None where its tests cannot be run.

    What became of them is counted in the results; a question without a verdict is a failure.
    """
    run, runs = record.current(), executor()
    found = iter(runs.verdicts([each for row in rows for each in row]))
    verdicts: list[list[Verdict] | None] = [[next(found) for _ in row] for row in rows]
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
    row: Sequence[Any], doc: Mapping[str, Any], program: Callable[..., Program | None], place: int
) -> list[Program | None]:
    """The programs of a question's responses; a row that has none for all of them is a failure."""
    try:
        return [program(doc, text) for text in row]
    except Exception as error:
        record.current().failures.note_position(place, error)
        return [None] * len(row)
