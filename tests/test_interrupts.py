"""A run on the command line that is stopped, goes on, or cannot score a question."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny_checkpoint
import toy_task
from forks import Started
from real import assert_alike, members, results, samples

LM_EVAL = str(Path(sys.executable).with_name("lm_eval"))
ROWS = 100
SAMPLED = "max_gen_toks: 40, do_sample: true, temperature: 1.0"
SCORING = """process_results: !function utils.process_results
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]"""
UTILS = """
def process_results(doc, results):
    if doc["prompt"] == "w5 w17":
        raise RuntimeError("no such metric today")
    return {"acc": float("w5" in results[0])}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("interrupts")
    tiny_checkpoint.save(folder / "model")
    prompts = [f"w{n // 50 + 5} w{n % 50 + 10}" for n in range(ROWS)]
    toy_task.write(folder, prompts, "w5", generation=SAMPLED, scoring=SCORING)
    (folder / "utils.py").write_text(UTILS)
    return folder


def command(place: Path, out: Path, *own: str, limit: int | None = None) -> list[str]:
    arguments = ",".join([f"pretrained={place / 'model'}", "sigma=0.5", "members=3", *own])
    return [
        *("run", "--model", "btrans-hf", "--tasks", "toy", "--include_path", str(place)),
        *("--model_args", arguments, "--batch_size", "2", "--device", "cpu"),
        *("--output_path", str(out), "--log_samples", *(["--limit", str(limit)] if limit else [])),
    ]


def start(place: Path, out: Path, *own: str, limit: int | None = None) -> Started:
    return Started("lm_eval", command(place, out, *own, limit=limit), place)


def count(path: Path) -> int:
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            return connection.execute("SELECT count(*) FROM responses").fetchone()[0]
    except sqlite3.Error:
        return 0


def stop_midway(process: Started, path: Path, number: int) -> str:
    """Send a signal once a few new responses are there; what the process says at last."""
    before = count(path)
    end = time.monotonic() + 300
    while count(path) < before + 6 and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(number)
    code, (_, said) = process.wait(), process.said()
    assert code == 130, said[-2000:]
    assert "Traceback" not in said
    return said.strip().splitlines()[-1]


def lines(out: Path) -> list[dict]:
    return sorted(members(out), key=lambda line: line["doc_id"])


def test_a_stopped_run_goes_on_and_ends_as_if_nothing_had_happened(place, tmp_path):
    undisturbed = start(place, tmp_path / "one", f"store={tmp_path / 'one.sqlite'}")
    assert undisturbed.wait() == 3, undisturbed.said()  # one question cannot be scored
    path = tmp_path / "two.sqlite"
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        stopped = start(place, tmp_path / "two", f"store={path}")
        last = stop_midway(stopped, path, number)
        assert last == (
            f"btrans-eval: interrupted; what was generated is in {path}, and the same command "
            "goes on from there"
        )
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    stored = count(path)
    assert 6 <= stored < ROWS * 3
    resumed = start(place, tmp_path / "two", f"store={path}")
    assert resumed.wait() == 3
    assert results(tmp_path / "two")["results"] == results(tmp_path / "one")["results"]
    assert_alike(lines(tmp_path / "two"), lines(tmp_path / "one"))
    assert count(path) == count(tmp_path / "one.sqlite") == ROWS * 3


def test_a_question_that_cannot_be_scored_is_told_and_the_exit_code_is_3(place, tmp_path):
    run = start(place, tmp_path / "out", limit=20)
    assert run.wait() == 3
    _, said = run.said()
    assert "Traceback" not in said
    last = said.strip().splitlines()[-1]
    assert last.startswith(
        "btrans-eval: 1 question could not be scored and count as wrong, for example row 7 of toy "
        "(RuntimeError: no such metric today)"
    )
    found = results(tmp_path / "out")
    assert found["config"]["btrans_scores"]["failed_questions"] == {"toy": 1}
    rows = samples(tmp_path / "out")["toy"]
    assert len(rows) == 20 and rows[7]["acc"] == 0.0
    assert found["results"]["toy"]["acc,none"] == pytest.approx(sum(r["acc"] for r in rows) / 20)


def test_without_a_store_it_says_that_nothing_is_kept(place, tmp_path):
    """By the executable itself."""
    run = subprocess.Popen(
        [LM_EVAL, *command(place, tmp_path / "out")], cwd=place,
        env={**os.environ, "HF_HUB_OFFLINE": "1"}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    end = time.monotonic() + 300
    while not list(tmp_path.glob("out/*.part0")) and time.monotonic() < end:
        time.sleep(0.02)
    run.send_signal(signal.SIGTERM)
    last = run.communicate(timeout=600)[1].strip().splitlines()[-1]
    assert run.returncode == 130
    assert last.startswith("btrans-eval: interrupted; nothing that was generated is kept. With ")
