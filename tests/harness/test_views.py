"""Stock tasks viewed as population tasks, against scores worked out by hand."""

from __future__ import annotations

import lm_eval
import pytest
from canned import Canned, dataset
from lm_eval.tasks import TaskManager

from btrans_eval.errors import UserError
from btrans_eval.harness.views import view_tasks

MANAGER = TaskManager()  # reads thousands of files, so once
SAID: dict[str, str] = {}


@pytest.fixture
def gsm8k(tmp_path, monkeypatch):
    rows = [{"question": "Q0", "answer": "work\n#### 18"}, {"question": "Q1", "answer": "#### 7"}]
    dataset(tmp_path, "openai/gsm8k", "test", rows, config="main", also=("train",))
    monkeypatch.chdir(tmp_path)


def viewed(name: str, responses, repeats=4) -> dict[str, float]:
    loaded = MANAGER.load([name])
    view_tasks(list(loaded["tasks"].values()), repeats, encoder=None)
    lm = Canned(responses)
    tasks = list(loaded["tasks"].values())
    results = lm_eval.simple_evaluate(lm, tasks=tasks, task_manager=MANAGER, bootstrap_iters=0)
    SAID.update(results["config"]["btrans_scores"])
    return results["results"][name]


def test_each_pipeline_judges_each_response_alone_and_has_its_own_columns(gsm8k):
    said = {
        "Q0": ["The answer is 18.", "so 18", "The answer is 5.", "nothing"],
        "Q1": ["The answer is 7.", "The answer is 7.", "The answer is 8.", "The answer is 8."],
    }
    found = viewed("gsm8k_cot_zeroshot", lambda prompt: said[prompt[3:5]])
    strict = {k.removesuffix(",strict-match"): v for k, v in found.items() if "strict" in k}
    loose = {k.removesuffix(",flexible-extract"): v for k, v in found.items() if "flexible" in k}
    assert SAID["votes:gsm8k_cot_zeroshot:strict-match"] == "filtered answers, equal as number"
    assert strict["exact_match:mean"] == pytest.approx((1 / 4 + 2 / 4) / 2)
    assert loose["exact_match:mean"] == pytest.approx((2 / 4 + 2 / 4) / 2)
    assert strict["exact_match:pass@4"] == loose["exact_match:pass@4"] == 1.0
    assert strict["exact_match:pass@2"] == pytest.approx((1 / 2 + (1 - 1 / 6)) / 2)
    assert strict["exact_match:maj@4"] == pytest.approx((0.5 + 0.5) / 2)  # ties of 18/5 and 7/8
    assert loose["exact_match:maj@4"] == pytest.approx((1.0 + 0.5) / 2)
    assert strict["invalid_rate"] == pytest.approx((2 / 4 + 0) / 2)
    assert loose["invalid_rate"] == pytest.approx((1 / 4 + 0) / 2)


def test_where_a_pipeline_leaves_the_whole_text_our_extractor_reads_the_answer(
    tmp_path, monkeypatch
):
    rows = [{"problem": "P", "answer": "\\frac{1}{2}", "solution": "it is $\\boxed{\\frac{1}{2}}$"}]
    dataset(tmp_path, "HuggingFaceH4/MATH-500", "test", rows)
    monkeypatch.chdir(tmp_path)
    texts = ["$\\boxed{\\frac{1}{2}}$", "$\\boxed{0.5}$", "$\\boxed{3}$", "?"]
    found = viewed("hendrycks_math500", lambda prompt: texts)
    votes = {k.split(",")[0]: v for k, v in found.items()}
    assert SAID["votes:hendrycks_math500:none"] == "our extractor for latex"
    assert votes["invalid_rate"] == 1 / 4
    assert votes["distinct_answers"] == 2
    # the task's own metric finds 0.5 unequal to 1/2: the winning class scores the mean of both
    assert votes["exact_match:maj@4"] == pytest.approx(votes["exact_match:mean"] * 2)


def test_no_vote_is_reported_where_no_answer_is_found(tmp_path, monkeypatch):
    rows = [{"problem": "P", "answer": "\\frac{1}{2}", "solution": "it is $\\boxed{\\frac{1}{2}}$"}]
    dataset(tmp_path, "HuggingFaceH4/MATH-500", "test", rows)
    monkeypatch.chdir(tmp_path)
    found = viewed("hendrycks_math500", lambda prompt: ["I do not know"] * 4)
    assert not any("maj@" in name for name in found)
    assert SAID["votes:hendrycks_math500:none"] == "no answer found: no maj@k"
    assert found["exact_match:mean,none"] == 0


class Task:
    """A stand-in with what a view looks at."""

    def __init__(self, kind: str, aggregation=None, filters=()):
        from types import SimpleNamespace

        self.OUTPUT_TYPE, self.config = kind, SimpleNamespace(task="toy")
        self._filters, self._aggregation = filters, aggregation or {}

    def aggregation(self):
        return self._aggregation


def test_a_task_that_cannot_be_viewed_is_named_with_the_reason():
    from lm_eval.filters import build_filter_ensemble

    voting = build_filter_ensemble("maj", [["majority_vote", None], ["take_first", None]])
    with pytest.raises(UserError, match="toy cannot .* pipeline maj itself votes"):
        view_tasks([Task("generate_until", filters=[voting])], 4, None)
    with pytest.raises(UserError, match="toy cannot .* metric bleu is no mean over questions"):
        view_tasks([Task("generate_until", {"bleu": max})], 4, None)
    with pytest.raises(UserError, match="needs a task that generates, but toy is scored by"):
        view_tasks([Task("multiple_choice")], 4, None)
    with pytest.raises(UserError, match="repeats: must be at least 2"):
        view_tasks([Task("generate_until")], 1, None)


def test_our_own_tasks_take_other_repeats_too(gsm8k):
    found = viewed("btrans_gsm8k", lambda prompt: ["18", "7", "18", "x"], repeats=4)
    assert found["mean,population"] == pytest.approx((2 / 4 + 1 / 4) / 2)
    assert found["maj@4,population"] == pytest.approx((1 + 0) / 2)
    assert "pass@16,population" not in found


def test_the_command_needs_no_start_up_line_and_tells_mistakes_in_one_line():
    import os
    import subprocess
    import sys

    command = [sys.executable, "-m", "btrans_eval.cli", "run", "--model", "btrans-hf"]
    environment = {**os.environ, "BTRANS_EVAL_AUTOLOAD": "0"}
    for flags, text in [
        (["--repeats", "1", "--tasks", "btrans_demo"], "repeats: must be at least 2"),
        (["--encoder", "x", "--tasks", "btrans_demo"], "encoder: goes with --repeats"),
    ]:
        done = subprocess.run([*command, *flags], env=environment, capture_output=True, text=True)
        assert (done.returncode, done.stderr.splitlines()[-1][:13]) == (2, "btrans-eval: ")
        assert text in done.stderr and "Traceback" not in done.stderr
