"""How a run on the command line ends: one line, and an exit code.

0: done. 2: a mistake that the user can mend. 3: done, but questions could not be scored.
130: interrupted. An error of our own keeps its traceback.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from btrans_eval.errors import UserError
from btrans_eval.harness import record
from btrans_eval.harness.part import PartIsDone
from btrans_eval.harness.quiet import hushed

UNSCORED, INTERRUPTED = 3, 130


def begin(store: str | None, given: Collection[str] = ()) -> None:
    """A population is about to run; from now on SIGTERM ends it as Ctrl-C does.

    Args:
        store: the file that responses are kept in, if they are.
        given: names of the generation arguments that the user gave.
    """
    command = record.current()
    if not command.is_ours:
        command.hushed.enter_context(hushed(given))
    command.is_ours, command.store = True, store
    if threading.current_thread() is threading.main_thread() and not command.signals:
        command.signals.append(signal.signal(signal.SIGTERM, signal.default_int_handler))


def run(execute: Callable[[Any], None], arguments: Any) -> None:
    """``execute(arguments)``, which is the harness's own command."""
    lost = _Unsaved()
    logger = logging.getLogger("lm_eval.loggers.evaluation_tracker")
    logger.addHandler(lost)
    try:
        with one_line() as command:
            execute(arguments)
    finally:
        logger.removeHandler(lost)
    if command.is_ours and lost.messages:
        _end(
            f"output_path: the harness says {lost.messages[0]!r}; make room, or name another "
            f"folder, and run the same command again: {_what_is_kept(command)}",
            2,
        )
    failed = command.finished and command.finished.failures.line()
    if failed and _rank() == "0":  # the others must not end before it has written its results
        _end(failed, UNSCORED)


@contextmanager
def one_line() -> Iterator[record.Record]:
    """A user's mistake or an interruption within the block ends the program with one line."""
    with record.begun() as command:
        try:
            yield command
        except KeyboardInterrupt as interruption:
            if not command.is_ours:
                raise
            _end(f"interrupted; {_what_is_kept(command)}", INTERRUPTED, interruption)
        except PartIsDone as done:
            if _rank() == "0":
                print(f"btrans-eval: {done}")
        except (UserError, ValueError) as error:
            line = str(error)
            if not isinstance(error, UserError):
                if "did not find any docs" not in line:
                    raise
                line = "limit: leaves no row of a task; use a whole number, --limit 10"
            _end(line, 2, error)
        except OSError as error:
            if not command.is_ours or not _is_missing_data(error):
                raise
            _end(
                f"tasks: a data set could not be loaded ({error}); check the task's dataset_path "
                "and the connection, or fill the cache of the library datasets (HF_HOME) first",
                2,
                error,
            )
        finally:
            command.hushed.close()
            for before in command.signals:
                signal.signal(signal.SIGTERM, before)


def _is_missing_data(error: OSError) -> bool:
    """Whether a data set could not be had; a hub out of reach is a plain ConnectionError."""
    from datasets.exceptions import DatasetNotFoundError

    return type(error) is ConnectionError or isinstance(error, DatasetNotFoundError)


def _what_is_kept(command: record.Record) -> str:
    if command.store is None:
        return (
            "nothing that was generated is kept. With store=FILE among the model arguments, the "
            "same command goes on where it stopped"
        )
    return f"what was generated is in {command.store}, and the same command goes on from there"


def _end(line: str, code: int, cause: BaseException | None = None) -> None:
    if cause is not None:  # generators that it left suspended print their progress bars no later
        traceback.clear_frames(cause.__traceback__)
    rank = _rank()
    if rank == "0":
        print(f"btrans-eval: {line}", file=sys.stderr)
    elif code == 2:
        print(f"btrans-eval (process {rank}): {line}", file=sys.stderr)
    sys.exit(code)


def _rank() -> str:
    return os.environ.get("LOCAL_RANK", "0")


class _Unsaved(logging.Handler):
    """Hears when the harness cannot save its results, which it only warns of (docs/lm-eval.md)."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("Could not save"):
            self.messages.append(record.getMessage())
