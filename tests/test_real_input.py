"""Stock tasks on real rows, through the harness's own command, with a real model."""

from __future__ import annotations

from pathlib import Path

import pytest
from real import HUB, lm_eval, members, needs_demo_model, needs_hub, results, run, samples

from btrans_eval.answers.vote import plurality
from btrans_eval.demo import demo_arguments

pytestmark = [needs_hub, needs_demo_model]

GENERATIVE = ("mmlu_pro_math", "gsm8k_cot_zeroshot", "aime24", "hendrycks_math500")
TASKS = (*GENERATIVE, "mmlu_pro_choice")
KINDS = dict(zip(GENERATIVE, ("letter", "number", "integer", "latex"), strict=True))
DATA = Path(__file__).with_name("data")


def evaluate(out: Path, model: str, *own: str) -> Path:
    demo = ",".join(f"{name}={value}" for name, value in demo_arguments().items())
    lm_eval(
        *("run", "--model", model, "--model_args", ",".join([demo, *own])),
        *("--tasks", ",".join(TASKS), "--include_path", str(DATA), "--limit", "2"),
        *("--gen_kwargs", "max_gen_toks=24", "--num_fewshot", "0", "--batch_size", "8"),
        *("--output_path", str(out), "--log_samples"),
    )
    return out


@pytest.fixture(scope="module")
def stock(tmp_path_factory) -> Path:
    return evaluate(tmp_path_factory.mktemp("stock"), "hf")


@pytest.fixture(scope="module")
def population(tmp_path_factory) -> Path:
    return evaluate(tmp_path_factory.mktemp("population"), "btrans-hf", "members=4", "sigma=0.02")


def what_was_said(folder: Path) -> dict:
    return {
        task: [
            (row["doc_hash"], row["filter"], row["resps"], row["filtered_resps"]) for row in rows
        ]
        for task, rows in samples(folder).items()
    }


def test_without_noise_all_samples_and_metrics_are_the_stock_models(stock, tmp_path):
    quiet = evaluate(tmp_path, "btrans-hf", "members=4", "sigma=0")
    assert set(samples(stock)) == set(TASKS)
    assert what_was_said(quiet) == what_was_said(stock)
    assert results(quiet)["results"] == results(stock)["results"]


def test_every_task_gets_the_winner_of_four_different_members(population):
    said = {line["task"]: [] for line in members(population)}
    assert set(said) == set(TASKS)
    for line in members(population):
        said[line["task"]].append(line)
    for task in GENERATIVE:
        rows = {row["doc_id"]: row for row in samples(population)[task]}
        assert len(said[task]) == len(rows) == 2
        for line in said[task]:
            assert line["kind"] == KINDS[task]
            texts = [response["text"] for response in line["responses"]]
            chosen = plurality([response["answer"] for response in line["responses"]]).chosen
            assert rows[line["doc_id"]]["resps"] == [[texts[chosen]]]
            assert rows[line["doc_id"]]["doc_hash"] == line["doc_hash"]
    different = [
        {r["text"] for r in line["responses"]} for task in GENERATIVE for line in said[task]
    ]
    assert sum(len(texts) > 1 for texts in different) >= 6


def test_multiple_choice_is_scored_by_the_members_together(population, stock):
    ours, theirs = (samples(folder)["mmlu_pro_choice"] for folder in (population, stock))
    for row, other in zip(ours, theirs, strict=True):
        lines = [
            line
            for line in members(population)
            if line["task"] == "mmlu_pro_choice" and line["doc_id"] == row["doc_id"]
        ]
        assert len(lines) == len(row["resps"]) == len(other["resps"])
        assert all(len(line["members"]) == 4 for line in lines)
        assert row["resps"] != other["resps"]


def test_what_was_used_stands_in_the_results_file(population):
    used = results(population)["config"]["btrans"]
    assert (used["sigma"], used["norms_matched"]) == (0.02, 61)
    assert used["tasks"]["aime24"] == {
        "answers": ["integer"],
        "members": 4,
        "samples": 1,
        "returned": "vote",
        "batching": "refill",
    }


def test_a_limit_longer_than_the_context_is_one_line_and_exit_code_2(tmp_path):
    done = run(("lm_eval", "run", "--model", "btrans-hf", "--tasks", "aime24", "--limit", "1"), HUB)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("btrans-eval: max_gen_toks: must be at least 1 and less than")
