"""``btrans-eval store merge``: what several machines have generated, in one store."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from btrans_eval.errors import UserError
from btrans_eval.store import files, salvage
from btrans_eval.store.tables import insert, select

_SAID = {"responses": "text", "likelihoods": "value", "verdicts": "equal"}


def merge(target: str, sources: Sequence[str]) -> None:
    """Copy all rows of the sources, which stay as they are, into the target.

    A row that the target holds stays, also where a source holds another text for it: two machines
    may round a near tie differently. How many do is printed. Only a log-probability that a row of
    the target lacks, as those of scheme 1 do, is taken from a source that has it of the same text.

    Args:
        target: a store; it is made where there is no file.
        sources: other stores; each is copied whole or not at all.

    Raises:
        UserError: if a file is no intact store, or a source is the target.
    """
    if len(sources) == 0:
        raise UserError("merge: name a store to copy from, as in store merge all.db part1.db")
    for source in sources:
        if not Path(source).exists():
            raise UserError(f"store: there is no file {source}")
        if Path(target).exists() and Path(source).samefile(target):
            raise UserError(f"merge: {source} is the store that is copied into; name others")
    with closing(files.connect(Path(target))) as into:
        for source in sources:
            with closing(files.open_file(Path(source))) as connection:
                print(f"{source}: {_copy(Path(source), connection, Path(target), into)}")


def _copy(path: Path, source: sqlite3.Connection, target: Path, into: sqlite3.Connection) -> str:
    new, known, differ, completed = dict.fromkeys(_SAID, 0), 0, 0, 0
    with files.explained(target, into):
        into.execute("BEGIN IMMEDIATE")
        for table in _SAID:
            for row in _rows(path, source, table):
                if "context" in row:
                    row["context"] = salvage.copy_context(source, into, row)
                if insert(into, table, row):
                    new[table] += 1
                    continue
                known += 1
                statement = select(table, "WHERE key = ?")
                held = salvage.as_row(table, into.execute(statement, (row["key"],)).fetchone())
                differ += held[_SAID[table]] != row[_SAID[table]]
                completed += table == "responses" and _completed(into, held, row)
        into.execute("COMMIT")
    said = (
        f"{new['responses']} responses, {new['likelihoods']} loglikelihoods and "
        f"{new['verdicts']} verdicts are new, {known} were there"
    )
    said += f", {differ} of them otherwise, which stay as they were" if differ else ""
    return said + (f", {completed} of them got a log-probability" if completed else "")


def _completed(into: sqlite3.Connection, held: salvage.Row, row: salvage.Row) -> bool:
    """Whether a response got the log-probability that it lacked, from the same one of a source."""
    is_same = all(held[name] == row[name] for name in ("text", "tokens", "finish"))
    if not is_same or held["mean_logprob"] is not None or row["mean_logprob"] is None:
        return False
    into.execute(
        "UPDATE responses SET mean_logprob = ?, checksum = ? WHERE id = ?",
        (row["mean_logprob"], row["checksum"], held["id"]),
    )
    return True


def _rows(path: Path, source: sqlite3.Connection, table: str) -> Any:
    with files.explained(path, source):  # the caller's errors are of its own file
        for values in source.execute(select(table, "ORDER BY id")):
            row = salvage.as_row(table, values)
            if not salvage.is_intact(table, row):
                raise files.damaged(path, f"row {row['id']} of {table} was altered")
            yield row
