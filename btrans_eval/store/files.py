"""The file of a store: made whole or not at all, and opened only when it can be trusted."""

from __future__ import annotations

import contextlib
import os
import shlex
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from btrans_eval.errors import UserError
from btrans_eval.store import disk
from btrans_eval.store.disk import UNREADABLE, connection_to, is_frozen, make, reader
from btrans_eval.store.salvage import count_intact
from btrans_eval.store.tables import APPLICATION, READ, SCHEME, bring_up_to_date, statements

_MALFORMED = "database disk image is malformed"
_IN_USE = ("locked", "busy", "locking protocol")
_DAMAGE = ("malformed", "not a database", "unsupported file format", "too big")
_DISK = ("full", "disk I/O", "readonly", "unable to open")


def connect(path: Path) -> sqlite3.Connection:
    """Open a store for reading and writing; a new one where there is no file.

    Raises:
        UserError: if the file is no store, is of another scheme, is damaged or cannot be written.
    """
    if not os.path.exists(path):
        make(path)
    connection = open_file(path)
    try:
        with explained(path, connection):
            connection.execute("PRAGMA journal_mode=WAL")  # as it was made
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("BEGIN IMMEDIATE")
            # a file that cannot be written fails here, and not after the first batch
            is_changed = bring_up_to_date(connection)
            connection.execute("COMMIT" if is_changed else "ROLLBACK")
    except BaseException:
        connection.close()
        raise
    return connection


def open_file(path: Path) -> sqlite3.Connection:
    """Open a file that must be an intact store of a known scheme; it is left as it is."""
    _refuse_others(path)
    with closing(reader(path)) as connection, explained(path, connection):
        found = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master") if sql}
        (state,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if state != "ok" or not any(statements(scheme) <= found for scheme in READ):
            raise sqlite3.DatabaseError(_MALFORMED)
    return connection_to(path, "immutable=1" if is_frozen(path) else "mode=rw")


def _refuse_others(path: Path) -> None:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "it is no regular file")
        if not os.access(path, os.R_OK):
            raise OSError(0, "Permission denied")
    except OSError as error:
        raise UserError(
            f"store: must be a file that can be read, but {path} cannot ({error.strerror}); "
            "name another"
        ) from None
    application, scheme = header(path)
    if application != APPLICATION:
        what = "is empty; it was left as it is"
        if status.st_size:
            what = (
                "is no store of responses; it was left as it is. If it was one, its first page is "
                f"damaged: type btrans-eval store {shlex.quote(str(path))} repair NEW"
            )
        raise UserError(
            f"store: {path} {what}. Name another file, or remove it if it holds nothing you need"
        )
    if scheme not in READ:
        raise other_scheme(path, scheme)


def other_scheme(path: Path, scheme: int) -> UserError:
    """The line for a store that another version wrote."""
    return UserError(
        f"store: {path} was written in scheme {scheme}, and this version reads schemes up to "
        f"{SCHEME}; it was left as it is. Use the version of btrans-eval that wrote it, or name a "
        "new file"
    )


def header(path: Path) -> tuple[int, int]:
    """The numbers of the program and the scheme in a file's header."""
    # through SQLite: a process that opens and closes a file by other means loses the locks that
    # its own connections hold on it, and another process removes the log they still write to
    try:
        with closing(connection_to(path, "immutable=1")) as connection:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (scheme,) = connection.execute("PRAGMA user_version").fetchone()
            return application, scheme
    except UNREADABLE as error:
        if "not a database" in str(error):
            return 0, 0
        return APPLICATION, SCHEME  # damaged, or just being written: opening it in full will tell


@contextmanager
def explained(path: Path, connection: sqlite3.Connection) -> Iterator[None]:
    """What SQLite raises within the block is told as one line; nothing of it stays half done."""
    try:
        yield
    except BaseException as error:
        with contextlib.suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        told = _told(path, connection, error)
        if told is None:
            raise
        raise told from None


def _told(path: Path, connection: sqlite3.Connection, error: BaseException) -> UserError | None:
    reason = str(error)
    if isinstance(error, UnicodeDecodeError):
        return damaged(path, _MALFORMED)
    if not isinstance(error, sqlite3.DatabaseError):
        return None
    if any(sign in reason for sign in _IN_USE):
        return UserError(
            f"store: {path} has been in use by another process for {disk.WAIT_SECONDS:.0f} "
            "seconds; wait for it to end, then run the same command again"
        )
    if any(sign in reason for sign in _DAMAGE):
        return damaged(path, _MALFORMED)
    if not any(sign in reason for sign in _DISK):
        return None
    if "unable to open" in reason:
        reason = "SQLite must be able to write in its folder"
    return UserError(
        f"store: {path} cannot be written ({reason}); {_count(connection)} in it are intact. "
        "Make room or make it writable, then run the same command again: it goes on from there"
    )


def _count(connection: sqlite3.Connection) -> str:
    try:
        (responses,) = connection.execute("SELECT count(*) FROM responses").fetchone()
    except sqlite3.Error:
        return "the responses"
    return f"the {responses} responses"


def damaged(path: Path, reason: str) -> UserError:
    """The line for a store of which a part can no longer be trusted."""
    return UserError(
        f"store: {path} is damaged ({reason}); {count_intact(path)} responses in it are intact. "
        f"Type: btrans-eval store {shlex.quote(str(path))} repair NEW, which copies what is intact "
        f"to NEW; {path} itself was left as it is"
    )
