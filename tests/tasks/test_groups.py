"""Groups over real rows: every question counts once."""

from __future__ import annotations

import lm_eval
import pytest
from canned import Canned
from lm_eval.tasks import TaskManager
from real import HUB, needs_hub


@needs_hub
def test_the_14_subjects_are_averaged_over_questions(monkeypatch):
    monkeypatch.chdir(HUB)
    texts = ["the answer is (A)"] * 9 + ["the answer is (B)"] * 4 + ["hm"] * 3
    results = lm_eval.simple_evaluate(
        Canned(lambda prompt: texts),
        tasks=["btrans_mmlu_pro"],
        task_manager=TaskManager(),
        limit=3,
        bootstrap_iters=10,
    )
    subjects = {name: r for name, r in results["results"].items() if name != "btrans_mmlu_pro"}
    assert len(subjects) == 14
    golds = [row["doc"]["answer"] for rows in results["samples"].values() for row in rows]
    expected = sum((9 / 16) * (g == "A") + (4 / 16) * (g == "B") for g in golds) / len(golds)
    whole = results["groups"]["btrans_mmlu_pro"]
    assert whole["mean,population"] == pytest.approx(expected)
    assert whole["pass@1,population"] == pytest.approx(expected)
    assert whole["maj@16,population"] == pytest.approx(golds.count("A") / len(golds))
    assert whole["invalid_rate,population"] == pytest.approx(3 / 16)
    assert isinstance(whole["mean_stderr,population"], float)
