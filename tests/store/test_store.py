"""What is put in a store comes back, for its key and no other, whoever writes beside it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import time
from pathlib import Path

import pytest
from stored import CONTEXT, add, filled, key_of, place, ran, refusal, started, text_of, texts

from btrans_eval.store import disk
from btrans_eval.store.keys import Context, digest_of_tokens, key
from btrans_eval.store.store import ResponseId, Store, StoredResponse

ODD = {
    "empty": "",
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈🙂",
    "right to left": "שלום \u202eمرحبا",
    "NUL": "a\0b\0\0",
    "only NUL": "\0",
    "lone surrogates": "\ud800 \udfff\udc00",
    "line ends": "\r\n\u2028\u2029\x85\n",
    "no character": "\ufffe\uffff\ufffd",
    "SQL": "'); DROP TABLE responses; --",
    "number": "12e3",
    "1 MB": "🙂x" * 200_000,
}


@pytest.fixture
def store(tmp_path):
    with_rows = Store(tmp_path / "store.sqlite")
    yield with_rows
    with_rows.close()


# ------------------------------------------------------------------------ rows
@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_any_text_comes_back_as_it_was(store, text):
    context = Context(text[:99], text[:99], {text[:99]: text[:99]})
    odd = ResponseId(text[:99], text[:99], 3, 2)
    store.add_responses(context, [(odd, StoredResponse(text, 7, True))], 0.1)
    found = key(context.digest, odd.prompt, 3, 2)
    assert store.holds([found]) == {found}
    assert store.responses([found]) == {found: StoredResponse(text, 7, True)}
    store.close()
    assert Store(store.path).responses([found])[found].text == text


@pytest.mark.parametrize("tokens, truncated", [(0, False), (1, True), (None, False)])
def test_what_a_response_says_of_itself_comes_back(store, tokens, truncated):
    response = StoredResponse("text", tokens, truncated)
    store.add_responses(CONTEXT, [(place(0), response)], 0.1)
    assert store.responses([key_of(0)]) == {key_of(0): response}


@pytest.mark.parametrize("mean", [None, -0.125, -0.1, 0.0, -0.0, -1e-320, -1e300, -2.0])
def test_log_probabilities_come_back_to_the_last_bit(store, mean):
    response = StoredResponse("text", 3, False, mean)
    store.add_responses(CONTEXT, [(place(0), response)], 0.1)
    assert store.responses([key_of(0)]) == {key_of(0): response}


@pytest.mark.parametrize("value", [-1.5, 0, 0.0, -0.0, -3, -1e-320, -1e300, float("-inf"), 0.1])
@pytest.mark.parametrize("is_greedy", [True, False])
def test_loglikelihoods_come_back_to_the_last_bit(store, value, is_greedy):
    store.add_likelihoods(CONTEXT, [(place(0), (value, is_greedy))])
    assert store.likelihoods([key_of(0)]) == {key_of(0): (value, is_greedy)}
    assert store.responses([key_of(0)]) == {}


FACTS = {
    "weights": "a1", "tokenizer": "b2", "adapter": None, "dtype": "float32", "noise": "c3",
    "seed": 0, "asked": {"until": ["\n"], "max_gen_toks": 8, "do_sample": True, "top_p": 0.9},
}  # fmt: skip
CHANGED = [
    *[{**FACTS, name: "else"} for name in FACTS],
    *[{**FACTS, "asked": {**FACTS["asked"], name: 1}} for name in FACTS["asked"]],
    {**FACTS, "asked": {**FACTS["asked"], "until": []}},
    {**FACTS, "asked": {**FACTS["asked"], "until": ["\n", "\n"]}},
    {**FACTS, "asked": {**FACTS["asked"], "top_p": 0.9 + 1e-16}},
    {**FACTS, "one more": None},
    {name: value for name, value in FACTS.items() if name != "adapter"},
]


def test_a_change_of_any_part_of_the_key_misses(store):
    kept = Context("model", "noise", FACTS)
    prompt = digest_of_tokens([1, 2], [3])
    store.add_responses(kept, [(ResponseId("t", prompt, 1, 2), StoredResponse("x", 1, False))], 0)
    same = Context("another name", "said otherwise", dict(reversed(FACTS.items())))
    assert store.holds([key(same.digest, prompt, 1, 2)])
    others = [key(Context("model", "noise", facts).digest, prompt, 1, 2) for facts in CHANGED]
    prompts = [([1, 2, 3],), ([1], [2, 3]), ([12], [3]), ([1, 2], [3], []), ([3], [1, 2])]
    others += [key(kept.digest, digest_of_tokens(*each), 1, 2) for each in prompts]
    others += [key(kept.digest, prompt, *each) for each in [(0, 2), (1, 1), (2, 1), (12, 0)]]
    assert len(set(others)) == len(others)
    assert store.holds(others) == set() and store.responses(others) == {}
    assert store.likelihoods([key(kept.digest, prompt, 1, 2)]) == {}


def test_the_first_writer_wins(store):
    add(store, range(4))
    add(store, range(8), text="later")
    found = store.responses([key_of(each) for each in range(8)])
    assert [found[key_of(each)].text for each in range(8)] == [
        *map(text_of, range(4)),
        *["later"] * 4,
    ]
    store.add_likelihoods(CONTEXT, [(place(0), (-1.0, True))])
    store.add_likelihoods(CONTEXT, [(place(0), (-2.0, False))])
    assert store.likelihoods([key_of(0)]) == {key_of(0): (-1.0, True)}


def test_more_keys_than_one_statement_takes(store):
    add(store, range(1200))
    asked = [key_of(each) for each in range(2000)]
    assert store.holds(asked) == set(asked[:1200])
    assert len(store.responses(asked + asked)) == 1200
    assert store.holds([]) == set() and store.responses([]) == {}


def test_verdicts_outlive_the_run_and_belong_to_who_judged(store):
    verdicts = store.verdicts("judge 1")
    verdicts["latex", "\ud800", "1/2"] = True
    verdicts["latex", "a", "b"] = False
    verdicts["latex", "slow", "pair"] = None
    assert verdicts["latex", "slow", "pair"] is None
    again = Store(store.path).verdicts("judge 1")
    assert again["latex", "\ud800", "1/2"] is True and again["latex", "a", "b"] is False
    assert ("latex", "slow", "pair") not in again and ("latex", "b", "a") not in again
    with pytest.raises(KeyError):
        again["latex", "slow", "pair"]
    assert ("latex", "a", "b") not in store.verdicts("judge 2")


# ---------------------------------------------------------------- transactions
def test_a_batch_is_one_transaction_even_where_we_fail(store):
    good = StoredResponse("x", 1, False)
    for bad in (StoredResponse(b"bytes", 1, False), StoredResponse("x", object(), False)):
        with pytest.raises((AttributeError, sqlite3.Error)):
            store.add_responses(CONTEXT, [(place(0), good), (place(1), bad)], 0)
    with pytest.raises(sqlite3.IntegrityError):  # a missing value is not passed over
        store.add_responses(CONTEXT, [(place(0), good)], None)
    assert store.holds([key_of(0), key_of(1)]) == set()
    add(store, range(4))  # and nothing was left open
    assert set(texts(store.path, 4)) == set(range(4))


WRITER = """
first, batches, size = map(int, sys.argv[2:])
store = Store(sys.argv[1])
for batch in range(first, first + batches):
    add(store, range(batch * size, (batch + 1) * size))
    assert len(store.responses([key_of(each) for each in range(size)])) in (0, size)
    print(batch, flush=True)
