"""The best members beside random ones: in comparison.json, and in the report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import finished_runs
import numpy as np
import pytest

from btrans_eval.compare import selection
from btrans_eval.report import report, study
from btrans_eval.scores import selection as scores
from btrans_eval.scores.folds import folds

ARM = "population_greedy"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    finished_runs.study(folder, questions=30)
    return folder


def selected(place: Path) -> dict:
    tasks = json.loads((place / "comparison.json").read_text())["tasks"]
    assert all("selection" not in arm for arm in tasks[1]["arms"].values())  # stories do not vote
    return tasks[0]["arms"]


def test_populations_alone_have_members_to_select(place):
    arms = selected(place)
    assert {name for name, arm in arms.items() if "selection" in arm} == {
        ARM, "population_sampled",
    }  # fmt: skip


def test_numbers_are_those_of_the_responses(place):
    arm = selected(place)[ARM]
    task = study.read(place).tasks[0].joined
    classes = [[one.label for one in each.responses] for each in task.arms[ARM]]
    given = [[one.score for one in each.responses] for each in task.arms[ARM]]
    fold = folds(list(task.documents))
    once = np.ones((1, 30), dtype=int)
    assert (arm["selection"]["folds"], [one["m"] for one in arm["selection"]["of"]]) == (5, [1, 2])
    for one in arm["selection"]["of"]:
        best = scores.selected(scores.answers(classes, given), fold, one["m"], once)[0]
        assert one["best"]["estimate"] == pytest.approx(best)
        # the columns beside it are known already
        assert one["random"]["estimate"] == pytest.approx(
            arm["metrics"][f"maj@{one['m']}"]["estimate"]
        )
        assert one["all"]["estimate"] == pytest.approx(arm["metrics"]["maj@4"]["estimate"])
        for rival in ("random", "all"):
            gap = one[f"best_minus_{rival}"]
            assert gap["estimate"] == pytest.approx(best - one[rival]["estimate"])
            assert gap["low"] < gap["estimate"] < gap["high"]


def test_the_same_draws_are_taken_for_both(place):
    """Where all members say the same, any of them differ from all in no draw."""
    task = study.read(place).tasks[0].joined
    alike = [
        replace(each, responses=tuple(
            replace(one, label=0, score=float(number % 2)) for one in each.responses
        ))
        for number, each in enumerate(task.arms[ARM])
    ]  # fmt: skip
    for one in selection.of_arm(task.documents, alike)["of"]:
        assert one["best"]["low"] < one["best"]["high"]
        for rival in ("random", "all"):
            gap = one[f"best_minus_{rival}"]
            assert gap["estimate"] == pytest.approx(0)
            assert (gap["low"], gap["high"]) == (None, None)


def test_one_question_and_samples_of_members_have_none(place):
    task = study.read(place).tasks[0].joined
    questions = task.arms[ARM]
    told = selection.of_arm(["x", "x#2"], questions[:2])
    why = "needs two different questions or more"
    assert told == {"exploratory": True, "folds": None, "why": why, "of": []}
    twice = [
        replace(each, responses=tuple(replace(one, member=0) for one in each.responses))
        for each in questions
    ]
    assert selection.of_arm(task.documents, twice) is None


def test_few_questions_have_no_interval_rather_than_a_wrong_one(place):
    """In half of the draws of two questions nothing is left to choose by."""
    task = study.read(place).tasks[0].joined
    told = selection.of_arm(task.documents[:2], task.arms[ARM][:2])
    assert told["folds"] == 2
    assert all(one["best"]["low"] is None for one in told["of"])


def test_members_that_are_all_alike_have_no_interval_of_no_width(place):
    task = study.read(place).tasks[0].joined
    alike = [
        replace(each, responses=tuple(replace(one, label=0, score=1.0) for one in each.responses))
        for each in task.arms[ARM]
    ]
    for one in selection.of_arm(task.documents, alike)["of"]:
        for name, estimate in (("best", 1), ("best_minus_all", 0)):
            assert one[name] == {"estimate": estimate, "low": None, "high": None}


def test_the_report_shows_it(place):
    page = report.write(place, encoder=None).read_text()
    assert "Are some members better than others?" in page
    assert page.count("the best member on other questions is") == 2
    rows = (place / "report" / "selection_sums.csv").read_text().splitlines()
    assert len([row for row in rows if f",{ARM},2,best_minus_all," in row]) == 1
