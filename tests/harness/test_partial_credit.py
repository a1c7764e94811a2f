"""A population task's scores that are not 0 or 1 have no pass@k, of any question."""

from __future__ import annotations

import json
from pathlib import Path

import lm_eval
import pytest
from canned import Canned
from lm_eval.tasks import TaskManager

from btrans_eval.harness import record
from btrans_eval.harness.scoring import PopulationFilter
from btrans_eval.scores.estimators import best_at_k


def scored(score, *rows):
    scoring = PopulationFilter(4, kind="number", score=score)
    with record.begun():
        found = scoring.apply(list(rows), [{"answer": "1"} for _ in rows])
    return [row.columns for row in found]


def half_of_ones(doc, text):
    return 0.5 if text == "1" else 0.0


def test_half_a_point_is_no_pass():
    every, single, none = scored(half_of_ones, ["1"] * 4, ["1", "2", "3", "4"], ["2"] * 4)
    assert [row["best@4"] for row in (every, single, none)] == [0.5, 0.5, 0.0]
    assert single["best@2"] == best_at_k([0.5, 0, 0, 0], 2) == 0.25
    assert not [name for row in (every, single, none) for name in row if "pass@" in name]
    assert every["maj@4"] == 0.5


def test_whole_points_are_passes():
    rows = scored(lambda doc, text: float(text == "1"), ["1", "2", "3", "4"], ["2"] * 4)
    assert [row["pass@4"] for row in rows] == [1.0, 0.0]
    assert not [name for row in rows for name in row if "best@" in name]


def test_the_harness_prints_best_of_k(tmp_path):
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"q": f"Q{n}", "answer": "1"}) + "\n" for n in range(2))
    )
    shared = Path(__file__).parents[2] / "tasks" / "answers_8_yaml"
    (tmp_path / "answers_8_yaml").write_text(shared.read_text())
    (tmp_path / "utils.py").write_text(
        "def score(doc, text):\n    return 0.5 if text == '1' else 0.0\n"
    )
    (tmp_path / "toy_half.yaml").write_text(f"""
include: answers_8_yaml
task: toy_half
dataset_path: json
dataset_kwargs: {{data_files: {{test: {tmp_path}/rows.jsonl}}}}
test_split: test
doc_to_text: "{{{{q}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["\\n"], do_sample: false}}
filter_list:
  - name: population
    filter:
      - {{function: btrans_population, k: 8, kind: number, score: !function utils.score}}
""")
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    said = {"Q0": ["1"] * 8, "Q1": ["1", *"2345678"]}
    results = lm_eval.simple_evaluate(
        Canned(lambda prompt: said[prompt]), tasks=["toy_half"], task_manager=manager,
        bootstrap_iters=0,
    )  # fmt: skip
    found = {k.split(",")[0]: v for k, v in results["results"]["toy_half"].items()}
    assert found["mean"] == pytest.approx((0.5 + 0.5 / 8) / 2)
    assert found["best@8"] == 0.5 and found["best@2"] == pytest.approx((0.5 + 0.5 / 4) / 2)
    assert found["maj@8"] == pytest.approx((0.5 + 0.5 / 8) / 2)
    assert not [name for name in found if name.startswith("pass@")]
    up = results["higher_is_better"]["toy_half"]
    assert up["best@8"] is True and up["maj@8"] is True and up["tie_rate"] is False
