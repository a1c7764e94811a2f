"""Many programs at once, each verdict the same in every run."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from btrans_eval.errors import UserError
from btrans_eval.execution.limits import Limits
from btrans_eval.execution.probes import lacking
from btrans_eval.execution.sandbox import NONE, Sandbox, candidates
from btrans_eval.execution.trial import (
    NO_PROGRAM,
    NOT_STARTED,
    TIMED_OUT,
    UNTESTABLE,
    WAITED,
    Program,
    Verdict,
    attempt,
)

UNPROTECTED = "BTRANS_EVAL_EXECUTE_UNPROTECTED"


class Untestable(Exception):
    """A row's own tests cannot be run, so no program can be scored by them."""


@dataclass
class Executor:
    """Runs programs in a sandbox that was tried out.

    Attributes:
        sandbox: where they run.
        limits: of each.
        workers: how many run at once.
        known: verdicts so far: members often write the same program.
    """

    sandbox: Sandbox
    limits: Limits = field(default_factory=Limits)
    workers: int = field(default_factory=lambda: _cores())
    known: dict[Program, Verdict] = field(default_factory=dict)

    def verdicts(self, programs: Sequence[Program | None]) -> list[Verdict]:
        """How each program did; None where there is none.

        A program that is out of wall time, or that could not be started, is tried once more, alone.

        Raises:
            UserError: a sandbox that worked at the start does not any more.
        """
        new = [each for each in dict.fromkeys(programs) if each and each not in self.known]
        with ThreadPoolExecutor(self.workers) as pool:
            found = dict(zip(new, pool.map(self._attempt, new), strict=True))
        for program, verdict in found.items():
            again = verdict
            if verdict.kind in (WAITED, NOT_STARTED):
                again = self._attempt(program)
            if again.kind == NOT_STARTED:
                raise UserError(
                    f"confirm_run_unsafe_code: a program could not be started ({again.why}), after "
                    "others could; free memory and processes, and run the same command again"
                )
            is_late = again.kind == WAITED
            self.known[program] = Verdict(TIMED_OUT, again.why) if is_late else again
        return [self.known[each] if each else Verdict(NO_PROGRAM) for each in programs]

    def _attempt(self, program: Program) -> Verdict:
        return attempt(program, self.sandbox, self.limits)

    def counts(self, verdicts: Sequence[Verdict]) -> dict[str, int]:
        """How many there are of each kind, most first."""
        return dict(Counter(each.kind for each in verdicts).most_common())


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1


def check_testable(verdicts: Sequence[Verdict]) -> None:
    """Refuse to score by tests that cannot be run.

    Raises:
        Untestable: saying why.
    """
    for each in verdicts:
        if each.kind == UNTESTABLE:
            raise Untestable(f"the row's tests cannot be run: {each.why}")


def proven(limits: Limits | None = None) -> Executor:
    """An executor whose every protection was tried out just now.

    Raises:
        UserError: where a protection cannot be had, and the environment does not name the risk.
    """
    limits = limits or Limits()
    reasons: list[str] = []
    for kind in candidates():
        sandbox = Sandbox(kind)
        reason = lacking(sandbox)
        if reason is None:
            return Executor(sandbox, limits)
        reasons.append(f"{kind}: {reason}")
    if not reasons:
        raise UserError(
            "confirm_run_unsafe_code: programs of models are run on Linux alone, got "
            f"{sys.platform}; leave tasks that run them out"
        )
    if os.environ.get(UNPROTECTED) == "1":
        return Executor(Sandbox(NONE), limits)
    said = "; ".join(reasons)
    raise UserError(
        "confirm_run_unsafe_code: programs that a model writes cannot be kept from this machine "
        f"({said}); allow user namespaces or install bubblewrap, or set {UNPROTECTED}=1 to run "
        "them with your own rights"
    )
