"""Programs through the harness: HumanEval's real rows where they are, and rows of our own.

MBPP's rows are not at hand: those here are ours, in its published format.
"""

# ruff: noqa: E501  # programs, as they are
from __future__ import annotations

import json

import lm_eval
import pytest
import sandboxed
from canned import Canned, dataset
from lm_eval.tasks import TaskManager
from real import HUB, needs_hub

from btrans_eval.errors import UserError
from btrans_eval.tasks.btrans_humaneval.utils import program as humaneval_program
from btrans_eval.tasks.btrans_mbpp.utils import program as mbpp_program

MANAGER = TaskManager()  # reads thousands of files, so once
HUMANEVAL = {
    "task_id": "Own/0",
    "prompt": 'from typing import List\n\n\ndef double(values: List[int]) -> List[int]:\n    """ Each value twice. """\n',
    "canonical_solution": "    return [2 * each for each in values]\n",
    "test": "\n\nMETADATA = {}\n\n\ndef check(candidate):\n    assert candidate([1, 2]) == [2, 4]\n"
    "    assert candidate([]) == []\n",
    "entry_point": "double",
}
MBPP = {
    "task_id": 11,
    "text": "Write a function to add two numbers.",
    "code": "import math\r\ndef sum(a, b):\r\n    return a + b",
    "test_list": [
        "assert sum(1, 2) == 3",
        "assert math.isclose(sum(0.1, 0.2), 0.3)",
        "assert sum(5, 5) == 10",
    ],
    "test_setup_code": "",
    "challenge_test_list": [],
}


def evaluate(task: str, responses, **kwargs) -> dict:
    return lm_eval.simple_evaluate(
        Canned(responses),
        tasks=[task],
        task_manager=MANAGER,
        bootstrap_iters=0,
        **{"confirm_run_unsafe_code": True, **kwargs},
    )


@pytest.fixture
def own_humaneval(tmp_path, monkeypatch):
    broken = {
        **HUMANEVAL,
        "task_id": "Own/1",
        "prompt": HUMANEVAL["prompt"].replace("twice", "Twice"),
    }
    dataset(tmp_path, "openai/openai_humaneval", "test", [HUMANEVAL, broken])
    monkeypatch.chdir(tmp_path)


def test_humaneval_counts_what_passes_and_says_what_became_of_each(own_humaneval):
    sandboxed.executor()
    right, wrong = HUMANEVAL["canonical_solution"], "    return values\n"
    said = {
        "twice": [right] * 2 + [wrong] * 4 + ["", "    import os; os._exit(0)\n"],
        "Twice": [right] * 8,
    }
    results = evaluate(
        "btrans_humaneval", lambda prompt: said["Twice" if "Twice" in prompt else "twice"]
    )
    found = results["results"]["btrans_humaneval"]
    assert found["mean,population"] == pytest.approx((2 / 8 + 1) / 2) == found["pass@1,population"]
    assert found["pass@4,population"] == pytest.approx((1 - 15 / 70 + 1) / 2)
    assert found["pass@8,population"] == 1.0
    assert not any("maj@" in name or "vote" in name for name in found)
    used = results["config"]["btrans_scores"]
    assert used["programs:btrans_humaneval"] == {
        "passed": 10,
        "failed": 4,
        "no program": 1,
        "ended": 1,
    }
    assert used["programs_run_in"]["sandbox"] in ("namespaces", "bwrap")
    (first, _) = results["samples"]["btrans_humaneval"]
    verdicts = [json.loads(each)["verdict"] for each in first["filtered_resps"][0]]
    assert verdicts[:3] == ["passed", "passed", "failed: AssertionError"]
    assert verdicts[6:] == ["no program", "ended: the other side has ended"]


def test_answers_in_chat_are_read(own_humaneval):
    sandboxed.executor()
    whole = "def double(values):\n    return [2 * each for each in values]\n"
    texts = [f"Sure:\n```python\n{whole}```\nDone.", f"<think>hm</think>```\n{whole}```", whole, f"```py\n{whole}",
             "I cannot.", "```python\nprint(1)\n```", f"It is\n\n{whole}", "```\n[2, 4]\n```"]  # fmt: skip
    results = evaluate("btrans_humaneval_instruct", lambda prompt: texts)
    assert results["results"]["btrans_humaneval_instruct"]["mean,population"] == 5 / 8


@pytest.fixture
def own_mbpp(tmp_path, monkeypatch):
    examples = [{**MBPP, "task_id": n, "text": f"Example {n}."} for n in (1, 2, 3, 4, 5)]
    dataset(
        tmp_path, "google-research-datasets/mbpp", "test", [MBPP], config="full", also=("prompt",)
    )
    lines = "".join(json.dumps(row) + "\n" for row in examples)
    (tmp_path / "google-research-datasets/mbpp/prompt.jsonl").write_text(lines)
    monkeypatch.chdir(tmp_path)


