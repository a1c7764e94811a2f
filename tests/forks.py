"""Commands as forks of one process that has imported what they need, which is most of a start.

For tests of what a command does. That the executables start is tested by test_startup.py,
test_launch.py and test_interrupts.py.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

PROGRAMS = ("lm_eval", "btrans-eval")
_HERE = Path(__file__).parent


class Started:
    """A command that runs, with what `subprocess.Popen` has.

    Args:
        program: one of `PROGRAMS`.
        environment: beside what this process has.
    """

    def __init__(
        self,
        program: str,
        arguments: Sequence[str],
        cwd: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        if program not in PROGRAMS:
            raise ValueError(f"program must be one of {PROGRAMS}, got {program}")
        self._said = tempfile.TemporaryDirectory()
        out, err = (Path(self._said.name) / name for name in ("out", "err"))
        whole = {**os.environ, **(environment or {})}
        self._files = out, err
        self._process = _server().Process(
            target=_run, args=(program, [*map(str, arguments)], str(cwd), whole, out, err)
        )
        self._process.start()

    def send_signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def wait(self, timeout: float = 600) -> int:
        """Its exit code, as a `Popen` gives it.

        Raises:
            TimeoutError: if it has not ended in time; then it is killed.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            self._process.kill()
            raise TimeoutError(self.said())
        return self._process.exitcode

    def said(self) -> tuple[str, str]:
        """Standard output and standard error so far."""
        out, err = (path.read_text(encoding="utf-8") for path in self._files)
        return out, err


def _server() -> multiprocessing.context.ForkServerContext:
    """Of the process that is forked, which starts with the first command."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["imported_once"])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_HERE), before)))
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before
    return context


def _run(
    program: str, arguments: list[str], cwd: str, environment: dict[str, str], out: Path, err: Path
) -> None:
    for path, number in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    # a shell starts what runs in its background with SIGINT ignored, and children inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = [program, *arguments]
    if program == "lm_eval":
        from lm_eval.__main__ import cli_evaluate

        sys.exit(cli_evaluate())
    from btrans_eval.cli import main

    sys.exit(main())