"""


def test_processes_make_write_and_read_one_file_at_once(tmp_path):
    path = tmp_path / "new folder" / "store.sqlite"
    # two halves of the rows, and a third process that writes all of them too
    parts = [(0, 40, 8), (40, 40, 8), (0, 80, 8)]
    processes = [started(WRITER, path, *part) for part in parts]
    for process in processes:
        assert (process.communicate()[1], process.returncode) == ("", 0)
    assert texts(path, 700) == {each: text_of(each) for each in range(640)}
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM responses").fetchone() == (640,)
        assert connection.execute("SELECT count(*) FROM contexts").fetchone() == (1,)
    assert sorted(each.name for each in path.parent.iterdir())[0] == "store.sqlite"


def test_one_file_is_made_however_many_make_it(tmp_path):
    path = tmp_path / "store.sqlite"
    code = f"import time; time.sleep(max(0, {time.time() + 1} - time.time()))\n"
    code += "store = Store(sys.argv[1]); add(store, range(int(sys.argv[2]), int(sys.argv[2]) + 2))"
    processes = [started(code, path, 2 * number) for number in range(6)]
    for process in processes:
        assert (process.communicate()[1], process.returncode) == ("", 0)
    assert set(texts(path, 12)) == set(range(12))
    assert os.listdir(tmp_path) == ["store.sqlite"]


def test_every_committed_batch_survives_sigkill(tmp_path):
    path, size, done, moments = tmp_path / "store.sqlite", 32, 0, random.Random(0)
    for _ in range(10):
        process = started(WRITER, path, done, 1000, size)
        process.stdout.readline()
        time.sleep(moments.random() / 20)
        process.send_signal(signal.SIGKILL)
        told = [done, *(int(line) for line in process.communicate()[0].splitlines() if line)]
        found = texts(path, (max(told) + 3) * size)
        assert len(found) % size == 0 and len(found) >= (max(told) + 1) * size
        assert found == {each: text_of(each) for each in range(len(found))}
        done = len(found) // size
    assert done > 20


def killed(path: Path, batches: int = 12) -> None:
    """A store whose last rows are in its write-ahead log alone."""
    code = WRITER + "import os; os.kill(os.getpid(), 9)"
    assert ran(code, path, 0, batches, 8)[0] == -signal.SIGKILL
    assert disk.write_ahead_log(path).stat().st_size > 0


@pytest.mark.parametrize("has_index", [True, False])
def test_who_reads_only_sees_the_log_of_a_killed_run(tmp_path, has_index):
    path = tmp_path / "store.sqlite"
    killed(path)
    if not has_index:
        (tmp_path / "store.sqlite-shm").unlink()
    before = path.read_bytes()
    with_log = disk.reader(path)
    assert with_log.execute("SELECT count(*) FROM responses").fetchone() == (96,)
    with_log.close()
    assert path.read_bytes() == before
    assert len(texts(path, 100)) == 96


def test_a_damaged_log_never_gives_a_wrong_text(tmp_path):
    killed(tmp_path / "whole.sqlite")
    source, wal = tmp_path / "whole.sqlite", (tmp_path / "whole.sqlite-wal").read_bytes()
    dice = random.Random(1)
    for seed in range(40):
        path = tmp_path / f"{seed}.sqlite"
        shutil.copy(source, path)
        damaged = bytearray(wal)
        if seed % 2:
            damaged[dice.randrange(len(wal))] ^= 1 << dice.randrange(8)
        else:
            del damaged[dice.randrange(len(wal)) :]
        (tmp_path / f"{seed}.sqlite-wal").write_bytes(damaged)
        try:
            found = texts(path, 96)
        except ValueError as error:
            assert f"{path} is damaged" in str(error)
        else:
            assert len(found) % 8 == 0
            assert found == {each: text_of(each) for each in range(len(found))}
            again = Store(path)
            add(again, range(96))
            again.close()
            assert len(texts(path, 96)) == 96


def test_a_deleted_log_costs_its_rows_and_no_more(tmp_path):
    path = filled(tmp_path / "store.sqlite", 40)
    assert ran(WRITER + "import os; os.kill(os.getpid(), 9)", path, 5, 5, 8)[0] < 0
    (tmp_path / "store.sqlite-wal").unlink()
    assert texts(path, 80) == {each: text_of(each) for each in range(40)}


# ------------------------------------------- the file is taken away, or shared
def test_a_second_store_in_a_process_takes_no_lock_from_the_first(tmp_path):
    path = tmp_path / "store.sqlite"
    first = Store(path)
    add(first, range(4))
    second = Store(path)
    assert ran("Store(sys.argv[1]).close()", path) == (0, "", "")
    add(first, range(4, 8))
    code = "store = Store(sys.argv[1]); print(len(store.holds([key_of(n) for n in range(8)])))"
    assert ran(code, path) == (0, "8\n", "")
    second.close()
    assert ran(code, path) == (0, "8\n", "")
    first.close()


@pytest.mark.parametrize("how", ["removed", "replaced", "log removed"])
def test_a_file_taken_away_while_it_is_written_is_told(tmp_path, how):
    path = tmp_path / "store.sqlite"
    store = Store(path)
    add(store, range(4))
    if how == "removed":
        path.unlink()
    elif how == "replaced":
        filled(tmp_path / "other.sqlite", 4).rename(path)
    else:
        (tmp_path / "store.sqlite-wal").unlink()
    line = refusal(add, store, range(4, 8))
    assert "was removed or replaced" in line and "same command again" in line
    store.close()
    if how == "log removed":  # what it held was brought to safety
        assert set(texts(path, 8)) == set(range(8))


def test_the_log_of_a_lost_file_is_no_log_of_a_new_one(tmp_path):
    path = tmp_path / "store.sqlite"
    killed(path)
    path.rename(tmp_path / "elsewhere.sqlite")
    line = refusal(Store, path)
    assert f"{path} is gone" in line and "put" in line and not path.exists()
    (tmp_path / "elsewhere.sqlite").rename(path)
    assert len(texts(path, 96)) == 96


def test_a_copy_put_in_the_place_of_the_file_stays_as_it_is(tmp_path):
    older = filled(tmp_path / "backup.sqlite", 8)
    path = tmp_path / "store.sqlite"
    killed(path, batches=60)
    shutil.copy(older, path)  # and the log of the other file is still there
    before = path.read_bytes()
    try:
        found = texts(path, 480)
    except ValueError as error:
        assert f"{path} is damaged" in str(error) and path.read_bytes() == before
    else:
        assert found == {each: text_of(each) for each in found}
