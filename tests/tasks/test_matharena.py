"""HMMT and AIME 2026, on rows of our own in MathArena's format."""

from __future__ import annotations

import lm_eval
import pytest
from canned import Canned, dataset
from lm_eval.tasks import TaskManager

MANAGER = TaskManager()  # reads thousands of files, so once
ROOTS = "\\frac{-1+\\sqrt{17}}{2}, \\frac{-1-\\sqrt{17}}{2}"
GOLDS = {
    "whole": "103",
    "fraction": "\\frac{9\\sqrt{23}}{23}",
    "roots": ROOTS,
    "power": "2^{10}-1",
}
# right, the same written otherwise, wrong
SAID = {
    "whole": ("103", "103.0", "104"),
    "fraction": ("\\frac{9\\sqrt{23}}{23}", "\\frac{9}{\\sqrt{23}}", "\\frac{9}{23}"),
    "roots": (
        "\\frac{-1+\\sqrt{17}}{2}, \\frac{-1-\\sqrt{17}}{2}",
        "\\dfrac{-1-\\sqrt{17}}2, \\dfrac{-1+\\sqrt{17}}2",
        "\\frac{-1+\\sqrt{17}}{2}",
    ),
    "power": ("2^{10}-1", "1023", "1024"),
}


def rows() -> list[dict]:
    """A text column of answers, and several types a problem, as MathArena has them."""
    return [
        {
            "problem_idx": number,
            "problem": f"The {name} problem.",
            "answer": gold,
            "problem_type": ["Algebra", "Geometry"][: number % 2 + 1],
        }
        for number, (name, gold) in enumerate(GOLDS.items(), start=1)
    ]


def responses(prompt: str) -> list[str]:
    name = prompt.split()[2]
    right, same, wrong = (f"It is $\\boxed{{{text}}}$." for text in SAID[name])
    # more say one wrong answer than either writing of the right one
    return [right] * 8 + [same] * 5 + [wrong] * 12 + [""] * 7


@pytest.mark.parametrize(
    "task, hub",
    [
        ("btrans_hmmt_feb25", "MathArena/hmmt_feb_2025"),
        ("btrans_hmmt_nov25", "MathArena/hmmt_nov_2025"),
        ("btrans_hmmt_feb26", "MathArena/hmmt_feb_2026"),
    ],
)
def test_formulas_however_written_are_one_answer(tmp_path, monkeypatch, task, hub):
    dataset(tmp_path, hub, "train", rows())
    monkeypatch.chdir(tmp_path)
    results = lm_eval.simple_evaluate(
        Canned(responses), tasks=[task], task_manager=MANAGER, bootstrap_iters=0
    )
    scores = results["config"]["btrans_scores"]
    assert scores["undecided_pairs"] == 0 and "failed_questions" not in scores
    for sample in results["samples"][task]:
        name = sample["doc"]["problem"].split()[1]
        assert sample["mean"] == 13 / 32, name
        assert sample["maj@32"] == 1.0, name  # 13 against 12
        assert (sample["distinct_answers"], sample["invalid_rate"]) == (2, 7 / 32), name


def test_aime_2026_has_its_answers_as_integers(tmp_path, monkeypatch):
    row = {"problem_idx": 1, "answer": 70, "problem": "The one problem.", "problem_type": ["A"]}
    dataset(tmp_path, "MathArena/aime_2026", "train", [row])
    monkeypatch.chdir(tmp_path)
    texts = ["\\boxed{070}"] * 9 + ["The answer is 70."] * 9 + ["\\boxed{71}"] * 10 + [""] * 4
    results = lm_eval.simple_evaluate(
        Canned(lambda prompt: texts), tasks=["btrans_aime26"], task_manager=MANAGER
    )
    (sample,) = results["samples"]["btrans_aime26"]
    assert (sample["mean"], sample["maj@32"]) == (18 / 32, 1.0)
    assert (sample["distinct_answers"], sample["invalid_rate"]) == (2, 4 / 32)
