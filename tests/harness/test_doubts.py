"""A multiple-choice run says how sure its members were, from the scores that it has."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import tiny_checkpoint
import toy_task
from lm_eval.__main__ import cli_evaluate
from real import members, results

from btrans_eval.scores.doubt import doubt, summary

ROWS = [{"q": f"w{20 + n} w5", "choices": ["w7", "w8 w9", "w30"], "gold": n % 3} for n in range(9)]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("choices")
    tiny_checkpoint.save(folder / "model")
    odd = [{**ROWS[0], "gold": 7}]  # there is no such choice
    toy_task.choices(folder, ROWS + odd, metrics=("acc", "acc_mutual_info"))
    return folder


def run(place: Path, out: Path, monkeypatch, *own: str) -> dict:
    arguments = ",".join([f"pretrained={place / 'model'}", *own])
    monkeypatch.setattr(sys, "argv", [
        "lm_eval", "run", "--model", "btrans-hf", "--tasks", "choices", "--include_path",
        str(place), "--model_args", arguments, "--device", "cpu", "--output_path", str(out),
        "--log_samples",
    ])  # fmt: skip
    cli_evaluate()
    return results(out)


def test_figures_are_those_of_the_members_file(place, tmp_path, monkeypatch):
    found = run(place, tmp_path, monkeypatch, "sigma=0.8", "members=4")
    told = found["config"]["btrans_scores"]["likelihoods"]["choices"]
    assert (told["questions"], told["left_out"], told["members"]) == (9, 1, 4)
    tables: dict[int, list] = {}
    for line in members(tmp_path):
        if line["idx"] < 3:
            tables.setdefault(line["doc_id"], []).append(
                (line["idx"], [value for value, _ in line["members"]])
            )
    questions = []
    for doc, rows in sorted(tables.items()):
        by_member = zip(*[values for _, values in sorted(rows)], strict=True)
        if doc < 9:
            questions.append(doubt(list(by_member), ROWS[doc]["gold"]))
    for name, value in summary(questions).items():
        assert told[name] == pytest.approx(value), name
    assert told["epistemic"] > 0.001 and math.isfinite(told["nll"])
    # the harness's accuracy is of the mean likelihood, over all ten rows
    harness = found["results"]["choices"]["acc,none"]
    assert told["accuracy_of_mean_likelihood"] * 9 == pytest.approx(harness * 10)


def test_one_member_and_the_model_itself_have_no_doubt_of_two_kinds(place, tmp_path, monkeypatch):
    for number, own in enumerate((["sigma=0"], ["sigma=0.8", "members=1"])):
        found = run(place, tmp_path / str(number), monkeypatch, *own)
        assert "likelihoods" not in found["config"].get("btrans_scores", {})
