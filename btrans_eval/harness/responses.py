"""Every member's response on disk, one JSON line for each request, as the run goes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from btrans_eval.errors import UserError
from btrans_eval.harness.ranks import Ranks


class ResponseLog:
    """A JSON-lines file that several processes write their parts of.

    Process 0 writes the file itself, process r ``FILE.rank<r>`` until they are merged.

    Args:
        path: the file, which must not exist: a second run must not mix with the first.
        rank: number of this process, from 0.
    """

    def __init__(self, path: str, rank: int) -> None:
        self._path = Path(path)
        self._own = self._path if rank == 0 else _part(self._path, rank)

    def write(self, line: dict[str, Any]) -> None:
        """Append one line and hand it to the operating system at once."""
        with self._own.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def merge(self, ranks: int) -> None:
        """Append the other processes' parts, which are complete; called by process 0."""
        for rank in range(1, ranks):
            part = _part(self._path, rank)
            if part.exists():
                with self._path.open("a", encoding="utf-8") as file:
                    file.writelines(_lines(part))
                part.unlink()


def open_log(path: str | None, ranks: Ranks) -> ResponseLog | None:
    """The log that this process writes, if the user wants one; the first process's path counts."""
    path = ranks.from_first(path)
    if path is None:
        return None
    _check_path(path if ranks.rank == 0 else str(_part(Path(path), ranks.rank)))
    ranks.wait()
    return ResponseLog(path, ranks.rank)


def _check_path(path: str) -> None:
    """Make the file's folder, or say why responses cannot be written there."""
    target = Path(path)
    if target.exists():
        raise UserError(
            f"responses: {path} exists, and two runs must not be mixed; name a new file or move it"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
        target.unlink()
    except OSError as error:
        raise UserError(
            f"responses: must be a file that can be written, but {path} cannot "
            f"({error.strerror}); name another"
        ) from None


def _part(path: Path, rank: int) -> Path:
    return path.with_name(f"{path.name}.rank{rank}")


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        yield from file
