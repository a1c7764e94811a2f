"""Every member's response on disk, one JSON line for each request, as the run goes.

A part that a killed run left holds what it had answered; with a store it is written anew.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from btrans_eval.errors import UserError
from btrans_eval.harness.ranks import Ranks


class ResponseLog:
    """A JSON-lines file that several processes write their parts of.

    Process r appends to ``FILE.part<r>`` at once; process 0 brings the parts into the file when
    all requests of a kind are done.

    Args:
        path: the file, which must not exist: a second run must not mix with the first.
        part: this process's part, open and locked.
    """

    def __init__(self, path: Path, part: TextIO) -> None:
        self._path, self._part = path, part

    def write(self, line: dict[str, Any]) -> None:
        """Append one line and hand it to the operating system at once."""
        with _explained(self._path):
            self._part.write(json.dumps(line, ensure_ascii=False) + "\n")
            self._part.flush()

    def merge(self, ranks: int) -> None:
        """Bring all parts, which are complete, into the file; called by process 0."""
        for rank in range(ranks):
            part = _part(self._path, rank)
            with _explained(self._path), self._path.open("a", encoding="utf-8") as file:
                file.writelines(_lines(part))
            os.truncate(part, 0)

    def close(self) -> None:
        """Remove the part, unless there is something in it."""
        part = Path(self._part.name)
        self._part.close()
        with contextlib.suppress(OSError):
            if part.stat().st_size == 0:
                part.unlink()


def open_log(path: str | None, ranks: Ranks, is_stored: bool) -> ResponseLog | None:
    """The log that this process writes, if the user wants one; the first process's path counts.

    Args:
        is_stored: whether all responses are in a store too, so that a killed run's part can go.

    Raises:
        UserError: if the file is there, or its part is being written or holds what another run
            left, or it cannot be written.
    """
    path = ranks.from_first(path)
    if path is None:
        return None
    target, part = Path(path), _part(Path(path), ranks.rank)
    if target.exists():
        raise _mixed(target)
    with _explained(target):
        part.parent.mkdir(parents=True, exist_ok=True)
        file = part.open("a", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise UserError(
            f"responses: {part} is being written by another run; name another file"
        ) from None
    if part.stat().st_size and not is_stored:
        raise _mixed(part)
    file.truncate(0)
    ranks.wait()
    log = ResponseLog(target, file)
    atexit.register(log.close)
    return log


def _mixed(path: Path) -> UserError:
    return UserError(
        f"responses: {path} exists, and two runs must not be mixed; name a new file or move it"
    )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"responses: must be a file that can be written, but {path} cannot "
            f"({error.strerror}); make room or name another"
        ) from None


def _part(path: Path, rank: int) -> Path:
    return path.with_name(f"{path.name}.part{rank}")


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        yield from file
