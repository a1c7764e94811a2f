"""The kind of a gold answer, and the gold answers of real benchmarks told as responses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from btrans_eval.answers.expressions import extract_latex
from btrans_eval.answers.gold import kind_of_gold
from btrans_eval.answers.letters import extract_letter
from btrans_eval.answers.numbers import extract_integer, extract_number

HUB = Path(__file__).parents[2] / "../shared/hub"


def rows(path: str) -> list[dict[str, Any]]:
    file = HUB / path
    if not file.exists():
        pytest.skip(f"no real rows: {file} is absent")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("task", "path", "column", "kind"),
    [
        ("mmlu_pro_math", "TIGER-Lab/MMLU-Pro/test.jsonl", "answer", "letter"),
        ("gsm8k_cot_zeroshot", "openai/gsm8k/main/test.jsonl", "answer", "number"),
        ("aime24", "Maxwell-Jia/AIME_2024/train.jsonl", "Answer", "integer"),
        ("hendrycks_math500", "HuggingFaceH4/MATH-500/test.jsonl", "answer", "latex"),
        ("minerva_math500", "HuggingFaceH4/MATH-500/test.jsonl", "answer", "latex"),
        ("minervamath", "math-ai/minervamath/test.jsonl", "answer", "latex"),
    ],
)
def test_kind_of_real_rows(task: str, path: str, column: str, kind: str) -> None:
    """All rows of a task have one kind: the votes on two questions then mean the same."""
    for row in rows(path):
        assert kind_of_gold(row[column], row) == kind, (task, row)
        assert kind_of_gold(str(row[column]), row) == kind, (task, row)
        assert kind_of_gold([row[column]], row) == kind, (task, row)


def test_gsm8k_target_after_the_marks() -> None:
    """gsm8k_cot splits the target at ####; its few-shot rows have no answer column."""
    for row in rows("openai/gsm8k/main/test.jsonl"):
        assert kind_of_gold(row["answer"].split("####")[-1].strip(), row) == "number"


def test_real_gold_solutions_give_their_answers() -> None:
    """A solution worked out by hand is a response too: what is extracted must be the gold."""
    for row in rows("openai/gsm8k/main/test.jsonl"):
        gold = row["answer"].split("####")[-1].strip().replace(",", "")
        assert extract_number(row["answer"]) == gold
        assert extract_number(f"The answer is {gold}.") == gold
    for row in rows("TIGER-Lab/MMLU-Pro/validation.jsonl"):
        assert extract_letter(row["cot_content"]) == row["answer"]
        option = row["options"][row["answer_index"]]
        assert extract_letter(f"The answer is ({row['answer']}) {option}") == row["answer"]
    for row in rows("HuggingFaceH4/MATH-500/test.jsonl"):
        assert extract_latex(f"So it is $\\boxed{{{row['answer']}}}$.") == row["answer"]
        said = f"Final Answer: The final answer is ${row['answer']}$. I hope it is correct."
        assert extract_latex(said) in (row["answer"], None)
    for row in rows("Maxwell-Jia/AIME_2024/train.jsonl"):
        found = extract_integer(row["Solution"])
        assert found in (str(row["Answer"]), None), row["ID"]


@pytest.mark.parametrize(
    ("target", "doc", "kind"),
    [
        ("(B)", {"question": "", "choices": ["x", "y"]}, "letter"),
        ("B", {"question": "", "options": ["x", "y"]}, "letter"),
        (1, {"question": "", "choices": ["x", "y"]}, "letter"),
        ("B", {"question": "a vitamin"}, "text"),
        ("70", {"id": "0", "problem": "", "answer": "70"}, "integer"),
        ("-70", {"id": "0", "problem": "", "answer": "-70"}, "number"),
        ("1,234.50", {"question": ""}, "number"),
        ("$18", {"question": ""}, "number"),
        ("-3", {"question": ""}, "number"),
        (204, {"question": ""}, "number"),
        (0.5, {"question": ""}, "number"),
        ("50%", {"question": ""}, "number"),
        ("They split 18.\n#### 18", {"question": ""}, "number"),
        ("9", {"problem": "", "solution": "so $\\boxed{9}$", "answer": "9"}, "latex"),
        ("\\frac{1}{2}", {"problem": ""}, "latex"),
        ("$x$", {"problem": ""}, "latex"),
        ("x^2", {"problem": ""}, "latex"),
        ("52_8", {"problem": ""}, "latex"),
        ("Paris", {"question": ""}, "text"),
        ("He paid $5 for it", {"question": ""}, "text"),
        ("a_snake_case name", {"question": ""}, "text"),
        ("", {"question": ""}, "text"),
        ([], {"question": ""}, "text"),
        (["9", "10"], {"question": ""}, "number"),
        (["9", "ten"], {"question": ""}, "text"),
        (None, {}, "text"),
    ],
)
def test_kind_of_gold(target: object, doc: dict[str, object], kind: str) -> None:
    assert kind_of_gold(target, doc) == kind
