"""The test tables and published outputs that ``graders.py`` reads, where they lie in their clones.

Test files are parsed and never run; nothing of them is kept here.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from btrans_eval.answers.extract import extract
from btrans_eval.answers.gold import kind_of_gold

Row = TypeVar("Row")

HARNESS_LETTER = re.compile(r"answer is \(?([ABCDEFGHIJ])\)?")
"""What the harness's mmlu_pro takes, at its first match."""


@dataclass(frozen=True)
class Case:
    """One row: whether we find two answers equal, against what others say of them.

    Attributes:
        place: file and line, or row.
        key: eight digits that name the row and what was read of it.
        kind: the kind of both answers.
        ours: the answer that we read; None where we read none.
        other: what it is compared with; None where they read none, which equals our none.
        expected: whether others find them equal.
        text: the response that ours was read from.
        right: the row's gold answer, where ``other`` is another reading of the response.
    """

    place: str
    key: str
    kind: str
    ours: str | None
    other: str | None
    expected: bool
    text: str = ""
    right: str | None = None


@dataclass(frozen=True)
class Source:
    """A table or a set of outputs in a public repository.

    Attributes:
        name: what it is called here.
        repository: where it is published.
        patterns: its files within a clone.
        rule: which rows are taken, and how they are read.
        cases: reads the rows of a file, given with its path within the clone.
    """

    name: str
    repository: str
    patterns: tuple[str, ...]
    rule: str
    cases: Callable[[Path, str], Iterator[Case]]


def key_of(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]


