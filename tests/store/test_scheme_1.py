"""A store of scheme 1, which knew no log-probabilities: what it holds stays, and stays a hit.

The layout of its tables is repeated here on purpose, as it was then, and not taken from tables.py:
a change of what we write must not change what these tests read.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from stored import CONTEXT, add, key_of, logprob_of, place, text_of, texts

from btrans_eval.store import command, disk, files
from btrans_eval.store.keys import canonical, checksum
from btrans_eval.store.merge import merge
from btrans_eval.store.store import Store, StoredResponse

ROWS = 60
OLD = """
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
"""The tables of scheme 1, as they were made then."""


@pytest.fixture
def path(tmp_path) -> Path:
    """A store as the version before this wrote it."""
    made = tmp_path / "old.sqlite"
    connection = sqlite3.connect(made)
    connection.execute("PRAGMA page_size=4096")
    connection.executescript(f"BEGIN; {OLD} COMMIT")
    connection.execute(f"PRAGMA application_id={0x42545253}")
    connection.execute("PRAGMA user_version=1")
    facts = canonical(CONTEXT.facts)
    row = (CONTEXT.digest, CONTEXT.model, CONTEXT.noise, facts)
    connection.execute("INSERT INTO contexts VALUES (1, ?, ?, ?, ?)", row)
    for number in range(ROWS):
        key, text, where = key_of(number), text_of(number), place(number)
        finish = "length" if number % 3 == 0 else "stop"
        connection.execute(
            f"INSERT INTO responses VALUES ({', '.join('?' * 13)})",
            (number + 1, key, 1, where.task, where.prompt, where.member, 0, text, number, finish,
             0.5, 1.7e9, checksum(key.hex(), text, number, finish)),
        )  # fmt: skip
    connection.commit()
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    return made


def scheme(path: Path) -> int:
    connection = sqlite3.connect(path)
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return found


def logprobs(path: Path, rows: int) -> list[float | None]:
    store = Store(path)
    found = store.responses([key_of(number) for number in range(rows)])
    store.close()
    return [found[key_of(number)].mean_logprob for number in range(rows)]


def test_what_is_there_is_a_hit_without_a_log_probability(path):
    store = Store(path)
    keys = [key_of(number) for number in range(ROWS)]
    assert store.holds(keys) == set(keys)
    assert store.responses(keys) == {
        key_of(number): StoredResponse(text_of(number), number, number % 3 == 0, None)
        for number in range(ROWS)
    }
    store.close()
    assert scheme(path) == 2


def test_what_is_new_has_one_and_what_was_there_stays(path):
    for _ in range(2):  # it is brought up to date once
        store = Store(path)
        row = StoredResponse("new", 3, False, -0.125)
        store.add_responses(CONTEXT, [(place(n), row) for n in (5, ROWS)], 0.1)
        store.close()
    assert logprobs(path, ROWS + 1) == [None] * ROWS + [-0.125]
    assert texts(path, ROWS + 1) == {n: text_of(n) for n in range(ROWS)} | {ROWS: "new"}


def test_a_run_of_the_version_before_may_go_on_writing(path):
    old = sqlite3.connect(path, isolation_level=None)
    old.execute("SELECT count(*) FROM responses").fetchone()
    Store(path).close()
    key = key_of(ROWS)
    names = ("key, context, task, prompt, member, sample, text, tokens, finish, seconds, created, "
             "checksum")  # fmt: skip
    where, text = place(ROWS), "of the version before"
    old.execute(
        f"INSERT INTO responses ({names}) VALUES ({', '.join('?' * 12)})",
        (key, 1, where.task, where.prompt, where.member, 0, text, 1, "stop", 0.5, 1.7e9,
         checksum(key.hex(), text, 1, "stop")),
    )  # fmt: skip
    old.close()
    assert texts(path, ROWS + 1)[ROWS] == text


def test_reading_leaves_the_file_as_it_is(path, capsys, tmp_path):
    before = path.read_bytes()
    command.show(str(path))
    command.export(str(path), None)
    lines = capsys.readouterr().out.splitlines()
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    assert [row["text"] for row in rows] == [text_of(number) for number in range(ROWS)]
    assert {row["mean_logprob"] for row in rows} == {None}
    merge(str(tmp_path / "all.sqlite"), [str(path)])
    assert path.read_bytes() == before and scheme(path) == 1
    assert logprobs(tmp_path / "all.sqlite", ROWS) == [None] * ROWS
    assert texts(tmp_path / "all.sqlite", ROWS) == {n: text_of(n) for n in range(ROWS)}


