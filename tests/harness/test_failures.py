"""A question that cannot be scored counts as wrong, is told, and loses nothing else."""

from __future__ import annotations

from types import SimpleNamespace

import lm_eval
import pytest
from canned import Canned, dataset
from lm_eval.tasks import TaskManager

from btrans_eval.answers import extract
from btrans_eval.answers.equivalence import Judge
from btrans_eval.answers.workers import Pool
from btrans_eval.config import PopulationConfig
from btrans_eval.errors import UserError
from btrans_eval.harness import record
from btrans_eval.harness.failures import Failures
from btrans_eval.harness.ranks import Ranks
from btrans_eval.harness.views import view_tasks

MANAGER = TaskManager()
QUESTIONS = 50
BAD = 17


@pytest.fixture
def gsm8k(tmp_path, monkeypatch):
    rows = [{"question": f"Q{n}.", "answer": f"#### {n}"} for n in range(QUESTIONS)]
    dataset(tmp_path, "openai/gsm8k", "test", rows, config="main", also=("train",))
    monkeypatch.chdir(tmp_path)


def right(prompt: str) -> list[str]:
    number = prompt.rsplit("Q", 1)[-1].split(".")[0]
    number = number if number.isdigit() else prompt.split("Q")[1].split(".")[0]
    return [f"The answer is {number}."] * 16


def evaluate(task, monkeypatch, is_ours=True, repeats=None):
    lm = ours() if is_ours else Canned(right)
    tasks = list(MANAGER.load([task])["tasks"].values())
    if repeats:
        view_tasks(tasks, repeats, encoder=None)
    return lm_eval.simple_evaluate(lm, tasks=tasks, task_manager=MANAGER, bootstrap_iters=0)


def fail_on_one(monkeypatch, module: str):
    """The extractor fails on the responses to question 17, and on no other."""
    read = extract.extract

    def failing(text, kind):
        if f" {BAD}." in text:
            raise RecursionError("too deep")
        return read(text, kind)

    monkeypatch.setattr(f"{module}.extract", failing)


def test_extraction_that_fails_on_one_of_50_questions(gsm8k, monkeypatch):
    fail_on_one(monkeypatch, "btrans_eval.harness.response")
    results = evaluate("btrans_gsm8k", monkeypatch)
    columns = results["results"]["btrans_gsm8k"]
    for column in ("mean", "pass@16", "maj@16"):
        assert columns[f"{column},population"] == pytest.approx(49 / 50)
    assert columns["invalid_rate,population"] == pytest.approx(1 / 50)
    noted = results["config"]["btrans_scores"]
    assert noted["failed_questions"] == {"btrans_gsm8k": 1}
    (example,) = noted["failed_examples"]
    assert example == {"task": "btrans_gsm8k", "doc_id": BAD, "error": "RecursionError: too deep"}
    line = record.current().finished.failures.line()
    assert "1 question could not be scored and count" in line
    assert "row 17 of btrans_gsm8k (RecursionError: too deep)" in line
    assert len(results["samples"]["btrans_gsm8k"]) == QUESTIONS


def test_a_metric_that_fails_on_one_question_of_a_viewed_task(gsm8k, monkeypatch):
    fail_on_one(monkeypatch, "btrans_eval.harness.view")
    # only pipelines that leave the whole text use our extractor; here the filtered answer is read
    results = evaluate("gsm8k_cot_zeroshot", monkeypatch, repeats=4)
    assert "failed_questions" not in results["config"]["btrans_scores"]
    tasks = MANAGER.load(["gsm8k_cot_zeroshot"])["tasks"]
    task = tasks["gsm8k_cot_zeroshot"]
    judge = task.process_results
    task.process_results = lambda doc, one: (
        1 / 0 if f"Q{BAD}." in doc["question"] else judge(doc, one)
    )
    view_tasks([task], 4, encoder=None)
    results = lm_eval.simple_evaluate(
        Canned(right), tasks=[task], task_manager=MANAGER, bootstrap_iters=0
    )
    columns = results["results"]["gsm8k_cot_zeroshot"]
    for pipeline in ("strict-match", "flexible-extract"):
        assert columns[f"exact_match:mean,{pipeline}"] == pytest.approx(49 / 50)
        assert columns[f"exact_match:maj@4,{pipeline}"] == pytest.approx(49 / 50)
        assert columns[f"invalid_rate,{pipeline}"] == pytest.approx(1 / 50)
    noted = results["config"]["btrans_scores"]
    assert noted["failed_questions"] == {"gsm8k_cot_zeroshot": 1}  # once for both pipelines
    assert noted["failed_examples"][0]["doc_id"] == BAD


