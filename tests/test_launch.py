"""Two processes share one run and give what one gives."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import tiny_checkpoint
import toy_task
from real import assert_alike, lm_eval, members, results, run, samples

LM_EVAL = str(Path(sys.executable).with_name("lm_eval"))
# `accelerate launch --num_processes 2` alone starts one process on a machine without a GPU
TWO = ("accelerate", "launch", "--multi_gpu", "--num_processes=2")
TORCHRUN = ("torchrun", "--nproc_per_node=2")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("launch")
    tiny_checkpoint.save(folder / "model")
    toy_task.write(folder, [" ".join(["w5"] * (n + 1)) for n in range(5)], "w5")
    return folder


def evaluate(place: Path, out: Path, limit: int, launch: tuple[str, ...]) -> Path:
    command = (
        *("run", "--model", "btrans-hf", "--tasks", "toy", "--include_path", str(place)),
        *("--model_args", f"pretrained={place / 'model'},sigma=0.5,members=3"),
        *("--limit", str(limit), "--batch_size", "2", "--device", "cpu"),
        *("--output_path", str(out), "--log_samples"),
    )
    if launch:
        done = run((*launch, LM_EVAL, *command), place)
        assert done.returncode == 0, done.stderr[-4000:]
    else:
        lm_eval(*command, cwd=place)
    return out


@pytest.mark.parametrize("limit, launch", [(5, TWO), (3, TORCHRUN), (1, TWO)])
def test_two_processes_give_what_one_gives(place, tmp_path, limit, launch):
    one = evaluate(place, tmp_path / "one", limit, ())
    two = evaluate(place, tmp_path / "two", limit, launch)
    assert results(one)["config"]["btrans"]["processes"] == 1
    assert results(two)["config"]["btrans"]["processes"] == 2  # and there is one results file
    assert results(two)["results"] == results(one)["results"]
    by_document = [
        {row["doc_id"]: row["resps"] for row in samples(folder)["toy"]} for folder in (one, two)
    ]
    assert by_document[0] == by_document[1] and len(by_document[0]) == limit
    lines = [sorted(members(folder), key=lambda line: line["doc_id"]) for folder in (one, two)]
    assert_alike([{**line, "rank": 0} for line in lines[1]], lines[0])
    shares = [
        {
            (line["doc_id"], r["member"])
            for line in lines[1]
            if line["rank"] == rank
            for r in line["responses"]
        }
        for rank in (0, 1)
    ]
    assert not shares[0] & shares[1]
    assert shares[0] | shares[1] == {(doc, member) for doc in range(limit) for member in range(3)}
    assert bool(shares[1]) == (limit > 1)
    assert not list(tmp_path.rglob("*.rank*"))
