"""What is wrong with a file is told in one line, and what was written stays readable."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest
from stored import (
    AS_NOBODY,
    add,
    filled,
    key_of,
    logprob_of,
    ran,
    refusal,
    started,
    text_of,
    texts,
    typed,
)

from btrans_eval.errors import UserError
from btrans_eval.store import command, disk
from btrans_eval.store.store import Store

ROWS, OTHERS = 120, 20


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    """The bytes of a store."""
    return filled(tmp_path_factory.mktemp("whole") / "store.sqlite", ROWS, OTHERS).read_bytes()


# --------------------------------------------------------------- other files
def other_program(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE responses (key, text)")
        connection.execute("INSERT INTO responses VALUES (1, 'kept')")
        connection.execute("PRAGMA user_version=1")
    connection.close()


def future(path: Path) -> None:
    filled(path, 4)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=3")
    connection.close()


OTHER_FILES = {
    "empty": (lambda path: path.touch(), "is empty"),
    "text": (lambda path: path.write_text("results\n" * 9), "is no store of responses"),
    "binary": (lambda path: path.write_bytes(bytes(range(256)) * 99), "is no store of responses"),
    "sixteen bytes": (lambda path: path.write_bytes(b"SQLite format 3\0"), "is no store"),
    "of another program": (other_program, "is no store of responses"),
    "of the future": (future, "written in scheme 3, and this version reads schemes up to 2"),
    "folder": (lambda path: path.mkdir(), "no regular file"),
    "fifo": (os.mkfifo, "no regular file"),
}


@pytest.mark.parametrize("make, says", OTHER_FILES.values(), ids=OTHER_FILES)
def test_what_is_no_store_is_refused_and_left_alone(tmp_path, make, says):
    path = tmp_path / "store.sqlite"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    for function, *arguments in ((Store,), (command.show,), (command.export, None)):
        line = refusal(function, path, *arguments)
        assert line.startswith("store: ") and str(path) in line and says in line
    refusal(command.repair, str(path), str(tmp_path / "new.sqlite"))
    assert (path.read_bytes() if path.is_file() else None) == before
    assert os.listdir(tmp_path) == ["store.sqlite"]


@pytest.mark.parametrize("pending", [True, False])
def test_a_store_of_the_future_keeps_its_log(tmp_path, pending):
    path = tmp_path / "store.sqlite"
    future(path)
    if pending:
        code = "import sqlite3, os; c = sqlite3.connect(sys.argv[1]); c.execute('DELETE FROM "
        code += "responses'); c.commit(); os.kill(os.getpid(), 9)"
        ran(code, path)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir() if "shm" not in each.name}
    assert "scheme 3" in refusal(Store, path)
    assert "scheme 3" in refusal(command.repair, str(path), str(tmp_path / "new.sqlite"))
    after = {each.name: each.read_bytes() for each in tmp_path.iterdir() if "shm" not in each.name}
    assert before == after and ("store.sqlite-wal" in after) == pending


ODD_NAMES = [
    "with space.sqlite", "it's \"quoted\".sqlite", "100%.sqlite", "%41%00.sqlite", "a?mode=memory",
    "a#b.sqlite", "file:a.sqlite", ":memory:", "шторе🙂.sqlite", "x'; DROP TABLE responses; --",
    "$(touch owned)", "`touch owned`", "-rf", "a;b&c|d", "back\\slash", "~", "x" * 240, "a\nb",
]  # fmt: skip


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("is_relative", [True, False])
def test_a_path_is_only_a_path(tmp_path, monkeypatch, capsys, name, is_relative):
    monkeypatch.chdir(tmp_path)
    path = Path(name) if is_relative else tmp_path / name
    filled(path, 4, 4)
    assert len(texts(path, 4)) == 4
    command.show(str(path))
    command.repair(str(path), str(path.with_name("new")))
    monkeypatch.undo()
    assert len(texts(tmp_path / "new", 4)) == 4
    assert sorted(os.listdir(tmp_path)) == sorted([name, "new"])
    assert "copied 4 responses" in capsys.readouterr().out.splitlines()[-1]


def test_a_name_in_no_encoding(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff.sqlite")
    filled(path, 4)
    code, output, errors = typed(path, "repair", tmp_path / "new")
    assert (code, errors) == (0, "") and "copied 4 responses" in output


def test_a_path_through_links(tmp_path):
    filled(tmp_path / "real.sqlite", 4)
    (tmp_path / "link.sqlite").symlink_to("real.sqlite")
    first, second = Store(tmp_path / "link.sqlite"), Store(tmp_path / "real.sqlite")
    add(first, range(4, 8))
    assert len(second.holds([key_of(each) for each in range(8)])) == 8
    (tmp_path / "dangling.sqlite").symlink_to("nowhere")
    assert "No such file" in refusal(Store, tmp_path / "dangling.sqlite")


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "/dev/null", "/proc/store.sqlite"])
def test_a_path_that_cannot_be(tmp_path, name):
    assert name in refusal(Store, tmp_path / name)


def test_a_path_longer_than_sqlite_takes(tmp_path, monkeypatch):
    path = tmp_path.joinpath(*["x" * 200] * 3) / "store.sqlite"
    assert "cannot (unable to open database file)" in refusal(Store, path)
    monkeypatch.chdir(path.parent)
    filled(tmp_path / "store.sqlite", 4).rename("store.sqlite")
    assert "must be a file that SQLite can open" in refusal(Store, path)
    assert "must be a file that SQLite can open" in refusal(command.show, path)


def test_a_file_system_without_links(tmp_path, monkeypatch):
    def no_links(*names):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "store.sqlite"
    assert len(texts(filled(path, 8), 8)) == 8
    assert not disk.make(path)  # another process was first, and its file stays
    assert len(texts(path, 8)) == 8


# ------------------------------------------------------- rights and full disks
@pytest.fixture
def nobodys(tmp_path):
    if os.getuid() != 0:
        pytest.skip("needs root, to become another user")
    for folder in tmp_path.parents:
        if folder.stat().st_uid == 0 and folder not in (Path("/"), Path("/tmp")):
            folder.chmod(0o755)
    path = filled(tmp_path / "store.sqlite", 8)
    os.chown(path, 65534, 65534)
    return path


OPENED = AS_NOBODY + (
    "from btrans_eval.cli import main\nfrom btrans_eval.errors import UserError\n"
    "try: Store(sys.argv[1])\nexcept UserError as error: print(error)\nelse: print('opened')"
)


@pytest.mark.parametrize("file_mode, folder_mode", [(0o444, 0o777), (0o644, 0o555), (0o444, 0o555)])
def test_a_store_that_cannot_be_written_can_be_read(nobodys, file_mode, folder_mode):
    nobodys.chmod(file_mode)
    nobodys.parent.chmod(folder_mode)
    code, line, errors = ran(OPENED, nobodys)
    assert (code, errors) == (0, "") and line.count("\n") == 1
    assert "cannot be written" in line and "the 8 responses in it are intact" in line
    assert "make it writable" in line
    code, output, errors = typed(nobodys, before=AS_NOBODY)
    assert (code, errors) == (0, "") and "8 responses" in output
    code, output, errors = typed(nobodys, "export", before=AS_NOBODY)
    assert (code, errors, len(output.splitlines())) == (0, "", 8)
    assert typed(nobodys, "remove", "--older-than", "0", before=AS_NOBODY)[0] == 2
    nobodys.chmod(0o644)
    assert len(texts(nobodys, 8)) == 8


def test_a_folder_that_cannot_be_written_or_seen(nobodys):
    nobodys.parent.chmod(0o555)
    line = ran(OPENED, nobodys.parent / "new.sqlite")[1]
    assert "must be a file that can be written" in line and "Permission denied" in line
    nobodys.parent.chmod(0o700)
    os.chown(nobodys.parent, 0, 0)
    line = ran(OPENED, nobodys)[1]
    assert "Permission denied" in line and line.count("\n") == 1
    nobodys.parent.chmod(0o755)
    nobodys.chmod(0o000)
    line = ran(OPENED, nobodys)[1]
    assert "must be a file that can be read" in line and "Permission denied" in line
    os.chown(nobodys, 0, 0)
    assert "Permission denied" in ran(OPENED, nobodys)[1]


WRITE = """
import resource
from btrans_eval.cli import main
from btrans_eval.errors import UserError
if int(sys.argv[2]): resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    store = Store(sys.argv[1])
    for start in range(0, 800, 8):
        add(store, range(start, start + 8))
        print(start + 8, flush=True)