def test_a_file_that_cannot_be_written_is_read(path, capsys, monkeypatch):
    for module in (disk, files):
        monkeypatch.setattr(module, "is_frozen", lambda path: True)
    command.export(str(path), None)
    assert len(capsys.readouterr().out.splitlines()) == ROWS


def test_both_are_merged_into_one_that_is_there(path, tmp_path):
    new = tmp_path / "new.sqlite"
    store = Store(new)
    add(store, range(ROWS, ROWS + 8))
    store.close()
    merge(str(path), [str(new)])
    assert scheme(path) == 2
    assert texts(path, ROWS + 8) == {n: text_of(n) for n in range(ROWS + 8)}
    assert logprobs(path, ROWS + 8) == [None] * ROWS + [logprob_of(n) for n in range(60, 68)]


def other(path: Path, numbers: range, text: str | None = None) -> Path:
    store = Store(path)
    add(store, numbers, text)
    store.close()
    return path


def test_what_lacks_a_log_probability_gets_that_of_the_same_response(path, tmp_path, capsys):
    new = other(tmp_path / "new.sqlite", range(50, ROWS + 2))
    merge(str(path), [str(new)])
    wanted = [None] * 50 + [logprob_of(n) for n in range(50, ROWS + 2)]
    assert logprobs(path, ROWS + 2) == wanted and wanted.count(None) == 53  # 60 too has none
    assert texts(path, ROWS + 2) == {n: text_of(n) for n in range(ROWS + 2)}
    assert "10 were there, 8 of them got a log-probability\n" in capsys.readouterr().out
    merge(str(path), [str(new)])  # they are intact, and once is enough
    assert "12 were there\n" in capsys.readouterr().out
    assert logprobs(path, ROWS + 2) == wanted


def test_one_that_is_there_stays_where_the_source_has_none(path, tmp_path, capsys):
    new = other(tmp_path / "new.sqlite", range(50, ROWS))
    merge(str(new), [str(path)])
    assert logprobs(new, ROWS) == [None] * 50 + [logprob_of(n) for n in range(50, ROWS)]
    assert "10 were there\n" in capsys.readouterr().out


@pytest.mark.parametrize("name, value", [("text", "x"), ("tokens", 1), ("finish", "length")])
def test_another_response_gives_none(path, tmp_path, name, value):
    row = {"text": text_of(50), "tokens": 50, "finish": "stop"} | {name: value}
    store = Store(tmp_path / "new.sqlite")
    given = StoredResponse(row["text"], row["tokens"], row["finish"] == "length", -0.5)
    store.add_responses(CONTEXT, [(place(50), given)], 0.1)
    store.close()
    merge(str(path), [str(tmp_path / "new.sqlite")])
    assert logprobs(path, ROWS) == [None] * ROWS
    assert texts(path, ROWS)[50] == text_of(50)


@pytest.mark.parametrize("page", [None, 0, 4])
def test_it_is_repaired(path, tmp_path, page):
    if page is not None:
        data = bytearray(path.read_bytes())
        data[page * 4096 : page * 4096 + 400] = b"\xff" * 400
        path.write_bytes(data)
    new = tmp_path / "new.sqlite"
    command.repair(str(path), str(new))
    found = texts(new, ROWS)
    assert scheme(new) == 2 and len(found) > ROWS / 2
    assert found == {number: text_of(number) for number in found}
    assert len(found) == ROWS or page == 4


def test_a_scheme_that_comes_later_is_left_alone(path):
    Store(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=3")
    connection.close()
    with pytest.raises(Exception, match="scheme 3, and this version reads schemes up to 2"):
        Store(path)


def test_a_log_probability_that_was_altered_is_damage(path):
    store = Store(path)
    store.add_responses(CONTEXT, [(place(ROWS), StoredResponse("new", 3, False, -0.125))], 0.1)
    store.close()
    for value in (-0.25, None, "much"):
        connection = sqlite3.connect(path)
        connection.execute("UPDATE responses SET mean_logprob = ? WHERE text = 'new'", (value,))
        connection.commit()
        connection.close()
        with pytest.raises(Exception, match=f"row {ROWS + 1} of responses was altered"):
            logprobs(path, ROWS + 1)
