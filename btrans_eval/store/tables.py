"""The tables of a store, and the only statements that are put together from their names."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

SCHEME = 1
"""Number of the tables and keys below; another number is another kind of file."""

APPLICATION = 0x42545253  # "BTRS"
PAGE_BYTES = 4096

COLUMNS: dict[str, dict[str, Any]] = {
    "contexts": {"id": int, "digest": bytes, "model": str, "noise": str, "facts": str},
    "responses": {
        "id": int, "key": bytes, "context": int, "task": str, "prompt": str, "member": int,
        "sample": int, "text": str, "tokens": int | None, "finish": str, "seconds": float,
        "created": float, "checksum": bytes,
    },
    "likelihoods": {
        "id": int, "key": bytes, "context": int, "task": str, "prompt": str, "member": int,
        "value": float, "is_greedy": int, "created": float, "checksum": bytes,
    },
    "verdicts": {"id": int, "key": bytes, "equal": int, "checksum": bytes},
}  # fmt: skip
"""The columns of each table, with the types of what is read from them."""

TABLES = """
CREATE TABLE contexts (
  id INTEGER PRIMARY KEY, digest BLOB UNIQUE NOT NULL, model TEXT NOT NULL, noise TEXT NOT NULL,
  facts TEXT NOT NULL);
CREATE TABLE responses (
  id INTEGER PRIMARY KEY, key BLOB UNIQUE NOT NULL, context INTEGER NOT NULL, task TEXT NOT NULL,
  prompt TEXT NOT NULL, member INTEGER NOT NULL, sample INTEGER NOT NULL, text TEXT NOT NULL,
  tokens INTEGER, finish TEXT NOT NULL, seconds REAL NOT NULL, created REAL NOT NULL,
  checksum BLOB NOT NULL);
CREATE TABLE likelihoods (
  id INTEGER PRIMARY KEY, key BLOB UNIQUE NOT NULL, context INTEGER NOT NULL, task TEXT NOT NULL,
  prompt TEXT NOT NULL, member INTEGER NOT NULL, value REAL NOT NULL, is_greedy INTEGER NOT NULL,
  created REAL NOT NULL, checksum BLOB NOT NULL);
CREATE TABLE verdicts (
  id INTEGER PRIMARY KEY, key BLOB UNIQUE NOT NULL, equal INTEGER NOT NULL, checksum BLOB NOT NULL);
"""


def select(table: str, rest: str = "") -> str:
    """A statement that reads all columns of a table of ours."""
    return f"SELECT {', '.join(COLUMNS[table])} FROM {table} {rest}"


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
