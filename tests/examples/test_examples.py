"""The examples run with the demo model, and the notebook shows what its cells do."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import record_notebook
import run_notebook
from real import needs_demo_model

from btrans_eval import load_run
from btrans_eval.scores.estimators import maj_at_k, pass_at_k

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
pytestmark = needs_demo_model


def run(name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "110"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        cwd=cwd, env=environment, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return done


def test_members_stand_side_by_side_and_differ(tmp_path):
    shown = run("members_side_by_side.py", cwd=tmp_path).stdout
    heads = [line for line in shown.splitlines() if line.startswith("member 0")]
    assert [re.findall(r"member \d", line) for line in heads] == [
        [f"member {n}" for n in range(4)]
    ] * 2
    assert shown.count("vote: ") == 2 and "4 of 4" not in shown


def test_a_comparison_from_python_and_the_curves_of_its_run(tmp_path):
    shown = run("compare_from_python.py", "out", "2", cwd=tmp_path).stdout
    assert re.search(r"btrans_demo: At K = 8 the vote of population is .*; 2 questions", shown)
    numbers = json.loads((tmp_path / "out" / "comparison.json").read_text())
    kinds = {arm["name"]: arm["kind"] for arm in numbers["arms"]}
    assert kinds == {"population": "population", "stock": "stock"}
    assert any(pair["primary"] for pair in numbers["tasks"][0]["pairs"])
    curves = run("pass_and_vote_of_a_run.py", "out/population", cwd=tmp_path).stdout
    lines = curves.splitlines()
    assert lines[0] == "btrans_demo: 2 questions, 8 responses each"
    questions = load_run(tmp_path / "out" / "population").tasks["btrans_demo"].questions.values()
    for k in (1, 4, 8):
        passes = votes = 0.0
        for question in questions:
            scores = [response.score for response in question.responses]
            passes += pass_at_k(8, int(sum(scores)), k) / 2
            votes += maj_at_k([one.label for one in question.responses], scores, k) / 2
            assert question.columns.get(f"maj@{k}") == pytest.approx(
                maj_at_k([one.label for one in question.responses], scores, k)
            )
        assert lines[k + 1].split() == [str(k), f"{passes:.3f}", f"{votes:.3f}"]


@pytest.mark.parametrize("arguments, said", [([], "python examples/"), (["out"], "holds 2 runs;")])
def test_no_run_or_two_are_told_without_a_traceback(tmp_path, arguments, said):
    for name in ("results_1.json", "results_2.json"):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / name).write_text("{}")
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "pass_and_vote_of_a_run.py"), *arguments],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 1 and done.stdout == ""
    assert said in done.stderr and "Traceback" not in done.stderr


def test_the_notebook_runs_and_shows_what_is_kept(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    kept = json.loads(record_notebook.FILE.read_text(encoding="utf-8"))
    made = record_notebook.made()
    sources = [[cell["source"] for cell in one["cells"]] for one in (kept, made)]
    assert sources[0] == sources[1], "run tests/examples/record_notebook.py"
    outputs = run_notebook.run(kept["cells"])
    shown = [cell["outputs"] for cell in kept["cells"] if cell["cell_type"] == "code"]
    # a model's texts may part at near ties on another machine; what needs none may not
    assert outputs[-1] == shown[-1]
    assert [[one["output_type"] for one in each] for each in outputs] == [
        [one["output_type"] for one in each] for each in shown
    ]
    table = "".join(outputs[0][0]["data"]["text/html"])
    assert table.count("<th ") == 8 and "vote: " in table
