"""``btrans-eval store``: what it lists, exports, removes and repairs, and what it refuses."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path

import pytest
from stored import CONTEXT, add, filled, key_of, logprob_of, place, started, text_of, texts, typed

from btrans_eval.cli import main
from btrans_eval.store.keys import Context
from btrans_eval.store.store import ResponseId, Store, StoredResponse

SQL = "x'); DROP TABLE responses; --"


@pytest.fixture
def path(tmp_path) -> Path:
    return filled(tmp_path / "store.sqlite", 6, 3)


@pytest.fixture
def said(capsys):
    """What a command prints: its output, its error output and its exit code."""

    def run(*arguments) -> tuple[str, str, int]:
        code = 0
        try:
            main(["store", *map(str, arguments)])
        except SystemExit as exit:
            code = exit.code
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return captured.out, captured.err, code

    return run


def with_model(path: Path, model: str, task: str, noise: str = "none") -> Context:
    context = Context(model, noise, {"weights": model})
    store = Store(path)
    store.add_responses(context, [(ResponseId(task, "p", 0), StoredResponse("x", 1, False))], 0.1)
    store.add_likelihoods(context, [(ResponseId(task, "p", 0), (-1.0, True))])
    store.close()
    return context


# ------------------------------------------------------------------------ list
@pytest.mark.parametrize("action", [(), ("list",)])
def test_list_counts_by_model_noise_and_task(path, said, action):
    with_model(path, "org/other", "a task", "sigma=0.1")
    output, errors, code = said(path, *action)
    head, first, second, last = output.splitlines()
    assert (code, errors) == (0, "") and head.split()[:4] == ["model", "noise", "task", "responses"]
    assert first.split()[:5] == ["model", "sigma=0.01", "task", "6", "3"]
    assert second.split()[:6] == ["other", "sigma=0.1", "a", "task", "1", "1"]
    assert last.startswith("7 responses, 4 loglikelihoods, 3 verdicts on pairs of answers; ")
    assert last.endswith("KiB on disk") and time.strftime("%Y-%m-%d") in first


def test_list_of_an_empty_store(tmp_path, said):
    Store(tmp_path / "store.sqlite").close()
    output, errors, code = said(tmp_path / "store.sqlite")
    assert (code, errors, len(output.splitlines())) == (0, "", 2)
    assert output.splitlines()[1].startswith("0 responses, 0 loglikelihoods, 0 verdicts")
    assert said(tmp_path / "store.sqlite", "export") == ("", "", 0)


def test_names_are_data(path, said):
    for model, task in ((SQL, SQL), ("a\nb\x1b[2J\ud800", "t\tt"), ("%s {0}", "🙂"), ("/m/", "")):
        with_model(path, model, task)
    output, errors, code = said(path)
    assert (code, errors, len(output.splitlines())) == (0, "", 7)
    assert "a\\u000ab\\u001b[2J\\ud800" in output and SQL in output and "🙂" in output
    assert said(path, "remove", "--model", SQL)[2] == 0
    assert said(path, "remove", "--model", "%' OR 1=1 --")[2] == 2
    assert said(path)[0].splitlines()[-1].startswith("9 responses, 6 loglikelihoods")


# ---------------------------------------------------------------------- export
def test_export_is_json_lines_with_all_a_response_depends_on(path, said, tmp_path):
    with_model(path, "\ud800\0", "\u2028🙂")
    output, errors, code = said(path, "export")
    rows = [json.loads(line) for line in output.splitlines()]
    assert (code, errors) == (0, "") and output.isascii()
    assert [row["text"] for row in rows] == [*map(text_of, range(6)), "x"]
    assert (rows[-1]["model"], rows[-1]["task"]) == ("\ud800\0", "\u2028🙂")
    for number, row in enumerate(rows[:-1]):
        assert row["key"] == key_of(number).hex() and row["facts"] == CONTEXT.facts
        assert (row["model"], row["noise"], row["task"]) == ("org/model", "sigma=0.01", "task")
        assert (row["prompt_digest"], row["member"]) == (place(number).prompt, number % 4)
        assert (row["sample"], row["tokens"], row["seconds"]) == (0, number, 0.5)
        assert row["mean_logprob"] == logprob_of(number)
        assert row["finish_reason"] == ("length" if number % 3 == 0 else "stop")
        assert abs(row["created"] - time.time()) < 600
    assert said(path, "export", "--output", tmp_path / "rows.jsonl") == ("", "", 0)
    assert (tmp_path / "rows.jsonl").read_text() == output


def test_export_overwrites_nothing(path, said, tmp_path):
    for output in (tmp_path / "rows.jsonl", path):
        output.touch()
        before = output.read_bytes()
        _, errors, code = said(path, "export", "--output", output)
        assert (code, errors.count("\n")) == (2, 1)
        assert "is not overwritten; name a new file" in errors and output.read_bytes() == before
    _, errors, code = said(path, "export", "--output", tmp_path / "no folder" / "rows.jsonl")
    assert (code, errors.count("\n")) == (2, 1) and "cannot be written" in errors


def test_export_into_a_pipe_that_is_closed(path):
    store = Store(path)
    add(store, range(6, 2000))
    store.close()
    code = "from btrans_eval.cli import main; main(['store', sys.argv[1], 'export'])"
    process = started(code, path)
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait() == 0


def test_a_part_of_an_export_is_not_kept(path, said, tmp_path):
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE responses SET text = 'else' WHERE id = 4")
    connection.close()
    for action in (("export",), ("export", "--output", tmp_path / "rows.jsonl")):
        _, errors, code = said(path, *action)
        assert (code, errors.count("\n")) == (2, 1)
        assert "is damaged (row 4 of responses was altered); 5 responses in it are" in errors
    assert not (tmp_path / "rows.jsonl").exists()


# ---------------------------------------------------------------------- remove
@pytest.mark.parametrize("name", ["org/other", "other"])
def test_remove_by_model(path, said, name):
    other = with_model(path, "org/other", "t")
    with_model(path, "another", "t")
    output, errors, code = said(path, "remove", "--model", name)
    assert (output, errors, code) == (
        f"removed 1 responses and 1 loglikelihoods from {path}\n", "", 0,
    )  # fmt: skip
    assert len(said(path)[0].splitlines()) == 4
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM contexts").fetchone() == (2,)
    connection.close()
    again = with_model(path, "org/other", "t")
    assert again.digest == other.digest and len(said(path)[0].splitlines()) == 5
    assert len(texts(path, 6)) == 6


def test_remove_by_age(path, said):
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE responses SET created = created - 86400 * id")
        connection.execute("UPDATE likelihoods SET created = created - 86400 * id")
    connection.close()
    assert said(path, "remove", "--older-than", "99")[0].startswith("removed 0 responses and 0 ")
    assert said(path, "remove", "--older-than", "2.5")[0].startswith("removed 4 responses and 1 ")
    assert set(texts(path, 6)) == {0, 1}
    assert said(path, "remove", "--older-than", "0")[0].startswith("removed 2 responses and 2 ")
    assert said(path)[0].splitlines()[-1].startswith("0 responses, 0 loglikelihoods, 3 verdicts")


def test_remove_makes_the_file_smaller_while_another_run_writes(path, said):
    filled(path, 3000)
    store = Store(path)
    with_model(path, "other", "t")
    before = path.stat().st_size
    assert said(path, "remove", "--model", "model")[0].startswith("removed 3000 responses")
    add(store, range(4))
    assert len(store.holds([key_of(each) for each in range(3000)])) == 4
    store.close()
    assert path.stat().st_size < before / 4 and len(texts(path, 3000)) == 4


@pytest.mark.parametrize(
    "given", [(), ("--model", "a", "--older-than", "1"), ("--older-than", "x")]
)
def test_remove_needs_to_know_what(path, said, given):
    assert said(path, "remove", *given)[2] == 2
    assert len(texts(path, 6)) == 6


@pytest.mark.parametrize("days", ["-1", "nan", "-inf"])
def test_remove_of_a_strange_age(path, said, days):
    _, errors, code = said(path, "remove", f"--older-than={days}")
    assert (code, errors.count("\n")) == (2, 1) and "must be a number of days" in errors
    assert len(texts(path, 6)) == 6


def test_remove_of_a_model_that_is_not_there(path, said):
    _, errors, code = said(path, "remove", "--model", "mode")
    assert (code, errors.count("\n")) == (2, 1)
    assert "holds none named mode; it holds org/model" in errors


# ---------------------------------------------------------------------- repair
def test_repair_copies_a_store_in_use(path, said, tmp_path):
    store = Store(path)
    add(store, range(6, 9))
    output, errors, code = said(path, "repair", tmp_path / "new.sqlite")
    assert (code, errors) == (0, "") and output == (
        f"copied 9 responses, 3 loglikelihoods and 3 verdicts from {path} to "
        f"{tmp_path / 'new.sqlite'}; {path} was left as it is\n"
    )
    store.close()
    assert texts(tmp_path / "new.sqlite", 9) == texts(path, 9)
    first, second = (said(each, "export")[0] for each in (path, tmp_path / "new.sqlite"))
    assert first == second and len(first.splitlines()) == 9


def test_repair_overwrites_nothing(path, said, tmp_path):
    (tmp_path / "new.sqlite").write_text("mine")
    (tmp_path / "link.sqlite").symlink_to("nowhere")
    for new in (path, tmp_path / "new.sqlite", tmp_path / "link.sqlite", tmp_path):
        _, errors, code = said(path, "repair", new)
        assert (code, errors.count("\n")) == (2, 1) and "is not overwritten" in errors
    assert (tmp_path / "new.sqlite").read_text() == "mine" and len(texts(path, 6)) == 6


@pytest.mark.parametrize(
    "action", [(), ("list",), ("export",), ("remove", "--older-than", "1"), ("repair", "new")]
)
def test_a_store_that_is_not_there_is_not_made(tmp_path, said, action):
    _, errors, code = said(tmp_path / "none.sqlite", *action)
    assert (code, errors) == (
        2, f"btrans-eval: store: there is no file {tmp_path / 'none.sqlite'}\n",
    )  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_a_damaged_store_gives_one_line_that_says_what_to_type(path, tmp_path):
    damaged = bytearray(path.read_bytes())
    damaged[3 * 4096 : 3 * 4096 + 8] = b"\xff" * 8
    path.write_bytes(damaged)
    for action in (["list"], ["export"], ["remove", "--older-than", "1"]):
        code, output, errors = typed(path, *action)
        assert (code, output, errors.count("\n")) == (2, "", 1)
        assert f"store: {path} is damaged (database disk image is malformed); " in errors
        assert f"Type: btrans-eval store {path} repair NEW" in errors
    assert path.read_bytes() == damaged
