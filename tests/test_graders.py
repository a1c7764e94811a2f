"""benchmarks/graders.py on small tables of our own in the layouts that it reads."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from grader_tables import Case  # noqa: E402
from grader_words import _KEYS, WORDS, word_for  # noqa: E402

MATH_VERIFY = r"""
import pytest
raise SystemExit("test files are never run")

@pytest.mark.parametrize(
    "gold, pred, expected",
    [
        ("$3$", "So it is $\\boxed{3}$.", 1),
        ("$3$", "So it is $\\boxed{4}$.", 0),
        ("7", "There are 7 of 9. The answer is 7", 1),
        ("$3$", "Well, \\boxed{3.0001}", True),
        (f"{1}", "\\boxed{1}", 1),
    ],
)
def test_table(gold, pred, expected):
    assert compare_strings(gold, pred) == expected

@pytest.mark.parametrize("text, config", [("a", 1)])
def test_other(text, config):
    pass
"""
MATH_EQUAL = r"""
import pytest

@pytest.mark.parametrize("output_pair", [(5, "5.0"), ("x+1", "1+x"), (1 + 1, 2)])
def test_right(output_pair):
    assert math_equal(output_pair[0], output_pair[1]) is True

@pytest.mark.parametrize("output_pair", [(0, None), ("x", "y")])
def test_wrong(output_pair):
    output = math_equal(output_pair[0], output_pair[1])
    assert output is False
"""
IS_EQUIV = r"""
class TestIsEquiv:
    def test_one(self):
        test_in = "\\frac{1}{2}"
        test_out = "0.5"
        self.assertTrue(is_equiv(test_in, test_out))

    def test_two(self):
        test_in = "3"
        test_out = "4"
        self.assertFalse(is_equiv(test_in, test_out))
"""


def lines(rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(scope="module")
def clones(tmp_path_factory):
    place = tmp_path_factory.mktemp("clones")

    def write(path: str, text: str) -> None:
        file = place / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    write("huggingface+Math-Verify/tests/test_some.py", MATH_VERIFY)
    write("Skills/tests/test_math_equal.py", MATH_EQUAL)
    score = {"generation": "\\boxed{5}", "expected_answer": "5"}
    nemo = [score | {"symbolic_correct": True}, score | {"symbolic_correct": False}]
    write("Skills/tests/data/output-rs0.test", lines(nemo))
    write("hendrycks+math/modeling/math_equivalence_test.py", IS_EQUIV)
    solved = [{"question": "q", "a": {"solution": "So.\nA: 1,200"}, "b": {"solution": "cut of"}}]
    write("grade-school-math/grade_school_math/data/example_model_solutions.jsonl", lines(solved))
    said = ["\\boxed{2}", "\\boxed{3}"]
    qwen = [{"idx": 0, "gt_cot": "so $\\boxed{2}$", "code": said, "score": [True, False]}]
    write("QwenLM+Qwen2.5-Math/evaluation/data/eval_rm_maj_example/math_cot_100.jsonl", lines(qwen))
    rows = [
        {"question_id": 1, "answer": "B", "model_outputs": "The answer is (B)."},
        {"question_id": 2, "answer": "B", "model_outputs": "The answer is \\boxed{B}."},
        {"question_id": 3, "answer": "B", "model_outputs": None},
        "no row",
    ]
    (place / "MMLU-Pro/eval_results").mkdir(parents=True)
    name = "MMLU-Pro/eval_results/model_outputs_DeepSeek-Coder-V2_5shots.zip"
    with zipfile.ZipFile(place / name, "w") as packed:
        packed.writestr("outputs.json", json.dumps(rows))
    return place


def run(*arguments) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / "graders.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_tables_are_parsed_and_never_run(clones):
    done = run("--clones", clones)
    assert "math_verify: 3 of 4 agree" in done.stdout, done.stderr
    assert "3.0001 ≠ 3" in done.stdout
    assert "math_equal: 4 of 4 agree" in done.stdout
    assert "is_equiv: 2 of 2 agree" in done.stdout
    assert "no clone, so no version" in done.stdout
    assert "no clone of QwenLM/Qwen2.5-Math in" not in done.stdout
    assert "unexplained disagreements: 2" in done.stdout and done.returncode == 1


@pytest.mark.parametrize(
    "source, agree, word",
    [
        ("letters", "1 of 2", "  box: 1 "),
        ("solutions", "1 of 1", ""),
        ("math_outputs", "2 of 2", ""),
    ],
)
def test_outputs_are_read_and_explained(clones, source, agree, word):
    done = run("--clones", clones, "--only", source)
    assert f"{source}: {agree} agree" in done.stdout and word in done.stdout, done.stderr
    assert done.stdout.count(" agree\n") == 1
    assert "unexplained disagreements: 0" in done.stdout and done.returncode == 0


def test_a_score_of_ours_that_is_theirs_not_is_unexplained(clones):
    asked = ["--clones", clones, "--only", "skills_outputs"]
    done = run(*asked)
    assert "skills_outputs: 1 of 2 agree" in done.stdout, done.stderr
    assert done.returncode == 1
    assert "1 of 1 agree" in run(*asked, "--limit", 1).stdout


def test_a_clone_that_is_missing_or_holds_nothing_is_named(clones, tmp_path):
    assert "letters: no clone of TIGER-AI-Lab/MMLU-Pro in" in run("--clones", tmp_path).stdout
    (tmp_path / "MMLU-Pro").mkdir()
    done = run("--clones", tmp_path)
    assert done.returncode == 2 and "MMLU-Pro holds no rows" in done.stderr


@pytest.mark.parametrize(
    "ours, theirs, text, word",
    [
        ("C", "B", "The answer is (B). No: the answer is (C).", "last"),
        ("C", "B", "The answer is (B). Then \\boxed{C}", "last"),
        ("B", "C", "The answer is (B). No: the answer is (C).", "unexplained"),
        ("B", None, "so \\(\\boxed{\\text{(B) 12}}\\)", "box"),
        ("A", None, "so \\(\\boxed{B}\\)", "unexplained"),
        ("F", None, "Therefore, the correct answer is:\n\nF. The birth", "form"),
        ("B", None, "The answer is (b).", "form"),
        ("A", None, "The answer is (a) Plan B and (b) Plan A.", "unexplained"),
        ("B", None, "It is B.", "unexplained"),
        (None, "A", "The answer is (A) and (B).", "several"),
        (None, "A", "The answer is (A, B, and I).", "several"),
        (None, "C", "The answer is CE.", "several"),
        (None, "A", "The answer is (A) for the first, (B) for the second.", "several"),
        (None, "C", "The answer is (Cannot be determined).", "word"),
        (None, "A", "The answer is (A) is not correct.", "denied"),
        ("D", None, "The answer is not listed, but the closest one is (D).", "form"),
        ("B", "D", "The answer is (D) - 2, but the closest option is (B) - 3.", "last"),
        (None, "A", "12 litres. The answer is (A", "cut"),
        (None, "A", "The answer is (A).", "unexplained"),
        ("A", "E", "The closest answer is Effectiveness. The answer is (A).", "word"),
    ],
)
def test_words_for_letters_are_checked_on_the_text(ours, theirs, text, word):
    assert word_for(Case("row", "0", "letter", ours, theirs, True, text)) == word


def test_every_key_has_a_meaning_and_stands_once():
    keys = [key for keys in _KEYS.values() for key in keys.split()]
    assert len(keys) == len(set(keys)) and set(map(len, keys)) == {8}
    assert set(_KEYS) <= set(WORDS)
