"""Runs that generate a part of the responses into a store, and score nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from btrans_eval.errors import UserError

_SCORE = "apply_filters"
"""The method of a task that the harness calls once all of its requests are answered."""


class PartIsDone(Exception):
    """All that a part consists of is in the store; says so."""


@contextmanager
def ended_before_scoring(lm: Any, tasks: Iterable[Any]) -> Iterator[None]:
    """Where ``lm`` answers only a part, an evaluation within ends once all requests are answered.

    Raises:
        PartIsDone: in place of scoring.
    """
    runner = getattr(lm, "runner", None)
    if runner is None or runner.config.shard is None:
        yield
        return
    config = runner.config

    def end() -> NoReturn:
        part, parts = config.part
        raise PartIsDone(
            f"part {part + 1} of {parts} is in {config.store}; nothing was scored. When all parts "
            "are, join them with btrans-eval store merge ALL PART..., and run with store=ALL and "
            "from_store=true in place of shard"
        )

    before = [(task, vars(task).get(_SCORE)) for task in tasks]
    for task, _ in before:
        setattr(task, _SCORE, end)
    runner.is_never_scored = True
    try:
        yield
    finally:
        runner.is_never_scored = False
        for task, own in before:  # who runs them again may score them
            if own is None:
                delattr(task, _SCORE)
            else:
                setattr(task, _SCORE, own)


def check_never_scored(is_never_scored: bool) -> None:
    """Refuse to answer a part only where the harness would score it.

    Raises:
        UserError: outside of `ended_before_scoring`.
    """
    if not is_never_scored:
        raise UserError(
            "shard: works where the harness runs the tasks (lm_eval, btrans-eval run or "
            "lm_eval.simple_evaluate); leave it out to call the model yourself"
        )