except UserError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
"""


@pytest.mark.parametrize("limit", [1_000, 30_000, 60_000, 300_000])
def test_a_limit_on_the_size_of_files(tmp_path, limit):
    path = tmp_path / "store.sqlite"
    code, output, errors = ran(WRITE, path, limit)
    done = int((output.splitlines() or ["0"])[-1])
    assert code == 2 and errors.count("\n") == 1 and "cannot" in errors and done < 800
    if limit > 40_000:
        assert f"the {done} responses in it are intact" in errors and "same command again" in errors
        assert texts(path, 800) == {each: text_of(each) for each in range(done)}
    assert ran(WRITE, path, 0)[0] == 0
    assert texts(path, 800) == {each: text_of(each) for each in range(800)}


def test_a_full_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", disk], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.decode().strip()}")
    try:
        path = disk / "store.sqlite"
        code, output, errors = ran(WRITE, path, 0)
        done = int(output.splitlines()[-1])
        assert code == 2 and errors.count("\n") == 1 and "disk is full" in errors
        assert f"the {done} responses in it are intact" in errors and "Make room" in errors
        assert typed(path, "list")[1].splitlines()[-1].startswith(f"{done} responses")
        assert len(typed(path, "export")[1].splitlines()) == done
        code, _, errors = typed(path, "repair", disk / "new.sqlite")
        assert code == 2 and errors.count("\n") == 1 and "full" in errors
        code, _, errors = typed(path, "export", "--output", disk / "new.jsonl")
        assert code == 2 and errors.count("\n") == 1 and "No space left" in errors
        assert not {"new.sqlite", "new.jsonl"} & set(os.listdir(disk))
        code, _, errors = ran(WRITE, path, 0)
        assert code == 2 and errors.count("\n") == 1 and "disk is full" in errors
        subprocess.run(["mount", "-o", "remount,size=40m", disk], check=True)
        assert ran(WRITE, path, 0)[0] == 0
        assert texts(path, 800) == {each: text_of(each) for each in range(800)}
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_file_in_use_is_waited_for(tmp_path, monkeypatch):
    path = filled(tmp_path / "store.sqlite", 4)
    code = "import sqlite3, time; c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
    code += "c.execute('BEGIN IMMEDIATE'); print('mine', flush=True); time.sleep({})"
    holder = started(code.format(1.5), path)
    holder.stdout.readline()
    store = Store(path)
    add(store, range(4, 8))
    assert len(store.holds([key_of(each) for each in range(8)])) == 8
    holder.communicate()
    store.close()
    monkeypatch.setattr(disk, "WAIT_SECONDS", 0.2)
    holder = started(code.format(60), path)
    holder.stdout.readline()
    line = refusal(Store, path)
    assert "in use by another process" in line and "run the same command again" in line
    holder.kill()
    holder.communicate()


# -------------------------------------------------------------------- damage
def checked(path: Path, capsys) -> tuple[bool, int]:
    """Whether a damaged file still opens, and how many rows a repair saves; none is wrong."""
    before = path.read_bytes()
    try:
        found = texts(path, ROWS)
    except UserError as error:
        assert "\n" not in str(error) and str(path) in str(error)
        opens = False
    else:
        assert found == {each: text_of(each) for each in range(ROWS)}
        opens = True
    capsys.readouterr()
    for function, *arguments in ((command.show,), (command.export, None)):
        try:
            function(str(path), *arguments)
        except UserError as error:
            assert "\n" not in str(error) and str(path) in str(error)
        else:
            assert opens or function is command.show  # which reads no text
    for line in capsys.readouterr().out.splitlines():
        if line.startswith("{") and (row := json.loads(line)):
            number = row["tokens"]
            assert (row["text"], row["member"]) == (text_of(number), number % 4)
            assert row["mean_logprob"] == logprob_of(number)
            assert (row["key"], row["model"]) == (key_of(number).hex(), "org/model")
    new = path.with_name("new.sqlite")
    try:
        command.repair(str(path), str(new))
    except UserError as error:
        assert f"nothing of {path} can be read" in str(error) and not new.exists()
        saved = 0
    else:
        found = texts(new, ROWS)
        assert found == {each: text_of(each) for each in found}
        store = Store(new)
        others = store.likelihoods([key_of(each) for each in range(OTHERS)])
        assert others == {key_of(n): (-n / 8, True) for n in range(OTHERS) if key_of(n) in others}
        store.close()
        counts = f"copied {len(found)} responses, {len(others)} loglikelihoods and "
        assert counts in capsys.readouterr().out
        saved = len(found)
        new.unlink()
    assert path.read_bytes() == before
    return opens, saved


def test_an_intact_store_opens_and_is_copied_whole(tmp_path, whole, capsys):
    path = tmp_path / "store.sqlite"
    path.write_bytes(whole)
    assert checked(path, capsys) == (True, ROWS)


def test_flipped_bytes_never_give_a_wrong_text(tmp_path, whole, capsys):
    path, dice, lost = tmp_path / "store.sqlite", random.Random(0), []
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[dice.randrange(len(whole))] ^= dice.randrange(1, 256)
        path.write_bytes(damaged)
        lost.append(ROWS - checked(path, capsys)[1])
    # one page at most, but for the few bytes that say where a table begins
    assert sum(rows <= 1 for rows in lost) >= 55 and sum(rows > 20 for rows in lost) <= 2


@pytest.mark.parametrize("first", [0, 1])
def test_lost_pages_cost_what_was_on_them(tmp_path, whole, capsys, first):
    path, pages = tmp_path / "store.sqlite", len(whole) // 4096
    saved = []
    for page in range(first, pages, 2):
        damaged = bytearray(whole)
        damaged[4096 * page : 4096 * (page + 1)] = bytes(4096)
        path.write_bytes(damaged)
        opens, rows = checked(path, capsys)
        assert not opens
        saved.append(rows)
    assert sorted(saved)[1] > ROWS - 40 and (first or saved[0] == ROWS)


def test_a_file_cut_short(tmp_path, whole, capsys):
    path, dice = tmp_path / "store.sqlite", random.Random(0)
    lengths = [1, 16, 100, 512, 4096, 8192, len(whole) - 4096, len(whole) - 1]
    for length in [*lengths, *(dice.randrange(len(whole)) for _ in range(6))]:
        path.write_bytes(whole[:length])
        opens, saved = checked(path, capsys)
        assert not opens and saved < ROWS
    assert saved > 0


def test_a_row_that_moved_to_another_key_is_told(tmp_path, whole):
    path = tmp_path / "store.sqlite"
    path.write_bytes(whole)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE responses SET text = 'from elsewhere' WHERE tokens = 9")
    connection.close()
    store = Store(path)
    asked = [key_of(each) for each in range(ROWS)]
    assert len(store.holds(asked)) == ROWS
    line = refusal(store.responses, asked)
    assert "is damaged (row 10 of responses was altered)" in line
    assert f"{ROWS - 1} responses in it are intact" in line and f"store {path} repair NEW" in line


@pytest.mark.parametrize("column", ["member", "sample", "prompt", "context", "facts"])
def test_export_tells_a_row_that_says_it_is_another(tmp_path, whole, column):
    path, new = tmp_path / "store.sqlite", tmp_path / "new.sqlite"
    path.write_bytes(whole)
    table = "contexts" if column == "facts" else "responses"
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE {table} SET {column} = 7 WHERE id = 1")
    connection.close()
    line = refusal(command.export, path, None)
    assert "row 1 of responses was altered" in line
    # the text still belongs to its key, and is kept for the run that asks for it
    command.repair(str(path), str(new))
    assert len(texts(new, ROWS)) == ROWS
    shutil.copy(new, path)
    new.unlink()
    command.repair(str(path), str(new))
    assert len(texts(new, ROWS)) == ROWS


def test_a_table_of_which_nothing_can_be_reached(tmp_path, whole):
    path = tmp_path / "store.sqlite"
    path.write_bytes(whole)
    with sqlite3.connect(path) as connection:
        statement = "SELECT rootpage FROM sqlite_master WHERE name = 'responses'"
        (root,) = connection.execute(statement).fetchone()
    connection.close()
    damaged = bytearray(whole)
    damaged[4096 * (root - 1) : 4096 * root] = bytes(range(256)) * 16
    path.write_bytes(damaged)
    assert "0 responses in it are intact" in refusal(Store, path)
    command.repair(str(path), str(tmp_path / "new.sqlite"))
    store = Store(tmp_path / "new.sqlite")
    assert len(store.likelihoods([key_of(each) for each in range(OTHERS)])) == OTHERS