def stock_task(monkeypatch):
    task = MANAGER.load(["gsm8k_cot_zeroshot"])["tasks"]["gsm8k_cot_zeroshot"]
    judge = task.process_results

    def process_results(doc, results):
        if f"Q{BAD}." in doc["question"]:
            raise KeyError("answer")
        return judge(doc, results)

    task.process_results = process_results
    return task


def test_a_stock_tasks_own_metric_under_a_population(gsm8k, monkeypatch):
    lm = ours()
    results = lm_eval.simple_evaluate(
        lm, tasks=[stock_task(monkeypatch)], task_manager=MANAGER, bootstrap_iters=0
    )
    columns = results["results"]["gsm8k_cot_zeroshot"]
    assert columns["exact_match,strict-match"] == pytest.approx(49 / 50)
    assert results["config"]["btrans_scores"]["failed_questions"] == {"gsm8k_cot_zeroshot": 1}


def ours() -> Canned:
    """A model with what tells our model types from others."""
    lm = Canned(right)
    lm.runner = SimpleNamespace(
        judge=Judge(), config=PopulationConfig(sigma=0), ranks=Ranks(),
        likelihoods=SimpleNamespace(said={}),
        engine=SimpleNamespace(
            arguments=lambda request: {"max_gen_toks": 8, "do_sample": False}, context=5000,
            asked=lambda request: {}, batching=lambda request: "canned",
        ),
    )  # fmt: skip
    return lm


def run_stock(task):
    return lm_eval.simple_evaluate(ours(), tasks=[task], task_manager=MANAGER, bootstrap_iters=0)


def test_where_lower_is_better_0_is_no_score_of_a_failed_question(gsm8k, monkeypatch):
    task = stock_task(monkeypatch)
    task._higher_is_better = dict.fromkeys(task._higher_is_better, False)
    with pytest.raises(KeyError):
        run_stock(task)
    task = stock_task(monkeypatch)
    task._higher_is_better = dict.fromkeys(task._higher_is_better, False)
    view_tasks([task], 4, encoder=None)
    with pytest.raises(KeyError):
        run_stock(task)


@pytest.mark.parametrize("bad", [0, BAD])
def test_a_metric_that_is_not_declared_is_not_dropped_from_a_failed_question(
    gsm8k, monkeypatch, bad
):
    task = stock_task(monkeypatch)
    judge = task.process_results

    def process_results(doc, results):
        if f"Q{bad}." in doc["question"]:
            raise KeyError("answer")
        return {**judge(doc, results), "extra": 1.0}

    task.process_results = process_results
    with pytest.raises(KeyError):
        run_stock(task)


def test_a_question_whose_vote_failed_scores_0_whatever_is_returned(gsm8k, monkeypatch):
    task = MANAGER.load(["gsm8k_cot_zeroshot"])["tasks"]["gsm8k_cot_zeroshot"]
    lm = ours()
    generate = lm.generate_until

    def voted(requests, **kwargs):
        run = record.current()
        run.failures.note_vote(requests[3].task_name, requests[3].doc_id, ValueError("no vote"))
        return generate(requests, **kwargs)

    lm.generate_until = voted
    results = lm_eval.simple_evaluate(lm, tasks=[task], task_manager=MANAGER, bootstrap_iters=0)
    columns = results["results"]["gsm8k_cot_zeroshot"]
    assert columns["exact_match,strict-match"] == pytest.approx(49 / 50)
    assert results["config"]["btrans_scores"]["failed_questions"] == {"gsm8k_cot_zeroshot": 1}


def test_failures_of_other_processes_are_counted():
    other, ours = Failures(), Failures()
    other.note_vote("t", 1, ValueError("x"))
    ours.note("t", 2, ValueError("y"))
    ours.add(other.taken())
    assert ours.summary()["failed_questions"] == {"t": 2}