def spread(rows: list[Row], count: int) -> list[Row]:
    """At most ``count`` of the rows, at equal distances."""
    count = min(count, len(rows))
    return [rows[number * len(rows) // count] for number in range(count)]


def _parametrized(file: Path) -> Iterator[tuple[Any, list[str], Any]]:
    """(function, names of the columns, row) of each row of pytest's parametrize."""
    function: Any
    for function in ast.walk(ast.parse(file.read_text("utf-8"))):
        for call in getattr(function, "decorator_list", []):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.parametrize":
                columns = ast.literal_eval(call.args[0]).replace(" ", "").split(",")
                rows: Any = call.args[1]
                for row in rows.elts:
                    yield function, columns, row


def _literal(row: ast.expr) -> Any:
    """The row's value; None where it is computed."""
    try:
        return ast.literal_eval(row)
    except ValueError:
        return None


def _math_verify(file: Path, path: str) -> Iterator[Case]:
    for _, columns, row in _parametrized(file):
        if columns[:2] == ["gold", "pred"] and (values := _literal(row)):
            named = dict(zip(columns, values, strict=True))
            gold, said = named["gold"], named["pred"]
            kind = "number" if kind_of_gold(gold, {}) == "number" else "latex"
            expected = bool(named["expected"] if "expected" in named else named["result"])
            place = f"{path}:{row.lineno}"
            ours, other = (extract(text, kind) or text for text in (said, gold))
            yield Case(place, key_of(*values, ours, other), kind, ours, other, expected, said)


def _math_equal(file: Path, path: str) -> Iterator[Case]:
    for function, _, row in _parametrized(file):
        tests: list[Any] = [one.test for one in function.body if isinstance(one, ast.Assert)]
        asserted = {test.comparators[0].value for test in tests}
        if values := _literal(row):
            one, other = (None if value is None else str(value) for value in values)
            place = f"{path}:{row.lineno}"
            yield Case(place, key_of(*values), "latex", one, other, asserted == {True})


def _is_equiv(file: Path, path: str) -> Iterator[Case]:
    test: Any
    for test in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(test, ast.FunctionDef):
            body: list[Any] = test.body
            *given, asked = body
            one, other = (ast.literal_eval(each.value) for each in given)
            expected = asked.value.func.attr == "assertTrue"
            place = f"{path}:{test.lineno}"
            yield Case(place, key_of(one, other), "latex", one, other, expected)


def _rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def _mmlu_pro(file: Path, path: str) -> Iterator[Case]:
    with zipfile.ZipFile(file) as packed:
        rows = json.loads(packed.read(packed.namelist()[0]))
    said = [
        (row["question_id"], text, row["answer"])
        for row in rows
        if isinstance(row, dict)
        and isinstance(text := row.get("generated_text", row.get("model_outputs")), str)
    ]
    model = Path(path).stem.removeprefix("model_outputs_")
    for name, text, right in spread(said, 1500):
        shown = text.split("Question:")[0]
        match = HARNESS_LETTER.search(shown)
        theirs = match[1] if match else None
        ours = extract(shown, "letter")
        place = f"{model} {name}"
        yield Case(place, key_of(place, ours, theirs), "letter", ours, theirs, True, shown, right)


def _gsm8k(file: Path, path: str) -> Iterator[Case]:
    for number, row in enumerate(_rows(file)):
        for model, held in row.items():
            text = held["solution"] if isinstance(held, dict) else ""
            before, mark, theirs = text.rpartition("\nA: ")
            if mark:
                place = f"row {number} {model}"
                ours, other = (extract(one, "number") for one in (text, theirs))
                yield Case(place, key_of(place, ours, other), "number", ours, other, True, text)


def _qwen(file: Path, path: str) -> Iterator[Case]:
    for row in _rows(file):
        gold = extract(row["gt_cot"], "latex")
        for number, (text, score) in enumerate(zip(row["code"], row["score"], strict=True)):
            place, ours = f"row {row['idx']} sample {number}", extract(text, "latex")
            yield Case(place, key_of(place, ours, gold), "latex", ours, gold, score, text)


def _nemo_outputs(file: Path, path: str) -> Iterator[Case]:
    for number, row in enumerate(_rows(file)):
        text, gold, score = row["generation"], row["expected_answer"], row["symbolic_correct"]
        place, ours = f"{Path(path).name} row {number}", extract(text, "latex")
        yield Case(place, key_of(place, ours, gold), "latex", ours, gold, score, text)


MODELS = (
    "gemini-1.5-flash-002", "Meta-Llama-3_1-8B-Instruct", "Phi-3-mini-4k-instruct",
    "Qwen1.5-7B-Chat", "c4ai-command-r-v01", "Mistral-7B-Instruct-v0.2", "DeepSeek-Coder-V2",
    "gemini-1.5-pro-002",
)  # fmt: skip
SOURCES = [
    Source(
        "math_verify", "huggingface/Math-Verify", ("tests/test_*.py",),
        "every literal row whose columns begin with gold, pred, whatever options it names; each "
        "side read by our extractor of the gold's kind, or whole where that finds nothing",
        _math_verify,
    ),
    Source(
        "math_equal", "NVIDIA-NeMo/Skills", ("tests/test_math_equal.py",),
        "every literal pair, in the order given", _math_equal,
    ),
    Source(
        "is_equiv", "hendrycks/math", ("modeling/math_equivalence_test.py",), "every test",
        _is_equiv,
    ),
    Source(
        "letters", "TIGER-AI-Lab/MMLU-Pro",
        tuple(f"eval_results/model_outputs_{model}_5shots.zip" for model in MODELS),
        "of each model's rows that hold a text 1,500 at equal distances, up to \"Question:\"; our "
        "letter against the first match of the harness's regular expression",
        _mmlu_pro,
    ),
    Source(
        "solutions", "openai/grade-school-math",
        ("grade_school_math/data/example_model_solutions.jsonl",),
        "every solution with a line \"A: \"; our number of the whole against that of the line",
        _gsm8k,
    ),
    Source(
        "math_outputs", "QwenLM/Qwen2.5-Math",
        ("evaluation/data/eval_rm_maj_example/math_cot_100.jsonl",),
        "every output; ours equal to the answer of the reference solution, against their score",
        _qwen,
    ),
    Source(
        "skills_outputs", "NVIDIA-NeMo/Skills", ("tests/data/output-rs*.test",),
        "every output; ours equal to the expected answer, against their score", _nemo_outputs,
    ),
]  # fmt: skip
