"""What a comparison says beyond its tables: fresh members, narrow intervals, named files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import finished_runs
import numpy as np
import pytest

from btrans_eval.compare import command
from btrans_eval.compare.columns import scores_by_member
from btrans_eval.report import study
from btrans_eval.scores import intervals


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return finished_runs.study(tmp_path_factory.mktemp("study"), questions=12)["tasks"][0]


def test_only_populations_have_fresh_members(compared: dict[str, Any]) -> None:
    two_way = {name: arm["two_way"] for name, arm in compared["arms"].items()}
    assert two_way["stock_sampled"] is None and two_way["stock_greedy"] is None
    assert two_way["population_greedy"]["method"] == "two-way"


def test_pairs_take_the_members_of_their_populations(tmp_path: Path) -> None:
    numbers = finished_runs.study(tmp_path, questions=12)["tasks"][0]
    read = study.read(tmp_path).tasks[0].joined.arms
    tables = {
        name: np.array([[one.score for one in question.responses] for question in questions])
        for name, questions in read.items()
    }
    found = {
        (pair["a"], pair["b"]): pair["two_way"] for pair in numbers["pairs"] if pair["two_way"]
    }
    expected = {("population_greedy", "stock_sampled"): "a"}
    expected[("population_sampled", "stock_sampled")] = "a"
    expected[("population_greedy", "population_sampled")] = "shared"
    assert found.keys() == expected.keys()
    for (a, b), members in expected.items():
        by_hand = intervals.two_way_paired_interval(tables[a], tables[b], members)
        assert found[a, b] == pytest.approx(by_hand._asdict())


def question(scores: list[float], members: list[int]) -> Any:
    responses = [SimpleNamespace(score=s, member=m) for s, m in zip(scores, members, strict=True)]
    return SimpleNamespace(responses=responses)


def test_samples_of_a_member_are_one_number() -> None:
    rows = [question([1, 0, 0, 0], [0, 1, 0, 1]), question([1, 1, 0, 1], [1, 1, 0, 0])]
    found = scores_by_member(rows)  # type: ignore[arg-type]
    assert found is not None and found.tolist() == [[0.5, 0], [0.5, 1]]


def test_uneven_samples_have_no_members_table() -> None:
    assert scores_by_member([question([1, 0, 0], [0, 1, 0])]) is None  # type: ignore[arg-type]
    uneven = [question([1, 0], [0, 1]), question([1, 0], [0, 2])]
    assert scores_by_member(uneven) is None  # type: ignore[arg-type]
    unscored = [SimpleNamespace(responses=[SimpleNamespace(score=None, member=0)])]
    assert scores_by_member(unscored) is None  # type: ignore[arg-type]


def test_narrow_intervals_are_told(tmp_path: Path, compared: dict[str, Any]) -> None:
    assert any("may be narrow at 12 questions" in said for said in compared["statements"])
    many = finished_runs.study(tmp_path, questions=150, calls=2)["tasks"][0]
    assert not any("narrow" in said for said in many["statements"])


def test_a_results_file_among_several_can_be_compared_and_reported(tmp_path: Path) -> None:
    for name, (sigma, sampled) in finished_runs.ARMS.items():
        finished_runs.write_run(tmp_path / "runs" / name, sigma, sampled)
        (tmp_path / "runs" / name / "results_1999.json").write_text("{}")
    runs = {name: tmp_path / "runs" / name / "results_2026.json" for name in finished_runs.ARMS}
    command.write(runs, tmp_path / "out")
    assert [arm.name for arm in study.read(tmp_path / "out").arms] == list(runs)
