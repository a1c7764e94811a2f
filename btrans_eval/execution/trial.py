"""One program against its tests: two sandboxes, two pipes between them, and a verdict."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from btrans_eval.execution.launcher import OUT_OF_TIME
from btrans_eval.execution.limits import MIB, Limits
from btrans_eval.execution.sandbox import BWRAP, NAMESPACES, NONE, Sandbox

PASSED, FAILED, RAISED, ENDED = "passed", "failed", "raised", "ended"
TIMED_OUT, TOO_MUCH, NO_PROGRAM = "timed out", "too much memory", "no program"
WAITED, UNTESTABLE, NOT_STARTED = "waited", "untestable", "not started"
KINDS = (PASSED, FAILED, RAISED, ENDED, TIMED_OUT, TOO_MUCH, NO_PROGRAM)

_START_SECONDS = 60.0  # a cold disk takes its time
_TICK_SECONDS = 0.1
_END_SECONDS = 2.0
# our launcher says so, bubblewrap hands on the signal, a plain process dies of it
_OUT_OF_TIME = {NAMESPACES: OUT_OF_TIME, BWRAP: 128 + signal.SIGKILL, NONE: -signal.SIGKILL}
_OF_THE_START = (
    1.0  # seconds of CPU time: the sandbox's own, and to let a limit of one process be first
)
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_LONGEST_WORD = 1 << 16


@dataclass(frozen=True)
class Program:
    """A program and what it must do.

    Attributes:
        source: the program.
        tests: run with functions of the program; an exception is a failure.
        names: names in ``tests`` that are the program's; all others are Python's or of ``context``.
        context: run before the tests, without the program.
    """

    source: str
    tests: str
    names: tuple[str, ...]
    context: str = ""


@dataclass(frozen=True)
class Verdict:
    """How a program did.

    Attributes:
        kind: one of ``KINDS``; within this package also ``WAITED`` (out of wall time),
            ``UNTESTABLE`` and ``NOT_STARTED``, which say nothing of the program.
        why: in a few words.
    """

    kind: str
    why: str = ""


def attempt(
    program: Program, sandbox: Sandbox, limits: Limits, handed: Sequence[int] = ()
) -> Verdict:
    """Run a program against its tests, and end all that it started.

    Args:
        handed: open files that the program inherits.
    """
    with ExitStack() as stack:
        ends = _Ends(stack)
        (asked, asks), (told, tells), (heard, says) = ends.pipe(), ends.pipe(), ends.pipe()
        most = json.dumps(limits._asdict())
        tests = {"tests": program.tests, "names": program.names, "context": program.context}
        judge = _Side(stack, sandbox, limits, "judge", tests, [most, asks, told, says], ())
        source = {"source": program.source}
        player = _Side(stack, sandbox, limits, "player", source, [most, asked, tells], handed)
        ends.close(asked, asks, told, tells, says)
        verdict = _listen(heard, [judge, player], limits)
        if verdict is None:
            return _silence(judge, player)
        if verdict.kind == ENDED and player.code() == _OUT_OF_TIME[sandbox.kind]:
            return Verdict(TIMED_OUT, f"{limits.cpu_seconds} s of CPU time")
        return verdict


class _Ends:
    """Ends of pipes, each closed once: its number may be another thread's a moment later."""

    def __init__(self, stack: ExitStack) -> None:
        self._open: set[int] = set()
        stack.callback(lambda: self.close(*self._open))

    def pipe(self) -> tuple[int, int]:
        ends = os.pipe()
        self._open |= set(ends)
        return ends

    def close(self, *numbers: int) -> None:
        for each in numbers:
            self._open.remove(each)
            os.close(each)


def _listen(heard: int, sides: Sequence[_Side], limits: Limits) -> Verdict | None:
    """What the judge says; None where it ends without a verdict."""
    said, is_ready = b"", False
    deadline = time.monotonic() + _START_SECONDS
    while True:
        if select.select([heard], [], [], _TICK_SECONDS)[0]:
            got = os.read(heard, _LONGEST_WORD)
            said += got
            if said.startswith(b"ready\n"):
                said, is_ready = said.removeprefix(b"ready\n"), True
                deadline = time.monotonic() + limits.wall_seconds
            if is_ready and said.endswith(b"\n"):
                return Verdict(**json.loads(said))
            if not got:
                return Verdict(ENDED, "the tests' process") if is_ready else None
        for used in [side.used() for side in sides]:
            if used.mib > limits.resident_mib:
                return Verdict(TOO_MUCH, f"more than {limits.resident_mib} MiB")
            if is_ready and used.seconds > limits.cpu_seconds + _OF_THE_START:
                return Verdict(TIMED_OUT, f"{limits.cpu_seconds} s of CPU time")
        if time.monotonic() > deadline:
            if is_ready:
                return Verdict(WAITED, f"{limits.wall_seconds} s")
            return Verdict(NOT_STARTED, f"not ready after {_START_SECONDS} s")


def _silence(judge: _Side, player: _Side) -> Verdict:
    """Why the judge ended before there was anything to judge."""
    for side in (player, judge):
        if side.code() != 0:
            return Verdict(NOT_STARTED, side.said() or f"exit code {side.code()}")
    return Verdict(NOT_STARTED, "a process ended by itself")


class _Side:
    """One of the two processes."""

    def __init__(
        self,
        stack: ExitStack,
        sandbox: Sandbox,
        limits: Limits,
        role: str,
        job: dict[str, Any],
        arguments: Sequence[str | int],
        handed: Sequence[int],
    ) -> None:
        folder = sandbox.folder or stack.enter_context(
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        )
        job = {"folder": folder, **job}
        given: IO[bytes] = stack.enter_context(tempfile.TemporaryFile())
        given.write(json.dumps(job).encode())
        given.seek(0)
        self._errors: IO[bytes] = stack.enter_context(tempfile.TemporaryFile())
        self._has_group = sandbox.kind == NONE
        self.process = subprocess.Popen(
            sandbox.command(role, limits, [str(each) for each in arguments]),
            stdin=given,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            pass_fds=[*(each for each in arguments if isinstance(each, int)), *handed],
            env=sandbox.environment(folder),
            cwd="/",
            start_new_session=True,
        )
        stack.callback(self.end)

    def end(self) -> None:
        """Kill it; what it started dies with it."""
        if self._has_group:
            with contextlib.suppress(OSError):
                os.killpg(self.process.pid, signal.SIGKILL)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def code(self) -> int | None:
        """Its exit code; None if it does not end by itself."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(_END_SECONDS)
        return None

    def said(self) -> str:
        """What it wrote before the program began."""
        self._errors.seek(0)
        return self._errors.read(500).decode(errors="replace").strip().replace("\n", " ")

    def used(self) -> _Used:
        """Memory and CPU time of the process and all below it."""
        each = [_stat(pid) for pid in _below(self.process.pid)]
        pages, ticks = (sum(numbers) for numbers in zip(*each, strict=True))
        return _Used(pages * _PAGE_BYTES / MIB, ticks / _TICKS_PER_SECOND)


class _Used(NamedTuple):
    mib: float
    seconds: float


def _below(pid: int) -> list[int]:
    found = [pid]
    for each in found:  # grows while it is gone through
        for task in _listed(f"/proc/{each}/task"):
            with contextlib.suppress(OSError, ValueError):
                found += map(int, Path(f"/proc/{each}/task/{task}/children").read_text().split())
    return found


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _stat(pid: int) -> tuple[int, int]:
    """Resident pages, and ticks of CPU time with those of children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[21]), sum(map(int, fields[11:15]))
    except (OSError, IndexError):
        return 0, 0
