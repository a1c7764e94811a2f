"""Read what is intact of a damaged store, row by row."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from btrans_eval.errors import UserError
from btrans_eval.store.disk import UNREADABLE, make, reader, write_ahead_log
from btrans_eval.store.keys import checksum, digest_of, key
from btrans_eval.store.tables import COLUMNS, LATER, PAGE_BYTES, are_columns, insert, select

_CHECKED = {
    "responses": ("key", "text", "tokens", "finish"),
    "likelihoods": ("key", "value", "is_greedy"),
    "verdicts": ("key", "equal"),
}
_ROWS_OF_A_PAGE = 100  # or fewer
_MOST_FAILURES = 500  # past millions of ids
_MOST_STEPS = 10**6
_LAST_ID = 2**63 - 1
_LOST = b"lost"
_VALID_FOR = slice(92, 96)

Row = dict[str, Any]


def as_row(table: str, values: Sequence[Any]) -> Row:
    """Values by column name; a column that the file has not is None."""
    missing = [None] * (table in LATER and len(values) < len(COLUMNS[table]))
    return dict(zip(COLUMNS[table], [*values, *missing], strict=True))


def checksum_of(table: str, row: Row) -> bytes:
    """The checksum that a row must have."""
    later = LATER.get(table)
    # where nothing is known, the checksum is that of scheme 1
    names = [*_CHECKED[table], *([later] if later and row[later] is not None else [])]
    values = [row[name] for name in names]
    return checksum(*[value.hex() if isinstance(value, bytes) else value for value in values])


def is_intact(table: str, row: Row) -> bool:
    """Whether what a row says of its key is what was written."""
    is_typed = all(isinstance(row[name], kind) for name, kind in COLUMNS[table].items())
    return is_typed and checksum_of(table, row) == row["checksum"]


def is_placed(row: Row, digest: Any, facts: Any) -> bool:
    """Whether a row's context, prompt, member and sample are those that made its key."""
    if not isinstance(facts, str) or digest_of(facts) != digest:
        return False
    made = key(digest, row["prompt"], row["member"], row.get("sample", 0))
    return bool(made == row["key"])


def is_lost(digest: Any) -> bool:
    """Whether a context stands for one that repair could not read."""
    return isinstance(digest, bytes) and digest.startswith(_LOST)


def intact_rows(connection: sqlite3.Connection, table: str) -> Iterator[Row]:
    """The rows that can be reached and are what was written, each once."""
    seen: set[bytes] = set()
    for ascending in (True, False):
        for row in _from_one_end(connection, table, ascending):
            if is_intact(table, row) and row["key"] not in seen:
                seen.add(row["key"])
                yield row


def _from_one_end(connection: sqlite3.Connection, table: str, ascending: bool) -> Iterator[Row]:
    """Rows by id, past what cannot be read: one id further, and ever more where none can."""
    if ascending:
        place, step, statement = -1, 1, select(table, "WHERE id > ? ORDER BY id")
    else:
        place, step, statement = _LAST_ID, -1, select(table, "WHERE id < ? ORDER BY id DESC")
    failures = 0
    for _ in range(_MOST_STEPS):
        try:
            for values in connection.execute(statement, (place,)):
                row = as_row(table, values)
                place = max(place, row["id"]) if ascending else min(place, row["id"])
                failures = 0
                yield row
            return
        except UNREADABLE:
            place += step << max(0, failures - _ROWS_OF_A_PAGE) // 20
            failures += 1
        if failures > _MOST_FAILURES or abs(place) > _LAST_ID:
            return


def count_intact(path: Path) -> int:
    """How many responses of a file can still be used; 0 where nothing can be read."""
    try:
        with _source(path) as connection:
            return sum(1 for _ in intact_rows(connection, "responses"))
    except (OSError, UserError):
        return 0


def copy_intact(path: Path, target: sqlite3.Connection) -> dict[str, int]:
    """Copy all intact rows, with their contexts, into an empty store; how many of each table."""
    counts = dict.fromkeys(_CHECKED, 0)
    with _source(path) as connection:
        for table in counts:
            for row in intact_rows(connection, table):
                if "context" in row:
                    row["context"] = copy_context(connection, target, row)
                counts[table] += insert(target, table, row)
    return counts


@contextmanager
def _source(path: Path) -> Iterator[sqlite3.Connection]:
    """The file, to be read; where its first page is damaged, a copy with another first page."""
    with ExitStack() as stack:
        if not _has_tables(path):
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            path = _with_tables(path, Path(folder))
        yield stack.enter_context(closing(reader(path)))


def _has_tables(path: Path) -> bool:
    try:
        with closing(reader(path)) as connection:
            for table in COLUMNS:
                cursor = connection.execute(select(table, "LIMIT 0"))
                if not are_columns(table, [each[0] for each in cursor.description]):
                    return False
    except UNREADABLE:
        return False
    return True


def _with_tables(path: Path, folder: Path) -> Path:
    copy, empty = folder / "copy", folder / "empty"
    make(empty)  # its tables begin at the same pages
    page = bytearray(empty.read_bytes()[:PAGE_BYTES])
    page[_VALID_FOR] = bytes(4)  # so that the number of pages is taken from the file's size
    try:
        if path.stat().st_size < PAGE_BYTES:
            return empty
        shutil.copyfile(path, copy)
        with suppress(FileNotFoundError):
            shutil.copyfile(write_ahead_log(path), write_ahead_log(copy))
        with copy.open("r+b") as file:
            file.write(page)
    except OSError:  # not to be read
        return empty
    return copy


def copy_context(source: sqlite3.Connection, target: sqlite3.Connection, row: Row) -> int:
    """The number in the target of a row's context; one that is lost is called unknown."""
    values: Any = None
    with suppress(*UNREADABLE):
        statement = select("contexts", "WHERE id = ?")
        values = source.execute(statement, (row["context"],)).fetchone()
    context = as_row("contexts", values) if values else {"digest": None, "facts": None}
    if not is_placed(row, context["digest"], context["facts"]):
        digest = _LOST + str(row["context"]).encode()
        context = {"digest": digest, "model": "unknown", "noise": "unknown", "facts": "{}"}
    insert(target, "contexts", context)
    statement = "SELECT id FROM contexts WHERE digest = ?"
    return int(target.execute(statement, (context["digest"],)).fetchone()[0])
