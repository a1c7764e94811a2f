"""The tables of a store, and the only statements that are put together from their names."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

SCHEME = 2
"""Number of the tables and keys below; another number is another kind of file."""
READ = (1, SCHEME)
"""Schemes that are read: files of scheme 1 have no column of ``LATER``, and get it when written."""

APPLICATION = 0x42545253  # "BTRS"
PAGE_BYTES = 4096

COLUMNS: dict[str, dict[str, Any]] = {
    "contexts": {"id": int, "digest": bytes, "model": str, "noise": str, "facts": str},
    "responses": {
        "id": int, "key": bytes, "context": int, "task": str, "prompt": str, "member": int,
        "sample": int, "text": str, "tokens": int | None, "finish": str, "seconds": float,
        "created": float, "checksum": bytes, "mean_logprob": float | None,
    },
    "likelihoods": {
        "id": int, "key": bytes, "context": int, "task": str, "prompt": str, "member": int,
        "value": float, "is_greedy": int, "created": float, "checksum": bytes,
    },
    "verdicts": {"id": int, "key": bytes, "equal": int, "checksum": bytes},
}  # fmt: skip
"""The columns of each table in their order, with the types of what is read from them."""

LATER = {"responses": "mean_logprob"}
"""Columns that scheme 1 has not: the last ones of their tables, null where nothing is known."""

TABLES = """
CREATE TABLE contexts (
  id INTEGER PRIMARY KEY, digest BLOB UNIQUE NOT NULL, model TEXT NOT NULL, noise TEXT NOT NULL,
  facts TEXT NOT NULL);
CREATE TABLE responses (
  id INTEGER PRIMARY KEY, key BLOB UNIQUE NOT NULL, context INTEGER NOT NULL, task TEXT NOT NULL,
  prompt TEXT NOT NULL, member INTEGER NOT NULL, sample INTEGER NOT NULL, text TEXT NOT NULL,
  tokens INTEGER, finish TEXT NOT NULL, seconds REAL NOT NULL, created REAL NOT NULL,
  checksum BLOB NOT NULL, mean_logprob REAL);
CREATE TABLE likelihoods (
  id INTEGER PRIMARY KEY, key BLOB UNIQUE NOT NULL, context INTEGER NOT NULL, task TEXT NOT NULL,
  prompt TEXT NOT NULL, member INTEGER NOT NULL, value REAL NOT NULL, is_greedy INTEGER NOT NULL,
  created REAL NOT NULL, checksum BLOB NOT NULL);
CREATE TABLE verdicts (
  id INTEGER PRIMARY KEY, key BLOB UNIQUE NOT NULL, equal INTEGER NOT NULL, checksum BLOB NOT NULL);
"""


def select(table: str, rest: str = "") -> str:
    """A statement that reads all columns of a table of ours that the file has, in their order."""
    return f"SELECT * FROM {table} {rest}"


def statements(scheme: int = SCHEME) -> set[str]:
    """What made the tables, as SQLite keeps it; of a file that got its columns later, too."""
    text = TABLES if scheme > 1 else TABLES.replace(", mean_logprob REAL", "")
    return {each.strip() for each in text.split(";")} - {""}


def are_columns(table: str, names: list[str]) -> bool:
    """Whether these are the columns of a table of ours, of any scheme that is read."""
    ours = list(COLUMNS[table])
    return names in (ours, [name for name in ours if name != LATER.get(table)])


def bring_up_to_date(connection: sqlite3.Connection) -> bool:
    """Give a file of scheme 1 what it has not; whether that was anything.

    Within the caller's transaction, in which no other process can do so.
    """
    is_new = False
    for table, name in LATER.items():
        if name not in {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}:
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {name} REAL")
            is_new = True
    connection.execute(f"PRAGMA user_version={SCHEME:d}")
    return is_new


def insert(connection: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> bool:
    """Write one row of a table of ours; whether it was new: a row of the same key stays."""
    marks, values = [], []
    names = [name for name in COLUMNS[table] if name != "id"]
    for name in names:
        is_text = COLUMNS[table][name] is str
        marks.append("CAST(? AS TEXT)" if is_text else "?")
        # as bytes, because sqlite3 refuses a str with lone surrogates
        values.append(row[name].encode("utf-8", "surrogatepass") if is_text else row[name])
    # not INSERT OR IGNORE, which would ignore a missing value too
    return bool(
        connection.execute(
            f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(marks)}) "
            "ON CONFLICT DO NOTHING",
            values,
        ).rowcount
    )
