"""A store's file as SQLite has it, intact or not: made, opened, and what lies beside it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from btrans_eval.errors import UserError
from btrans_eval.store.tables import APPLICATION, PAGE_BYTES, SCHEME, TABLES

WAIT_SECONDS = 120.0
UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
"""What comes of reading a damaged file; the second, if the damage is in SQLite's message."""


def reader(path: Path) -> sqlite3.Connection:
    """A connection to read a file that may be damaged, with its write-ahead log."""
    if is_frozen(path):
        return connection_to(path, "immutable=1")
    # a connection that may write moves the log into the file when it is closed, and one that may
    # not leaves files of its own beside it
    return connection_to(path, "mode=ro" if _holds_rows(write_ahead_log(path)) else "mode=rw")


def write_ahead_log(path: Path) -> Path:
    """The file beside a store that holds what was written to it last."""
    return Path(os.path.realpath(path) + "-wal")


def _holds_rows(log: Path) -> bool:
    try:
        return log.stat().st_size > 0
    except OSError:
        return False


def connection_to(path: Path, how: str) -> sqlite3.Connection:
    name = f"file:{quote(os.fsencode(path.absolute()))}?{how}"
    try:
        connection = sqlite3.connect(name, timeout=WAIT_SECONDS, isolation_level=None, uri=True)
    except sqlite3.Error as error:  # such as a path of more than 512 bytes
        raise UserError(
            f"store: must be a file that SQLite can open, but {path} cannot ({error}); name another"
        ) from None
    connection.text_factory = _text
    return connection


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:  # damaged, which the row's checksum shows
        return raw.decode("utf-8", "replace")


def is_frozen(path: Path) -> bool:
    """Whether SQLite cannot write beside the file, and need not: all of the store is in it."""
    return not os.access(path.absolute().parent, os.W_OK) and not write_ahead_log(path).exists()


def make(path: Path, fill: Callable[[sqlite3.Connection], None] = lambda new: None) -> bool:
    """Make a store under another name, fill it, and put it there in one step.

    Returns:
        Whether it is there; False if there is another file by now, which stays.
    """
    try:
        log = write_ahead_log(path)
        if _holds_rows(log) and not os.path.exists(path):
            raise UserError(  # SQLite would take it for the log of the new file
                f"store: {path} is gone, but {log} holds what was written to it last; put {path} "
                f"back, or remove {log} to begin anew"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".new-store-") as folder:
            new = Path(folder) / "store"
            with closing(sqlite3.connect(new, isolation_level=None)) as connection:
                connection.execute(f"PRAGMA page_size={PAGE_BYTES:d}")
                connection.executescript(f"BEGIN; {TABLES}")
                connection.execute(f"PRAGMA application_id={APPLICATION:d}")
                connection.execute(f"PRAGMA user_version={SCHEME:d}")
                fill(connection)
                connection.execute("COMMIT")
                connection.execute("PRAGMA journal_mode=WAL")
            return _put(new, path)
    except UserError:
        raise
    except (OSError, ValueError, sqlite3.Error) as error:
        raise UserError(
            f"store: must be a file that can be written, but {path} cannot "
            f"({getattr(error, 'strerror', None) or error}); name another"
        ) from None


def _put(new: Path, path: Path) -> bool:
    with contextlib.suppress(OSError):
        os.link(new, path)
        return True
    try:  # another process was first, or the file system has no links
        with new.open("rb") as source, path.open("xb") as target:
            try:
                shutil.copyfileobj(source, target)
            except OSError:
                path.unlink()
                raise
    except FileExistsError:
        return False
    return True
