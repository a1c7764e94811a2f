"""Runs compared in Python: the numbers of the command, and their table."""

from __future__ import annotations

import json

import finished_runs
import pytest

from btrans_eval import compare_runs, load_run
from btrans_eval.compare.command import main
from btrans_eval.errors import UserError


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, (sigma, sampled) in finished_runs.ARMS.items():
        finished_runs.write_run(folder / name, sigma, sampled)
    return folder


def test_numbers_are_the_commands(place, tmp_path):
    paths = [str(place / name) for name in finished_runs.ARMS]
    main([*paths, "--output_path", str(tmp_path / "told"), "--no_report"], lambda folder: None)
    told = json.loads((tmp_path / "told" / "comparison.json").read_text())
    file = compare_runs(*paths).save(tmp_path / "found")
    found = json.loads(file.read_text())
    assert {**found, "created": ""} == {**told, "created": ""}


def test_it_prints_the_sentence_and_every_arm(place):
    found = compare_runs(place / "population_greedy", place / "stock_sampled")
    shown = str(found)
    for task in found.numbers["tasks"]:
        assert f"{task['name']}: {task['sentence']}" in shown
        for name, arm in task["arms"].items():
            assert name in shown and name in found._repr_html_()
            if "mean" in arm["metrics"]:
                assert f"{100 * arm['metrics']['mean']['estimate']:.1f}%" in shown
    assert found.warnings == []


def test_arms_have_the_names_of_runs_or_their_whole_paths(place):
    named = [load_run(place / "stock_greedy", "before"), load_run(place / "stock_sampled", "after")]
    assert [arm["name"] for arm in compare_runs(*named).numbers["arms"]] == ["before", "after"]
    finished_runs.write_run(place / "other" / "stock_greedy", 0.0, False)
    alike = compare_runs(place / "stock_greedy", place / "other" / "stock_greedy")
    assert [arm["name"] for arm in alike.numbers["arms"]] == [
        str(place / "stock_greedy"), str(place / "other" / "stock_greedy"),
    ]  # fmt: skip


def test_what_differs_is_refused_or_stands_before_the_numbers(place):
    finished_runs.write_run(place / "short", 0.01, False, questions=4)
    runs = (place / "population_greedy", place / "short")
    with pytest.raises(UserError, match="sums: limit differs"):
        compare_runs(*runs)
    found = compare_runs(*runs, insist=True)
    assert found.warnings and str(found).startswith("warning: sums: ")
    assert found.numbers["insisted"] is True


@pytest.mark.parametrize(
    "runs, said",
    [((), "needs at least two arms, got 0"), ((7, 8), "runs: must be folders, or what load_run")],
)
def test_mistakes_are_one_line(runs, said):
    with pytest.raises(UserError, match=said):
        compare_runs(*runs)
