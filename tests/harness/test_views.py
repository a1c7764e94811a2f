"""Stock tasks viewed as population tasks, against scores worked out by hand."""

from __future__ import annotations

import lm_eval
import pytest
from canned import Canned, dataset
from lm_eval.tasks import TaskManager
from lm_eval.utils import make_table

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
    results = run(name, responses, repeats)
    SAID.update(results["config"]["btrans_scores"])
    return results["results"][name]


def run(name: str, responses, repeats=4) -> dict:
    loaded = MANAGER.load([name])
    view_tasks(list(loaded["tasks"].values()), repeats, encoder=None)
    lm = Canned(responses)
    tasks = list(loaded["tasks"].values())
    return lm_eval.simple_evaluate(lm, tasks=tasks, task_manager=MANAGER, bootstrap_iters=0)


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


def test_how_sure_the_votes_of_each_pipeline_are(gsm8k):
    said = {
        "Q0": ["The answer is 18.", "so 18", "The answer is 5.", "nothing"],
        "Q1": ["The answer is 7.", "The answer is 7.", "The answer is 7.", "The answer is 8."],
    }
    results = run("gsm8k_cot_zeroshot", lambda prompt: said[prompt[3:5]])
    found = results["results"]["gsm8k_cot_zeroshot"]
    # strict: 18 and 5 are tied at one vote of four; loose: 18 has two, right; 7 has three, right
    assert found["vote_share,strict-match"] == pytest.approx((1 / 4 + 3 / 4) / 2)
    assert found["vote_share,flexible-extract"] == pytest.approx((2 / 4 + 3 / 4) / 2)
    tied = 0.5 * 0.75**2 + 0.5 * 0.25**2
    assert found["exact_match:vote_brier,strict-match"] == pytest.approx((tied + 0.25**2) / 2)
    loose = (0.5**2 + 0.25**2) / 2
    assert found["exact_match:vote_brier,flexible-extract"] == pytest.approx(loose)
    up = results["higher_is_better"]["gsm8k_cot_zeroshot"]
    assert up["exact_match:vote_brier"] is False and up["exact_match:maj@4"] is True
    assert up["tie_rate"] is False and up["vote_share"] is None
    assert "vote_brier" not in up and "exact_match:vote_share" not in up
    arrows = {row[5].strip(): row[6].strip() for row in table_rows(results)}
    assert arrows["exact_match:maj@4"] == "↑" and arrows["tie_rate"] == "↓"
    assert {arrows[name] for name in ("vote_share", "answer_entropy", "distinct_1")} == {""}


def table_rows(results: dict) -> list[list[str]]:
    """The cells of the table that the harness prints."""
    return [line.split("|") for line in make_table(results).splitlines()[2:]]


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
    assert not any("maj@" in name or "vote_" in name for name in found)
    assert SAID["votes:hendrycks_math500:none"] == "no answer found: no maj@k"
    assert found["exact_match:mean,none"] == 0


# As humaneval_64: its metric gives pass@k for each k of its own that there are responses for.
CODE_TASK = """
task: toy_code
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/rows.jsonl}}
output_type: generate_until
test_split: test
doc_to_text: "{{prompt}}"
doc_to_target: "{{test}}\\ncheck({{entry_point}})"
metric_list:
  - metric: !function metric.pass_at_k
    aggregation: mean
    higher_is_better: true
    k: [2, 4]
generation_kwargs: {until: ["\\n"], do_sample: true, temperature: 0.5}
repeats: 4
filter_list:
  - name: create_test
    filter:
      - function: custom
        filter_fn: !function metric.build
"""
CODE_METRIC = """
import json
from pathlib import Path

def pass_at_k(references, predictions, k=None):
    right = sum(program.endswith("right") for program in predictions[0])
    n = len(predictions[0])
    fails = {each: float(right < 1) for each in k if n >= each}
    return {f"pass@{each}": 1 - fails[each] for each in fails}

def build(resps, docs):
    return [[doc["prompt"] + r for r in resp] for resp, doc in zip(resps, docs)]
"""


