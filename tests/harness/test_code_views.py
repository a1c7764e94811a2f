"""The harness's own tasks of programs, viewed: no metric from a hub, and our sandbox."""

# ruff: noqa: E501  # programs, as they are
from __future__ import annotations

import evaluate
import lm_eval
import pytest
import sandboxed
from canned import Canned, dataset
from lm_eval.tasks import TaskManager

from btrans_eval.errors import UserError
from btrans_eval.harness.code_tasks import CodeEval, code_eval_replaced
from btrans_eval.harness.views import view_tasks

MANAGER = TaskManager()  # reads thousands of files, so once
HUMANEVAL = {
    "task_id": "Own/0",
    "prompt": "def twice(x):\n    return 2 * x\n\n\ndef four(x):\n    ''' Four times. '''\n",
    "canonical_solution": "    return 4 * x\n",
    "test": "def check(candidate):\n    assert candidate(2) == twice(twice(2))\n    assert candidate(1) == 4\n",
    "entry_point": "four",
}
MBPP = {
    "task_id": 11,
    "text": "Add.",
    "code": "def sum(a, b):\r\n    return a + b",
    "test_list": ["assert sum(1, 2) == 3", "assert sum(2, 2) == 4", "assert sum(5, 5) == 10"],
    "test_setup_code": "",
    "challenge_test_list": [],
}


def viewed(name: str, texts: list[str], confirm: bool = True) -> dict:
    with code_eval_replaced():
        loaded = MANAGER.load([name])
    tasks = list(loaded["tasks"].values())
    view_tasks(tasks, len(texts), encoder=None)
    return lm_eval.simple_evaluate(
        Canned(lambda prompt: texts),
        tasks=tasks,
        task_manager=MANAGER,
        bootstrap_iters=0,
        confirm_run_unsafe_code=confirm,
    )


@pytest.fixture
def humaneval(tmp_path, monkeypatch):
    dataset(tmp_path, "openai/openai_humaneval", "test", [HUMANEVAL])
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("task", ["humaneval", "humaneval_64"])
def test_humaneval_is_run_by_us(humaneval, task):
    sandboxed.executor()
    texts = ["    return 4 * x\n", "    return 8\n", "    import sys; sys.exit(0)\n",
             "    return 0\n\ndef twice(x): return 0\n"]  # fmt: skip
    results = viewed(task, texts)
    found = {k.split(",")[0]: v for k, v in results["results"][task].items()}
    assert found["mean"] == found["pass@1"] == 1 / 4
    assert found["pass@2"] == pytest.approx(1 / 2) and found["pass@4"] == 1
    assert not [name for name in found if "maj@" in name or "invalid" in name]
    counts = results["config"]["btrans_scores"][f"programs:{task}:create_test"]
    assert counts == {"failed": 2, "passed": 1, "raised": 1}


def test_mbpp_is_run_by_us(tmp_path, monkeypatch):
    sandboxed.executor()
    dataset(tmp_path, "google-research-datasets/mbpp", "test", [MBPP], config="full")
    monkeypatch.chdir(tmp_path)
    texts = [MBPP["code"], "def sum(a, b):\n    return 3", "", "def sum(a, b):\n    return b + a"]
    results = viewed("mbpp", texts)
    found = {k.split(",")[0]: v for k, v in results["results"]["mbpp"].items()}
    assert found["pass_at_1:mean"] == 2 / 4 and found["pass_at_1:pass@4"] == 1


def test_a_view_is_refused_unless_confirmed(humaneval):
    with pytest.raises(UserError, match="confirm_run_unsafe_code: humaneval runs programs"):
        viewed("humaneval", ["a", "b"], confirm=False)


def test_a_task_that_runs_programs_by_itself_is_refused(tmp_path, monkeypatch):
    (tmp_path / "rows.jsonl").write_text('{"q": "a", "a": "b"}\n')
    (tmp_path / "own.yaml").write_text(
        "task: own_code\ndataset_path: json\nunsafe_code: true\noutput_type: generate_until\n"
        f"dataset_kwargs: {{data_files: {{test: {tmp_path}/rows.jsonl}}}}\ntest_split: test\n"
        'doc_to_text: "{{q}}"\ndoc_to_target: "{{a}}"\n'
        "metric_list:\n  - {metric: exact_match, aggregation: mean, higher_is_better: true}\n"
        'generation_kwargs: {until: ["\\n"]}\n'
    )
    monkeypatch.chdir(tmp_path)
    loaded = TaskManager(include_path=str(tmp_path)).load(["own_code"])
    with pytest.raises(UserError, match="own_code cannot be viewed .* by means of its own"):
        view_tasks(list(loaded["tasks"].values()), 2, encoder=None)


def test_the_metric_is_only_replaced_while_tasks_are_loaded():
    original = evaluate.load
    with code_eval_replaced():
        metric = evaluate.load("code_eval")
        assert (
            isinstance(metric, CodeEval)
            and metric.compute(references=["x"], predictions=[["y"]]) is None
        )
    assert evaluate.load is original
    with pytest.raises(UserError, match="repeats: tasks that run programs"):
        metric.compute(references=[], predictions=[])
