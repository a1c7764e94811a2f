"""One record of a run: who judges, what was noted of the scoring, and which questions failed.

The harness builds filters and tasks itself, so a run's record is found through one variable of
the context. Two runs in one process do not see each other's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from btrans_eval.answers.equivalence import Judge
from btrans_eval.execution.executor import Executor
from btrans_eval.harness.failures import Failures


@dataclass
class Record:
    """What is known of a run, or of the command that runs within.

    Attributes:
        judge: compares answers.
        failures: questions that could not be scored.
        executor: runs programs, where a task has some and the user has confirmed it.
        notes: how responses were scored, for the results file: what the columns alone do not say.
        is_ours: whether a population runs, so that its end is told in one line.
        store: the file that responses are kept in, if they are.
        finished: the last run within this one.
        signals: what SIGTERM did before a population ran.
        hushed: messages that are held back while a population runs.
    """

    judge: Judge = field(default_factory=Judge)
    failures: Failures = field(default_factory=Failures)
    executor: Executor | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    is_ours: bool = False
    store: str | None = None
    finished: Record | None = None
    signals: list[Any] = field(default_factory=list)
    hushed: ExitStack = field(default_factory=ExitStack)

    def note(self, name: str, value: Any) -> None:
        """Keep a fact about the scoring."""
        self.notes[name] = value

    def add(self, name: str, amount: int) -> None:
        """Count something."""
        self.notes[name] = self.notes.get(name, 0) + amount


_CURRENT: ContextVar[Record] = ContextVar("btrans_eval_record")


def current() -> Record:
    """The record of the run under way, or of what is called outside of any run."""
    found = _CURRENT.get(None)
    if found is None:
        found = Record()
        _CURRENT.set(found)
    return found


@contextmanager
def begun(judge: Judge | None = None) -> Iterator[Record]:
    """A new record for what runs within; when it ends, the outer one knows it as finished.

    Args:
        judge: who compares answers; None: a new one, with the processes of the outer one's.
    """
    outer = current()
    inner = Record(judge or Judge(pool=outer.judge.pool))
    token = _CURRENT.set(inner)
    try:
        yield inner
    finally:
        _CURRENT.reset(token)
        outer.finished = inner
