"""What ``--repeats`` makes of the benchmarks of docs/tasks.md, against slow loops over subsets."""

from __future__ import annotations

import itertools
import random
import statistics
import sys
from copy import copy
from pathlib import Path
from types import ModuleType

import lm_eval
import pytest
from benchmarks_of_today import BENCHMARKS, GPQA, Benchmark
from canned import Canned, dataset
from lm_eval.config.evaluate_config import EvaluatorConfig
from lm_eval.tasks import TaskManager

from btrans_eval.errors import UserError
from btrans_eval.harness.launch import _viewed
from btrans_eval.harness.views import view_tasks

MANAGER = TaskManager()  # reads thousands of files, so once
PAGE = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
K = 4


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda benchmark: benchmark.task)
def test_every_pipeline_scores_and_votes_as_by_hand(benchmark: Benchmark, tmp_path, monkeypatch):
    results = run(benchmark, tmp_path, monkeypatch)
    noted = results["config"]["btrans_scores"]
    assert "failed_questions" not in noted
    assert noted.get(f"left_out:{benchmark.task}", []) == benchmark.left_out
    columns = results["results"][benchmark.task]
    for pipeline, found in benchmark.found.items():
        assert noted[f"votes:{benchmark.task}:{pipeline}"] == found.votes, pipeline
        expected = by_hand(found.scores, found.classes)
        seen = {name: columns.get(f"{name},{pipeline}") for name in expected}
        assert seen == {name: pytest.approx(value) for name, value in expected.items()}, pipeline
        if not found.classes:
            assert not [name for name in columns if "maj@" in name or "vote_" in name]
    pipelines = {name.partition(",")[2] for name in columns if ":mean," in name}
    assert pipelines == benchmark.found.keys()


def run(benchmark: Benchmark, folder: Path, monkeypatch) -> dict:
    for name in benchmark.stands_in:
        if name not in sys.modules:
            monkeypatch.setitem(sys.modules, name, stand_in(name))
    if benchmark.stands_in:
        monkeypatch.setattr("nltk.data.find", lambda name: name)
    # a row is no example of itself, nor of its equal
    rows = [benchmark.row]
    if benchmark.copies > 1:
        rows = [{**benchmark.row, "row": number} for number in range(benchmark.copies)]
    dataset(folder, benchmark.hub, benchmark.split, rows, benchmark.config, benchmark.also)
    monkeypatch.chdir(folder)
    tasks = list(MANAGER.load([benchmark.task])["tasks"].values())
    assert view_tasks(tasks, K, encoder=None) == []
    return lm_eval.simple_evaluate(
        Canned(benchmark.said), tasks=tasks, task_manager=MANAGER, bootstrap_iters=0
    )


def stand_in(name: str) -> ModuleType:
    """A module that is imported at the top and not asked for these rows."""
    module = ModuleType(name)
    module.immutabledict = dict
    return module


def by_hand(scores: dict[str, list[float]], classes: list[int | None]) -> dict[str, float]:
    """The columns of 0/1 scores, from every subset of the responses."""
    columns = {}
    for metric, values in scores.items():
        columns[f"{metric}:mean"] = statistics.mean(values)
        for k in (1, 2, 4):
            subsets = list(itertools.combinations(range(K), k))
            some = [any(values[one] == 1 for one in subset) for subset in subsets]
            columns[f"{metric}:pass@{k}"] = statistics.mean(some)
            if classes:
                votes = [vote(subset, values, classes) for subset in subsets]
                columns[f"{metric}:maj@{k}"] = statistics.mean(votes)
    if classes:
        columns["invalid_rate"] = classes.count(None) / K
        columns["distinct_answers"] = len(set(classes) - {None})
    return columns


def vote(subset: tuple[int, ...], values: list[float], classes: list[int | None]) -> float:
    """The vote of some responses: tied classes share the credit, no valid answer has none."""
    voters = [one for one in subset if classes[one] is not None]
    if not voters:
        return 0.0
    said = [classes[one] for one in voters]
    most = max(map(said.count, said))
    winners = {label for label in said if said.count(label) == most}
    of_class = [
        statistics.mean(values[one] for one in voters if classes[one] == label) for label in winners
    ]
    return statistics.mean(of_class)


def test_the_page_names_every_benchmark_that_is_tried_here():
    for benchmark in BENCHMARKS:
        assert f"| `{benchmark.task}` |" in PAGE


@pytest.mark.parametrize("part", ["supergpqa", "livecode", "hmmt", "aime26", "aime_2026"])
def test_what_the_page_calls_missing_is_missing(part):
    theirs = [name for name in MANAGER.all_tasks if not name.startswith("btrans_")]
    assert theirs and not [name for name in theirs if part in name.lower()]


def test_a_task_that_votes_itself_is_refused(tmp_path, monkeypatch):
    rows = [{"question": "Q", "answer": "#### 1"}]
    dataset(tmp_path, "openai/gsm8k", "test", rows, config="main", also=("train",))
    monkeypatch.chdir(tmp_path)
    tasks = list(MANAGER.load(["gsm8k_cot_self_consistency"])["tasks"].values())
    with pytest.raises(UserError, match="gsm8k_cot_self_consistency cannot .* itself votes"):
        view_tasks(tasks, K, encoder=None)


def test_options_that_are_shuffled_on_loading_are_so_as_in_the_harness(tmp_path, monkeypatch):
    name = "gpqa_diamond_cot_zeroshot"
    monkeypatch.setattr("lm_eval.tasks.TaskManager", lambda **arguments: copy(MANAGER))
    answers = []
    for who in ("viewed", "harness"):
        folder = tmp_path / who  # a new cache of datasets in each
        rows = [GPQA | {"Question": str(number)} for number in range(20)]
        dataset(folder, "Idavidrein/gpqa", "train", rows, "gpqa_diamond")
        monkeypatch.chdir(folder)
        if who == "viewed":
            random.seed(99)
            with _viewed(K, None, None):
                run = EvaluatorConfig(tasks=name, seed=[0, 1234, 1234, 1234])
                task = run.process_tasks().load([name])["tasks"][name]
        else:
            random.seed(0)  # as simple_evaluate does, with the first of these seeds
            task = MANAGER.load([name])["tasks"][name]
        answers.append([doc["answer"] for doc in task.eval_docs])
    assert answers[0] == answers[1]
    assert len(set(answers[0])) == 4
