"""Responses, loglikelihoods and verdicts in one SQLite file that several processes may share."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from btrans_eval.errors import UserError
from btrans_eval.store import disk, files, salvage
from btrans_eval.store.keys import Context, canonical, key
from btrans_eval.store.tables import insert, select

_MANY = 500  # SQLite takes at least 999 values in one statement


@dataclass(frozen=True)
class StoredResponse:
    """One finished response.

    Attributes:
        tokens: generated tokens.
        truncated: whether the limit was reached.
        mean_logprob: of the tokens, nats, finite; None where it is not known, as of all that was
            stored in scheme 1.
    """

    text: str
    tokens: int | None
    truncated: bool
    mean_logprob: float | None = None


@dataclass(frozen=True)
class ResponseId:
    """Which response (or loglikelihood) of a context: what the key is made of.

    Attributes:
        task: name of the task that asked first; not part of the key.
        prompt: digest of the prompt's tokens.
    """

    task: str
    prompt: str
    member: int
    sample: int = 0


class Store:
    """One file of responses, opened or made.

    Every method that writes is one transaction: after a kill at any moment the file holds all
    rows of it or none.

    Args:
        path: an SQLite file on a local disk; it is made, with its folder, where there is none.

    Raises:
        UserError: here and in every method, if the file is no store, is of another scheme, is
            damaged, full, not writable or no longer there; says what is intact.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._connection = files.connect(self.path)
        self._file = self.path.absolute()
        self._inode = os.stat(self._file).st_ino
        self._log = disk.write_ahead_log(self._file)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def holds(self, keys: Sequence[bytes]) -> set[bytes]:
        """Which of the keys have a response."""
        found: set[bytes] = set()
        for some in _in_parts(keys):
            found |= {
                each for (each,) in self._fetch(f"SELECT key FROM responses {_in(some)}", some)
            }
        return found

    def responses(self, keys: Sequence[bytes]) -> dict[bytes, StoredResponse]:
        """The responses that are there, by key."""
        return {
            row["key"]: StoredResponse(
                row["text"], row["tokens"], row["finish"] == "length", row["mean_logprob"]
            )
            for row in self._rows("responses", keys)
        }

    def add_responses(
        self,
        context: Context,
        responses: Sequence[tuple[ResponseId, StoredResponse]],
        seconds: float,
    ) -> None:
        """Write responses, of which those that are there already stay as they are.

        Args:
            context: what all of them have in common.
            responses: each with its place.
            seconds: wall time of each one's share of its batch.
        """
        digest = context.digest
        rows = [
            {
                **_placed(digest, place),
                "sample": place.sample,
                "text": response.text,
                "tokens": response.tokens,
                "finish": "length" if response.truncated else "stop",
                "seconds": seconds,
                # SQLite keeps no negative zero
                "mean_logprob": None if (mean := response.mean_logprob) is None else mean + 0.0,
            }
            for place, response in responses
        ]
        self._add("responses", context, rows)

    def contexts(self) -> dict[bytes, dict[str, Any]]:
        """The facts of every context that anything was written for, by digest."""
        found = self._fetch("SELECT digest, facts FROM contexts", ())
        return {digest: json.loads(facts) for digest, facts in found}

    def likelihoods(self, keys: Sequence[bytes]) -> dict[bytes, tuple[float, bool]]:
        """The (loglikelihood in nats, whether greedy) that are there, by key."""
        rows = self._rows("likelihoods", keys)
        return {row["key"]: (row["value"], bool(row["is_greedy"])) for row in rows}

    def add_likelihoods(
        self, context: Context, values: Sequence[tuple[ResponseId, tuple[float, bool]]]
    ) -> None:
        """Write loglikelihoods, of which those that are there already stay as they are."""
        digest = context.digest
        rows = [
            {
                **_placed(digest, place),
                "value": float(value) + 0.0,  # SQLite keeps no negative zero
                "is_greedy": int(is_greedy),
            }
            for place, (value, is_greedy) in values
        ]
        self._add("likelihoods", context, rows)

    def verdicts(self, scheme: str) -> Verdicts:
        """Verdicts on pairs of answers, kept with the responses; ``scheme`` names who judged."""
        return Verdicts(self, scheme)

    # ------------------------------------------------------------------- inside
    def _rows(self, table: str, keys: Sequence[bytes]) -> Iterator[salvage.Row]:
        for some in _in_parts(keys):
            for values in self._fetch(select(table, _in(some)), some):
                row = salvage.as_row(table, values)
                if not salvage.is_intact(table, row):
                    raise files.damaged(self.path, f"row {row['id']} of {table} was altered")
                yield row

    def _fetch(self, statement: str, values: Sequence[bytes]) -> list[Any]:
        with files.explained(self.path, self._connection):
            return self._connection.execute(statement, values).fetchall()

    def _add(self, table: str, context: Context, rows: Sequence[salvage.Row]) -> None:
        with self._transaction():
            number = self._context_number(context)
            now = time.time()
            for row in rows:
                self._insert(table, row | {"context": number, "created": now})

    def _insert(self, table: str, row: salvage.Row) -> None:
        row = row | {"checksum": salvage.checksum_of(table, row)}
        insert(self._connection, table, row)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with files.explained(self.path, self._connection):
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
            if not self._is_there():  # what is written now would be gone with the process
                self._connection.execute("PRAGMA wal_checkpoint")
                raise UserError(
                    f"store: {self.path} or the -wal file beside it was removed or replaced while "
                    "this run wrote to it, and the last responses may be lost; leave both alone "
                    "and run the same command again, which generates only what is missing"
                )

    def _is_there(self) -> bool:
        try:
            return os.stat(self._file).st_ino == self._inode and self._log.exists()
        except OSError:
            return False

    def _context_number(self, context: Context) -> int:
        digest = context.digest
        row = {
            "digest": digest,
            "model": context.model,
            "noise": context.noise,
            "facts": canonical(context.facts),
        }
        insert(self._connection, "contexts", row)
        found = self._connection.execute("SELECT id FROM contexts WHERE digest = ?", (digest,))
        return int(found.fetchone()[0])