def code_task(folder, metric=CODE_METRIC, task=CODE_TASK):
    import json

    rows = [{"prompt": f"def f{n}():", "test": "assert f()", "entry_point": "f"} for n in (0, 1)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "metric.py").write_text(metric)
    (folder / "toy_code.yaml").write_text(task.replace("FOLDER", str(folder)))
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    loaded = list(manager.load(["toy_code"])["tasks"].values())
    view_tasks(loaded, 4, encoder=None)
    said = {"def f0():": [" right", " wrong", " wrong", " wrong"], "def f1():": [" wrong"] * 4}
    lm = Canned(lambda prompt: said[prompt])
    return lm_eval.simple_evaluate(lm, tasks=loaded, task_manager=manager, bootstrap_iters=0)


def test_a_metric_with_k_of_its_own_judges_one_response_at_a_time(tmp_path, caplog):
    results = code_task(tmp_path)
    found = {k.split(",")[0]: v for k, v in results["results"]["toy_code"].items()}
    assert found["pass@1"] == pytest.approx(1 / 8) == found["mean"]
    assert found["pass@2"] == pytest.approx((1 / 2 + 0) / 2)
    assert found["pass@4"] == pytest.approx(1 / 2)
    assert not [name for name in found if "maj@" in name or name.startswith("pass@1:")]
    columns = {"answer_entropy", "tie_rate", "distinct_answers", "vote_share", "vote_brier"}
    assert not columns & found.keys()
    said = results["config"]["btrans_scores"]["votes:toy_code:create_test"]
    assert said == "every response is an answer of its own: no maj@k"
    assert said in caplog.text


def test_a_metric_that_gives_a_single_response_no_score_is_refused(tmp_path):
    none = CODE_METRIC.replace("for each in fails}", "for each in fails if each > 1}")
    with pytest.raises(UserError, match="toy_code cannot .* gives a single response no score"):
        code_task(tmp_path, none)


def test_the_best_of_k_errors_is_the_fewest(tmp_path):
    task = CODE_TASK.replace("higher_is_better: true", "higher_is_better: false")
    metric = CODE_METRIC.replace("pass_at_k", "errors").replace('f"pass@{each}"', '"errors"')
    task = task.replace("pass_at_k", "errors").replace("[2, 4]", "[1]")
    results = code_task(tmp_path, metric, task)
    found = {k.split(",")[0]: v for k, v in results["results"]["toy_code"].items()}
    # question 0 scores 1, 0, 0, 0, question 1 scores 0 throughout
    assert found["errors:mean"] == pytest.approx(1 / 8)
    assert found["errors:best@1"] == pytest.approx(1 / 8)
    assert found["errors:best@4"] == found["errors:best@2"] == 0
    assert not [name for name in found if "pass@" in name]


def test_a_metric_that_says_no_direction_is_one_of_which_more_is_better(tmp_path):
    task = CODE_TASK.replace("    higher_is_better: true\n", "")
    metric = CODE_METRIC.replace("pass_at_k", "own").replace('f"pass@{each}"', '"own"')
    task = task.replace("pass_at_k", "own").replace("[2, 4]", "[1]")
    results = code_task(tmp_path, metric, task)
    found = {k.split(",")[0]: v for k, v in results["results"]["toy_code"].items()}
    # question 0 scores 1, 0, 0, 0, question 1 scores 0 throughout
    assert found["own:pass@2"] == pytest.approx((1 / 2 + 0) / 2)
    assert found["own:pass@4"] == pytest.approx(1 / 2)
    assert not [name for name in found if "best@" in name]
    assert results["higher_is_better"]["toy_code"]["own:pass@4"] is None  # and so no arrow


def test_a_score_that_is_no_number_is_its_questions_failure(tmp_path):
    nan = CODE_METRIC.replace(
        "1 - fails[each]", "fails[each] if '1' in predictions[0][0] else float('nan')"
    )
    results = code_task(tmp_path, nan)
    found = {k.split(",")[0]: v for k, v in results["results"]["toy_code"].items()}
    assert found["mean"] == pytest.approx(1 / 2)  # question 0 counts as wrong, question 1 scores 1
    scores = results["config"]["btrans_scores"]
    assert scores["failed_questions"] == {"toy_code": 1}
    assert "not a finite number" in scores["failed_examples"][0]["error"]


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
