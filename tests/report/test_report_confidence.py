"""How sure votes are, in comparison.json, in the report, and where a vote would keep silent."""

from __future__ import annotations

import json
from pathlib import Path

import finished_runs
import numpy as np
import pytest

from btrans_eval.cli import main
from btrans_eval.compare import confidence
from btrans_eval.report import report, study
from btrans_eval.scores import uncertainty
from btrans_eval.scores.estimators import maj_at_k

ARM = "population_greedy"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    finished_runs.study(folder, questions=30)
    return folder


def votes(place: Path, arm: str = ARM) -> tuple[list[float], list[float]]:
    """Share of the winner's votes and credit of each question, from its responses."""
    shares, credits = [], []
    for question in study.read(place).tasks[0].joined.arms[arm]:
        labels = [one.label for one in question.responses]
        valid = [label for label in labels if label is not None]
        shares.append(max((valid.count(each) / len(labels) for each in valid), default=0.0))
        credits.append(maj_at_k(labels, [one.score for one in question.responses], len(labels)))
    return shares, credits


def test_figures_are_those_of_the_responses(place):
    task = json.loads((place / "comparison.json").read_text())["tasks"][0]
    shares, credits = votes(place)
    found = task["arms"][ARM]["confidence"]
    for name, value in uncertainty.figures(shares, credits).items():
        told = found["figures"]["share"][name]
        assert told["estimate"] == pytest.approx(value)
        if name.startswith("ece"):
            assert told["low"] is None
        elif value is not None:
            assert told["low"] <= told["high"]
            assert told["low"] - 0.02 <= value <= told["high"] + 0.02
    assert set(found["figures"]["certainty"]) == set(uncertainty.figures([0.5], [1])) - {
        "brier", "calibration", "refinement", "ece", "ece_20", "squared_error",
    }  # fmt: skip
    assert sum(point["questions"] for point in found["reliability"]) == 30
    assert found["risk_coverage"][-1] == pytest.approx(1 - np.mean(credits))
    assert task["arms"][ARM]["metrics"]["maj@4"]["estimate"] == pytest.approx(np.mean(credits))


def test_differences_are_paired_over_questions(place):
    task = json.loads((place / "comparison.json").read_text())["tasks"][0]
    (pair,) = [
        each
        for each in task["confidence_pairs"]
        if (each["a"], each["b"], each["figure"]) == (ARM, "stock_sampled", "brier")
    ]
    one, other = votes(place), votes(place, "stock_sampled")
    assert pair["difference"] == pytest.approx(
        uncertainty.brier(*one).score - uncertainty.brier(*other).score
    )
    gaps = uncertainty.resampled(*one)["brier"] - uncertainty.resampled(*other)["brier"]
    assert (pair["low"], pair["high"]) == pytest.approx(uncertainty.ends(gaps))


def test_arms_that_are_calibrated_alike_show_no_difference():
    """An interval of the calibration error itself would: why none is told."""
    draws, excluded, by_error = np.random.default_rng(0), 0, 0
    for _ in range(60):
        arms = []
        for least in (7, 1):
            share = draws.integers(least, 9, 100) / 8
            credit = (draws.random(100) < share).astype(float)
            arms.append(confidence.Votes(share, share, share, credit))
        (row,) = [row for row in confidence.of_pair(*arms) if row["figure"] == "squared_error"]
        excluded += not row["low"] <= 0 <= row["high"]
        one, other = (uncertainty.resampled(arm.share, arm.credit)["ece"] for arm in arms)
        low, high = uncertainty.ends(one - other)
        by_error += not low <= 0 <= high
    assert excluded <= 10 and by_error > 40


def test_tasks_that_do_not_vote_have_no_confidence(place):
    stories = json.loads((place / "comparison.json").read_text())["tasks"][1]
    assert all("confidence" not in arm for arm in stories["arms"].values())
    assert stories["confidence_pairs"] == []


def test_the_report_shows_it(place):
    page = report.write(place, encoder=None).read_text()
    assert "How sure a vote is" in page and "Is a vote right as often" in page
    rows = (place / "report" / "confidence_sums.csv").read_text().splitlines()
    assert len([row for row in rows if f",{ARM},share,brier," in row]) == 1


def abstained(capsys, place, *more):
    main(["abstain", str(place), *more])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_surest_are_answered(place, capsys):
    told, *rows = abstained(capsys, place, "--coverage", "0.6", "--arm", ARM)
    shares, credits = votes(place)
    assert (told["questions"], told["answered"]) == (30, 18)
    assert told["right_of_all"] == pytest.approx(np.mean(credits))
    answered = [row for row in rows if row["answered"]]
    assert len(rows) == 30 and len(answered) == 18
    assert min(row["share"] for row in answered) == told["least_sure_answered"]
    silent = [row["share"] for row in rows if not row["answered"]]
    assert max(silent) <= told["least_sure_answered"]
    assert silent.count(told["least_sure_answered"]) == told["as_sure_and_not_answered"]
    assert told["right_of_answered"] == pytest.approx(np.mean([r["right"] for r in answered]))
    assert [row["share"] for row in rows] == sorted(shares)


def test_all_arms_that_vote_and_another_measure(place, capsys, tmp_path):
    main(["abstain", str(place), "--by", "certainty", "--output", str(tmp_path / "lines.jsonl")])
    rows = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    sums = [row for row in rows if "answered" in row and "questions" in row]
    assert {row["arm"] for row in sums} >= {ARM, "stock_sampled"}
    assert {row["by"] for row in sums} == {"certainty"} and capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "more, said",
    [
        (["--coverage", "0"], "coverage: must be above 0 and at most 1, got 0"),
        (["--coverage", "1.5"], "coverage: must be above 0 and at most 1, got 1.5"),
        (
            ["--by", "luck"],
            "by: must be one of share, of_valid, certainty, entropy, epistemic, probability, got",
        ),
        (["--by", "entropy"], "by: entropy is of likelihoods"),
        (["--arm", "nobody"], "arm: must be one of stock_greedy"),
        (["--output", "/nowhere/lines"], "output: /nowhere/lines cannot be written"),
    ],
)
def test_mistakes_are_one_line(place, capsys, more, said):
    with pytest.raises(SystemExit) as ended:
        main(["abstain", str(place), *more])
    told = capsys.readouterr().err.strip().splitlines()
    assert ended.value.code == 2 and len(told) == 1 and said in told[0]