def _placed(context: bytes, place: ResponseId) -> salvage.Row:
    """What a response and a loglikelihood say of their place alike."""
    return {
        "key": key(context, place.prompt, place.member, place.sample),
        "task": place.task,
        "prompt": place.prompt,
        "member": place.member,
    }


def _in_parts(keys: Sequence[bytes]) -> Iterator[list[bytes]]:
    for start in range(0, len(keys), _MANY):
        yield list(keys[start : start + _MANY])


def _in(keys: Sequence[bytes]) -> str:
    return f"WHERE key IN ({', '.join('?' * len(keys))})"


class Verdicts(MutableMapping[tuple[str, str, str], "bool | None"]):
    """Verdicts by (kind, answer, answer); undecided ones are kept for this run only."""

    def __init__(self, store: Store, scheme: str) -> None:
        self._store, self._scheme = store, scheme
        self._here: dict[tuple[str, str, str], bool | None] = {}

    def _key(self, pair: tuple[str, str, str]) -> bytes:
        return key(self._scheme.encode(), canonical(pair), 0, 0)

    def __getitem__(self, pair: tuple[str, str, str]) -> bool | None:
        if pair not in self._here:
            for row in self._store._rows("verdicts", [self._key(pair)]):
                self._here[pair] = bool(row["equal"])
        return self._here[pair]

    def __contains__(self, pair: object) -> bool:
        if not isinstance(pair, tuple):
            return False
        return pair in self._here or any(self._store._rows("verdicts", [self._key(pair)]))

    def __setitem__(self, pair: tuple[str, str, str], equal: bool | None) -> None:
        self._here[pair] = equal
        if equal is None:
            return
        with self._store._transaction():
            self._store._insert("verdicts", {"key": self._key(pair), "equal": int(equal)})

    def __delitem__(self, pair: tuple[str, str, str]) -> None:
        raise TypeError("a verdict is not taken back")

    def __iter__(self) -> Iterator[tuple[str, str, str]]:
        return iter(self._here)

    def __len__(self) -> int:
        return len(self._here)