def test_mbpp_shows_the_papers_examples_and_runs_its_tests(own_mbpp):
    sandboxed.executor()
    prompts = []
    right = "def sum(a, b):\n    return a + b"
    texts = [right, f"{right}\n\n", f"```python\n{right}\n```", "def sum(a, b):\n    return 3", "", "def add(a, b):\n    return a + b",
             f"{right}\nmath = None", "import sys; sys.exit(0)"]  # fmt: skip

    def responses(prompt):
        prompts.append(prompt)
        return texts

    results = evaluate("btrans_mbpp", responses)
    assert results["results"]["btrans_mbpp"]["mean,population"] == 4 / 8
    prompt = prompts[0]
    places = [prompt.index(f"Example {n}.") for n in (2, 3, 4)]
    assert places == sorted(places) and "Example 1." not in prompt and "Example 5." not in prompt
    assert prompt.endswith(
        "here is your task: Write a function to add two numbers. Your code should pass these tests:\n\n"
        "assert sum(1, 2) == 3\nassert math.isclose(sum(0.1, 0.2), 0.3)\nassert sum(5, 5) == 10\n[BEGIN]\n"
    )
    assert prompt.count("[DONE]") == 3 and "\r" not in prompt
    assert "[BEGIN]\nimport math\ndef sum(a, b):\n    return a + b\n[DONE]\n\nYou are" in prompt
    instruct = evaluate("btrans_mbpp_instruct", responses)["results"]["btrans_mbpp_instruct"]
    assert instruct["mean,population"] == 4 / 8


def test_a_tests_own_classes_are_the_programs(tmp_path):
    row = {**MBPP, "code": "class Node:\n  def __init__(self, d):\n    self.d = d\n    self.left = None\ndef depth(n):\n"
           "  return 0 if n is None else 1 + depth(n.left)\n",
           "test_setup_code": "root = Node(1)\nroot.left = Node(2)", "test_list": ["assert depth(root) == 2"]}  # fmt: skip
    one = mbpp_program(row, row["code"])
    assert one.names == ("Node", "depth")
    assert sandboxed.executor().verdicts([one])[0].kind == "passed"


def test_a_row_whose_tests_cannot_be_run_is_a_failure(tmp_path, monkeypatch):
    sandboxed.executor()
    dataset(
        tmp_path,
        "openai/openai_humaneval",
        "test",
        [{**HUMANEVAL, "test": "def check(:"}, HUMANEVAL],
    )
    monkeypatch.chdir(tmp_path)
    results = evaluate("btrans_humaneval", lambda prompt: [HUMANEVAL["canonical_solution"]] * 8)
    assert results["results"]["btrans_humaneval"]["mean,population"] == 0.5
    failed = results["config"]["btrans_scores"]["failed_questions"]
    assert failed == {"btrans_humaneval": 1}


def never(prompt):
    raise AssertionError("generated before the run was allowed")


def test_a_run_that_was_not_confirmed_is_refused_before_anything(own_humaneval):
    with pytest.raises(UserError, match="^confirm_run_unsafe_code: btrans_humaneval runs programs"):
        evaluate("btrans_humaneval", never, confirm_run_unsafe_code=False)


def test_a_run_without_protection_is_refused_before_anything(own_humaneval, monkeypatch):
    monkeypatch.setattr("btrans_eval.execution.executor.lacking", lambda sandbox: "no namespaces")
    monkeypatch.delenv("BTRANS_EVAL_EXECUTE_UNPROTECTED", raising=False)
    with pytest.raises(UserError, match="cannot be kept from this machine .*no namespaces"):
        evaluate("btrans_humaneval", never)


ROWS = HUB / "openai" / "openai_humaneval" / "openai_humaneval" / "test.jsonl"


def altered(row: dict) -> str:
    """The row's solution, with another function of the same name behind it that returns nothing right."""
    name = row["entry_point"]
    return f"{row['canonical_solution']}\n\n_right = {name}\n\n\ndef {name}(*a):\n    return [_right(*a)]\n"


@needs_hub
def test_every_solution_of_humaneval_passes_and_every_altered_one_fails():
    runs = sandboxed.executor(cpu_seconds=5)
    rows = [json.loads(line) for line in ROWS.open(encoding="utf-8")]
    assert len(rows) == 123
    right = runs.verdicts([humaneval_program(row, row["canonical_solution"]) for row in rows])
    assert [
        row["task_id"] for row, one in zip(rows, right, strict=True) if one.kind != "passed"
    ] == []
    wrong = runs.verdicts([humaneval_program(row, altered(row)) for row in rows])
    assert [
        row["task_id"] for row, one in zip(rows, wrong, strict=True) if one.kind != "failed"
    ] == []