def test_evaluate_called_directly_tells_too(gsm8k, monkeypatch):
    from lm_eval import evaluator

    fail_on_one(monkeypatch, "btrans_eval.harness.response")
    results = evaluator.evaluate(ours(), MANAGER.load(["btrans_gsm8k"]), bootstrap_iters=0)
    assert results["btrans_scores"]["failed_questions"] == {"btrans_gsm8k": 1}


def test_other_model_types_run_as_ever(gsm8k, monkeypatch):
    with pytest.raises(KeyError):
        lm_eval.simple_evaluate(
            Canned(right), tasks=[stock_task(monkeypatch)], task_manager=MANAGER, bootstrap_iters=0
        )


def test_a_run_begins_without_the_failures_of_the_last(gsm8k, monkeypatch):
    with record.begun() as run:
        run.failures.note("another", 3, ValueError("x"))
    results = evaluate("btrans_gsm8k", monkeypatch)
    assert "failed_questions" not in results["config"].get("btrans_scores", {})
    assert record.current().finished.failures.line() is None


def test_rows_are_not_looked_up_while_nothing_fails(gsm8k, monkeypatch):
    """Looking one up goes through all rows, which would cost n squared."""
    monkeypatch.setattr("btrans_eval.harness.failures._doc_id", lambda *a: pytest.fail("looked up"))
    task = MANAGER.load(["gsm8k_cot_zeroshot"])["tasks"]["gsm8k_cot_zeroshot"]
    assert run_stock(task)["results"]["gsm8k_cot_zeroshot"]["exact_match,strict-match"] == 1.0


def test_a_users_mistake_is_no_failed_question(gsm8k, monkeypatch):
    def refuse(text, kind):
        raise UserError("math_verify does not start")

    monkeypatch.setattr("btrans_eval.harness.response.extract", refuse)
    with pytest.raises(UserError, match="does not start"):
        evaluate("btrans_gsm8k", monkeypatch)


def test_a_task_of_which_every_question_fails_still_ends(gsm8k, monkeypatch):
    def failing(text, kind):
        raise RuntimeError("always")

    monkeypatch.setattr("btrans_eval.harness.response.extract", failing)
    results = evaluate("btrans_gsm8k", monkeypatch)
    assert results["results"]["btrans_gsm8k"]["mean,population"] == 0.0
    assert results["config"]["btrans_scores"]["failed_questions"] == {"btrans_gsm8k": QUESTIONS}


# hangs and dies inside math_verify: the pair is undecided, the question is scored
PROGRAM = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from btrans_eval.answers import verifier
real = verifier.verdict
def verdict(a, b):
    if "17" in a + b:
        {act}
    return real(a, b)
verifier.verdict = verdict
verifier.serve(*map(float, sys.argv[2:]))
"""


@pytest.mark.parametrize("act", ["time.sleep(3600)", "os._exit(9)"])
def test_a_verification_that_hangs_or_dies(tmp_path, monkeypatch, act):
    from btrans_eval.answers import workers

    rows = [
        {"problem": f"Q{n}.", "answer": f"x^{n}", "solution": "", "subject": "", "level": 1}
        for n in range(16, 19)
    ]
    dataset(tmp_path, "HuggingFaceH4/MATH-500", "test", rows)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(workers, "_PROGRAM", PROGRAM.format(act=act))
    judge = record.current().judge  # its processes are those of the runs within
    monkeypatch.setattr(judge, "pool", Pool(1, cpu_seconds=1.0, wall_seconds=0.5))
    lm = Canned(lambda prompt: [f"\\boxed{{x^{{{prompt.split('Q')[1][:2]}}}+0*y}}"] * 16)
    task = next(iter(MANAGER.load(["btrans_math500"])["tasks"].values()))
    results = lm_eval.simple_evaluate(lm, tasks=[task], task_manager=MANAGER, bootstrap_iters=0)
    judge.pool.close()
    noted = results["config"]["btrans_scores"]
    assert noted["undecided_pairs"] == 1
    assert "failed_questions" not in noted
    mean = results["results"]["btrans_math500"]["mean,population"]
    assert mean == pytest.approx(2 / 3)  # the undecided pair is wrong, the others are right
