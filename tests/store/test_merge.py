"""``btrans-eval store merge``: rows of several machines in one store."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from stored import CONTEXT, add, filled, key_of, place, refusal, text_of, texts, typed

from btrans_eval.store.merge import merge
from btrans_eval.store.store import Store


def part(path: Path, numbers: range, text: str | None = None) -> Path:
    store = Store(path)
    add(store, numbers, text)
    store.add_likelihoods(CONTEXT, [(place(n), (-n / 8, True)) for n in numbers])
    store.verdicts("judge 1")["number", str(numbers.start), "1"] = True
    store.close()
    return path


def test_the_rows_of_all_parts_are_in_the_target_and_the_parts_stay(tmp_path, capsys):
    parts = [part(tmp_path / f"{n}.db", range(n, 20, 1)[: 20 - n : 3]) for n in range(3)]
    before = [each.read_bytes() for each in parts]
    target = tmp_path / "new" / "all.db"
    merge(str(target), [str(each) for each in parts])
    assert texts(target, 20) == {n: text_of(n) for n in range(20)}
    assert [each.read_bytes() for each in parts] == before
    store = Store(target)
    found = store.likelihoods([key_of(n) for n in range(20)])
    assert found == {key_of(n): (-n / 8, True) for n in range(20)}
    assert [store.verdicts("judge 1")["number", str(n), "1"] for n in range(3)] == [True] * 3
    store.close()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("7 responses, 7 loglikelihoods and 1 verdicts are new, 0 were there")
    with sqlite3.connect(target) as connection:
        assert connection.execute("SELECT count(*) FROM contexts").fetchone() == (1,)


def test_again_nothing_is_new(tmp_path, capsys):
    source, target = filled(tmp_path / "a.db", 5, 2), tmp_path / "all.db"
    merge(str(target), [str(source)])
    whole = texts(target, 5)
    capsys.readouterr()
    merge(str(target), [str(source)])
    assert texts(target, 5) == whole
    assert "0 responses, 0 loglikelihoods and 0 verdicts are new, 9 were there" in (
        capsys.readouterr().out
    )


def test_of_two_texts_the_targets_stays_and_is_counted(tmp_path, capsys):
    target = part(tmp_path / "a.db", range(0, 4))
    merge(str(target), [str(part(tmp_path / "b.db", range(2, 6), "another"))])
    found = texts(target, 6)
    assert [found[n] for n in range(4)] == [text_of(n) for n in range(4)]
    assert [found[n] for n in range(4, 6)] == ["another"] * 2
    assert "4 were there, 2 of them otherwise, which stay as they were" in capsys.readouterr().out


def test_a_part_that_cannot_be_read_is_named_and_not_the_target(tmp_path, monkeypatch):
    """Damage that only shows when a row is read."""
    from btrans_eval.store import merge as module

    def unreadable(table, condition):
        return (
            "SELECT json_extract('{', '$')"
            if "ORDER BY id" in condition
            else real(table, condition)
        )

    real, bad, target = module.select, filled(tmp_path / "bad.db", 3), tmp_path / "all.db"
    filled(target, 2)
    monkeypatch.setattr(module, "select", unreadable)
    monkeypatch.setattr(module.files, "_DAMAGE", ("malformed JSON",))
    line = refusal(merge, str(target), [str(bad)])
    assert line.startswith(f"store: {bad} is damaged")


def test_a_damaged_part_is_named_and_nothing_of_it_is_copied(tmp_path):
    good, bad = filled(tmp_path / "good.db", 3), filled(tmp_path / "bad.db", 3)
    with sqlite3.connect(bad) as connection:
        connection.execute("UPDATE responses SET text = 'altered' WHERE id = 3")
    target = tmp_path / "all.db"
    line = refusal(merge, str(target), [str(good), str(bad)])
    assert str(bad) in line and "damaged" in line
    assert texts(target, 3) == {n: text_of(n) for n in range(3)}
    store = Store(target)
    (count,) = store._connection.execute("SELECT count(*) FROM responses").fetchone()
    assert count == 3
    store.close()


@pytest.mark.parametrize(
    "names, line",
    [
        (["all.db"], "merge: name a store to copy from"),
        (["all.db", "none.db"], "store: there is no file"),
        (["a.db", "a.db"], "merge: .*a.db is the store that is copied into"),
        (["all.db", "text.txt"], "is no store of responses"),
    ],
)
def test_mistakes_are_one_line(tmp_path, names, line):
    filled(tmp_path / "a.db", 2)
    (tmp_path / "text.txt").write_text("not a store, but long enough to be looked at " * 9)
    code, _, errors = typed("merge", *[tmp_path / name for name in names])
    assert code == 2 and len(errors.splitlines()) == 1
    import re

    assert re.search(line, errors)
    assert not (tmp_path / "none.db").exists()


def test_on_the_command_line(tmp_path):
    source = filled(tmp_path / "a.db", 4)
    code, output, _ = typed("merge", tmp_path / "all.db", source)
    assert code == 0 and output.startswith(f"{source}: 4 responses")
    assert texts(tmp_path / "all.db", 4) == {n: text_of(n) for n in range(4)}
