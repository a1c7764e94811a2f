"""``btrans-eval store``: list, export, prune and repair a store of responses."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from btrans_eval.errors import UserError
from btrans_eval.store import disk, files, salvage
from btrans_eval.store.tables import APPLICATION, SCHEME

_LIST = """
SELECT coalesce(model, 'unknown'), coalesce(noise, 'unknown'), task, sum(responses),
  sum(likelihoods), sum(bytes), min(first), max(last)
FROM (
  SELECT context, task, count(*) AS responses, 0 AS likelihoods, sum(length(CAST(text AS BLOB)))
    AS bytes, min(created) AS first, max(created) AS last FROM responses GROUP BY context, task
  UNION ALL
  SELECT context, task, 0, count(*), 0, min(created), max(created) FROM likelihoods
    GROUP BY context, task)
LEFT JOIN contexts ON contexts.id = context GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
_EXPORT = """
SELECT responses.*, model, noise, facts, digest FROM responses LEFT JOIN contexts
  ON contexts.id = context ORDER BY responses.id
"""


def show(path: str) -> None:
    """Print what a store holds."""
    with _opened(path) as connection:
        rows = connection.execute(_LIST).fetchall()
        (verdicts,) = connection.execute("SELECT count(*) FROM verdicts").fetchone()
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (page,) = connection.execute("PRAGMA page_size").fetchone()
    columns = ["model", "noise", "task", "responses", "loglikelihoods", "text", "first", "last"]
    try:
        table = [columns, *(_line(row) for row in rows)]
    except (TypeError, ValueError, OverflowError, OSError):  # such as a date of the year 10^300
        raise files.damaged(Path(path), "a row was altered") from None
    widths = [max(len(line[column]) for line in table) for column in range(len(columns))]
    for line in table:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )
    responses, likelihoods = sum(row[3] for row in rows), sum(row[4] for row in rows)
    print(
        f"{responses} responses, {likelihoods} loglikelihoods, {verdicts} verdicts on pairs of "
        f"answers; {_size(pages * page)} on disk"
    )


def _line(row: Any) -> list[str]:
    model, noise, task, responses, likelihoods, size, first, last = row
    names = [_plain(name) for name in (Path(model).name or model, noise, task)]
    return [*names, str(responses), str(likelihoods), _size(size), _date(first), _date(last)]


def export(path: str, output: str | None) -> None:
    """Write every response as one JSON line, with all that it depends on."""
    with _opened(path) as connection, _output(output) as file:
        for *values, model, noise, facts, digest in connection.execute(_EXPORT):
            row = salvage.as_row("responses", values)
            is_placed = salvage.is_placed(row, digest, facts)
            if not salvage.is_intact("responses", row) or not (
                is_placed or salvage.is_lost(digest)
            ):
                raise files.damaged(Path(path), f"row {row['id']} of responses was altered")
            line = {
                "model": model, "noise": noise, "task": row["task"], "member": row["member"],
                "sample": row["sample"], "text": row["text"], "tokens": row["tokens"],
                "finish_reason": row["finish"], "mean_logprob": row["mean_logprob"],
                "seconds": row["seconds"],
                "created": row["created"], "key": row["key"].hex(),
                "prompt_digest": row["prompt"], "facts": json.loads(facts) if is_placed else {},
            }  # fmt: skip
            file.write(json.dumps(line) + "\n")


def remove(path: str, model: str | None, older_than: float | None) -> None:
    """Drop the responses and loglikelihoods of a model, or those older than some days."""
    if older_than is not None and not older_than >= 0:
        raise UserError(f"older-than: must be a number of days, at least 0, got {older_than}")
    with _opened(path) as connection:
        where, values = "created < ?", [time.time() - 86400 * (older_than or 0.0)]
        if model is not None:
            known = {
                number: str(name)
                for number, name in connection.execute("SELECT id, model FROM contexts")
            }
            values = [each for each, name in known.items() if model in (name, Path(name).name)]
            if not values:
                names = ", ".join(sorted({_plain(name) for name in known.values()})) or "nothing"
                raise UserError(f"model: {path} holds none named {model}; it holds {names}")
            where = f"context IN ({', '.join('?' * len(values))})"
        connection.execute("BEGIN IMMEDIATE")
        dropped = [
            connection.execute(f"DELETE FROM {table} WHERE {where}", values).rowcount
            for table in ("responses", "likelihoods")
        ]
        connection.execute(
            "DELETE FROM contexts WHERE id NOT IN (SELECT context FROM responses) "
            "AND id NOT IN (SELECT context FROM likelihoods)"
        )
        connection.execute("COMMIT")
        print(f"removed {dropped[0]} responses and {dropped[1]} loglikelihoods from {_plain(path)}")
        connection.execute("VACUUM")


def repair(path: str, new: str) -> None:
    """Copy what is intact of a store to a new file."""
    if not os.path.isfile(path):
        raise UserError(f"store: there is no file {path}")
    application, scheme = files.header(Path(path))
    if application == APPLICATION and SCHEME < scheme < 1000:  # a larger number is damage
        raise files.other_scheme(Path(path), scheme)
    counts: dict[str, int] = {}

    def fill(target: sqlite3.Connection) -> None:
        counts.update(salvage.copy_intact(Path(path), target))
        if not any(counts.values()):
            raise UserError(f"store: nothing of {path} can be read, and {new} was not made")

    if os.path.lexists(new) or not disk.make(Path(new), fill):
        raise UserError(f"new: {new} exists, and is not overwritten; name a new file")
    print(
        f"copied {counts['responses']} responses, {counts['likelihoods']} loglikelihoods and "
        f"{counts['verdicts']} verdicts from {_plain(path)} to {_plain(new)}; {_plain(path)} was "
        "left as it is"
    )


@contextlib.contextmanager
def _opened(path: str) -> Iterator[sqlite3.Connection]:
    if not os.path.exists(path):
        raise UserError(f"store: there is no file {path}")
    connection = files.open_file(Path(path))
    try:
        with files.explained(Path(path), connection):
            yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def _output(output: str | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    try:
        with Path(output).open("x", encoding="utf-8") as file:
            try:
                yield file
            except BaseException:
                Path(output).unlink()  # a part would look like all of it
                raise
    except FileExistsError:
        raise UserError(
            f"output: {output} exists, and is not overwritten; name a new file"
        ) from None
    except OSError as error:
        raise UserError(f"output: {output} cannot be written ({error.strerror})") from None


def _size(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def _date(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))


def _plain(text: str) -> str:
    """A text as it can be printed on one line."""
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text)
