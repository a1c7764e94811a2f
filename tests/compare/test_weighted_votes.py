"""The vote weighted by log-probability in comparison.json and in the report."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import finished_runs
import numpy as np
import pytest

from btrans_eval.report import report, study
from btrans_eval.scores import intervals, stats
from btrans_eval.scores.weighted import weighted_vote

ARM = "population_greedy"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    finished_runs.study(folder, questions=40)
    return folder


def rewritten(folder: Path, arm: str, change) -> Path:
    """The same study with each response's log-probability in one arm changed."""
    place = folder / "study"
    finished_runs.study(place, questions=40)
    path = place / "arms" / arm / "samples_sums_2026.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        for each in row["filtered_resps"]:
            for at, item in enumerate(each):
                one = json.loads(item)
                change(row["doc_id"], one)
                each[at] = json.dumps(one)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    finished_runs.write_comparison(
        place, {name: place / "arms" / name for name in finished_runs.ARMS}
    )
    return place


def arms_of(place: Path, task: int = 0) -> dict:
    return json.loads((place / "comparison.json").read_text())["tasks"][task]["arms"]


def votes(place: Path, arm: str) -> tuple[np.ndarray, np.ndarray]:
    """Weighted and plain vote of each question."""
    weighted, plain = [], []
    for question in study.read(place).tasks[0].joined.arms[arm]:
        labels = [one.label for one in question.responses]
        scores = [one.score for one in question.responses]
        weighted.append(weighted_vote(labels, scores, [r.mean_logprob for r in question.responses]))
        plain.append(weighted_vote(labels, scores, [0.0] * len(labels)))
    return np.array(weighted), np.array(plain)


@pytest.mark.parametrize("arm", [ARM, "population_sampled", "stock_sampled"])
def test_it_stands_beside_the_plain_vote(place, arm):
    found = arms_of(place)[arm]
    weighted, plain = votes(place, arm)
    told = found["weighted_vote"]
    assert found["metrics"]["maj@4"]["estimate"] == pytest.approx(plain.mean())
    assert (told["label"], told["k"], told["lacking"], told["reason"]) == (
        "exploratory", 4, 0, None,
    )  # fmt: skip
    interval = intervals.mean_interval(weighted, rate=True)
    assert (told["estimate"], told["low"], told["high"]) == pytest.approx(
        (weighted.mean(), interval.low, interval.high)
    )
    gap = told["against_plain"]
    assert gap["difference"] == pytest.approx((weighted - plain).mean())
    assert gap["low"] <= gap["difference"] <= gap["high"]
    assert gap["p"] == pytest.approx(stats.permutation_test(weighted, plain))


def test_the_two_votes_differ_somewhere(place):
    """Else the test above would compare little."""
    weighted, plain = votes(place, ARM)
    assert (weighted != plain).any()


def test_no_primary_test_is_of_it(place):
    comparison = json.loads((place / "comparison.json").read_text())
    pairs = [pair for task in comparison["tasks"] for pair in task["pairs"]]
    assert {pair["metric"] for pair in pairs} == {"mean@4", "maj@4", "pass@4"}
    assert not any("weighted" in json.dumps(pair) for pair in pairs)


def test_equal_weights_change_nothing(tmp_path):
    def alike(_, one):
        one["mean_logprob"] = -0.5

    found = arms_of(rewritten(tmp_path, ARM, alike))[ARM]
    gap = found["weighted_vote"]["against_plain"]
    assert gap["difference"] == 0 and gap["p"] == 1
    assert found["weighted_vote"]["estimate"] == found["metrics"]["maj@4"]["estimate"]


def test_what_lacks_is_named_and_counted(tmp_path):
    def old(question, one):
        if question < 5:
            del one["mean_logprob"]  # as it was logged before there was one

    place = rewritten(tmp_path, ARM, old)
    arms = arms_of(place)
    told = arms[ARM]["weighted_vote"]
    responses = [r for q in study.read(place).tasks[0].joined.arms[ARM] for r in q.responses]
    answers = [one for one in responses if one.label is not None]
    lacking = sum(one.mean_logprob is None for one in answers)
    assert 0 < lacking < 20 and (told["lacking"], told["answers"]) == (lacking, len(answers))
    assert told["reason"].startswith(f"{lacking} of {len(answers)} answers have no log-probability")
    assert told["estimate"] is None and told["against_plain"] is None
    assert arms["population_sampled"]["weighted_vote"]["estimate"] is not None
    page = report.write(place, encoder=None).read_text()
    assert told["reason"] in page


def test_invalid_answers_need_none(tmp_path):
    def only_valid(_, one):
        one["mean_logprob"] = None if one["class"] is None else one["mean_logprob"]

    assert arms_of(rewritten(tmp_path, ARM, only_valid))[ARM]["weighted_vote"]["lacking"] == 0


def test_where_nothing_votes_there_is_none(place):
    assert "weighted_vote" not in arms_of(place)["stock_greedy"]  # one call
    assert not any("weighted_vote" in arm for arm in arms_of(place, 1).values())


def test_the_report_shows_it(place):
    page = report.write(place, encoder=None).read_text()
    assert "Exploratory: votes weighted by how likely the model finds a response" in page
    rows = list(csv.DictReader((place / "report" / "weighted_sums.csv").open()))
    assert [row["arm"] for row in rows] == ["stock_sampled", ARM, "population_sampled"]
    told = arms_of(place)[ARM]["weighted_vote"]
    (row,) = [row for row in rows if row["arm"] == ARM]
    assert float(row["estimate"]) == told["estimate"]
    assert float(row["against_plain_difference"]) == told["against_plain"]["difference"]
    assert not (place / "report" / "weighted_stories.csv").exists()


def test_a_comparison_that_was_made_before_is_shown_without(place, tmp_path):
    finished_runs.study(tmp_path / "study")
    path = tmp_path / "study" / "comparison.json"
    comparison = json.loads(path.read_text())
    for task in comparison["tasks"]:
        for arm in task["arms"].values():
            arm.pop("weighted_vote", None)
    path.write_text(json.dumps(comparison))
    page = report.write(tmp_path / "study", encoder=None).read_text()
    assert "votes weighted by" not in page
