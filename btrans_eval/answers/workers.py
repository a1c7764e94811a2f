"""Processes in which math_verify runs, because sympy may hang or eat all memory.

A worker is a plain subprocess that talks JSON lines over its pipes: nothing of the parent is
imported in it, threads and torch in the parent do not matter, and it ends when its input does.
The kernel ends it when one pair has used up its CPU time, even inside C (see ``verifier``).
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from btrans_eval.errors import UserError

Pair = tuple[str, str]
Outcome = bool | str  # the verdict, or why there is none: one of LOST, or UNSHOWN
LOST = ("timed out", "died")
UNSHOWN = "neither shown nor refuted"

_START_SECONDS = 300.0  # wall time; sympy on a cold network disk takes its time
_PROGRAM = (
    "import sys; sys.path[:] = [p for p in sys.path if p] + sys.argv[1:2]; "
    "from btrans_eval.answers.verifier import serve; serve(*map(float, sys.argv[2:]))"
)


class Worker:
    """One subprocess; ``ready`` once its imports are done and its self-test has passed."""

    def __init__(self, cpu_seconds: float, memory_bytes: int) -> None:
        root = str(Path(__file__).resolve().parents[2])
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, root, str(cpu_seconds), str(memory_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is the parent's to handle
            env={**os.environ, "PYTHONHASHSEED": "0", "BTRANS_EVAL_AUTOLOAD": "0"},
        )
        self.ready = False
        self.task: int | None = None
        self.deadline = time.monotonic() + _START_SECONDS
        self._buffer = b""

    def send(self, task: int, pair: Pair, wall_seconds: float) -> None:
        """Hand over one pair. That the worker has died is seen when its answer is read."""
        self.task, self.deadline = task, time.monotonic() + wall_seconds
        with contextlib.suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.write(json.dumps(pair).encode() + b"\n")
            self.process.stdin.flush()

    def receive(self) -> str | None:
        """What it said, as far as it is a whole line ("" else); None where it has ended."""
        assert self.process.stdout is not None
        got = os.read(self.process.stdout.fileno(), 65536)
        self._buffer += got
        line, ended, rest = self._buffer.partition(b"\n")
        if ended:
            self._buffer = rest
            return line.decode()
        return "" if got else None

    def end(self) -> int:
        """Kill and reap it; the exit code, negative for a signal."""
        if self.process.poll() is None:
            self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()
        return self.process.wait()


class Pool:
    """Workers, started when first needed.

    Args:
        workers: how many at most; by default the number of processors, not above 4.
        cpu_seconds: CPU time for one pair.
        memory_bytes: address space of a worker, where the system can limit it (Linux).
        wall_seconds: for a worker that waits instead of computing; 60 + 20 * cpu_seconds.
    """

    def __init__(
        self,
        workers: int | None = None,
        cpu_seconds: float = 5.0,
        memory_bytes: int = 2 << 30,
        wall_seconds: float | None = None,
    ) -> None:
        if cpu_seconds <= 0 or (workers is not None and workers < 1):
            raise UserError(
                f"workers must be at least 1 and cpu_seconds above 0, got {workers} and "
                f"{cpu_seconds}: leave them out for the defaults"
            )
        self.workers: list[Worker] = []
        self._limit = workers or min(4, os.cpu_count() or 1)
        self._limits = cpu_seconds, memory_bytes
        self._wall = wall_seconds or 60 + 20 * cpu_seconds
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._closed = weakref.finalize(self, _end_all, self.workers, self._owner)

    def run(self, pairs: Sequence[Pair]) -> list[Outcome]:
        """The verdict of each pair; one without a verdict is tried once more, alone, afresh.

        Raises:
            UserError: a worker cannot start, for example without math_verify.
        """
        with self._lock:
            if self._owner != os.getpid():  # forked: these workers are the parent's
                self.workers, self._owner = [], os.getpid()
                self._closed = weakref.finalize(self, _end_all, self.workers, self._owner)
            outcomes = self._drain(pairs, self.workers, self._limit)
            for task, outcome in enumerate(outcomes):
                if outcome in LOST:
                    alone: list[Worker] = []
                    try:
                        outcomes[task] = self._drain([pairs[task]], alone, 1)[0]
                    finally:
                        _end_all(alone, os.getpid())
            return outcomes

    def _drain(self, pairs: Sequence[Pair], workers: list[Worker], limit: int) -> list[Outcome]:
        outcomes: list[Outcome] = ["died"] * len(pairs)
        waiting = deque(range(len(pairs)))
        while waiting or any(worker.task is not None for worker in workers):
            busy = sum(worker.task is not None for worker in workers)
            while len(workers) < min(limit, busy + len(waiting)):
                workers.append(Worker(*self._limits))
            for worker in workers:
                if worker.ready and worker.task is None and waiting:
                    task = waiting.popleft()
                    worker.send(task, pairs[task], self._wall)
            for worker in _heard(workers):
                self._listen(worker, workers, outcomes)
        return outcomes

    def _listen(self, worker: Worker, workers: list[Worker], outcomes: list[Outcome]) -> None:
        late = time.monotonic() > worker.deadline
        line = None if late else worker.receive()
        if line is None:
            workers.remove(worker)
            code = worker.end()
            if not worker.ready:
                raise UserError(_NOT_STARTED.format(f"no answer, exit code {code}"))
            if worker.task is not None:
                timed = late or code == -signal.SIGPROF
                outcomes[worker.task] = "timed out" if timed else "died"
        elif line and not worker.ready:
            if json.loads(line) != "ready":
                raise UserError(_NOT_STARTED.format(json.loads(line)))
            worker.ready = True
        elif line and worker.task is not None:
            said = json.loads(line)
            outcomes[worker.task], worker.task = UNSHOWN if said is None else bool(said), None

    def close(self) -> None:
        """End all workers; a later run starts new ones."""
        with self._lock:
            _end_all(self.workers, self._owner)


_NOT_STARTED = (
    "answers cannot be compared: the process that runs math_verify did not start ({}); "
    "type: pip install math-verify 'antlr4-python3-runtime==4.11.*'"
)


def _heard(workers: Sequence[Worker]) -> list[Worker]:
    """The workers that have said something, have ended, or are past their deadline."""
    with selectors.DefaultSelector() as selector:
        for worker in workers:
            assert worker.process.stdout is not None
            selector.register(worker.process.stdout, selectors.EVENT_READ, worker)
        heard = [key.data for key, _ in selector.select(timeout=0.5)]
    now = time.monotonic()
    for worker in workers:
        awaited = worker.task is not None or not worker.ready
        if awaited and now > worker.deadline and worker not in heard:
            heard.append(worker)
    return heard


def _end_all(workers: list[Worker], owner: int) -> None:
    """End the workers, unless this is a fork of the process that started them."""
    while workers:
        worker = workers.pop()
        if owner == os.getpid():
            worker.end()
