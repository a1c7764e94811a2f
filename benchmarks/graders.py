"""Our reading and comparing of answers beside what others have published.

    python benchmarks/graders.py --clones DIR [--only NAME]      # some minutes on one processor

DIR holds clones of public repositories, in folders named OWNER+NAME or NAME. Their tables of tests
and outputs of models are read where they lie: test files are parsed, never imported, and nothing of
them is kept here. Printed are repository, commit and the rule by which rows were taken, how many
agree, and each disagreement with one word why. The word comes from a rule on the two texts; exit
code 1 if there is none for one.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from btrans_eval.answers.equivalence import Judge
from btrans_eval.answers.extract import extract

MODELS = (
    "gemini-1.5-flash-002", "Meta-Llama-3_1-8B-Instruct", "Phi-3-mini-4k-instruct",
    "Qwen1.5-7B-Chat", "c4ai-command-r-v01", "Mistral-7B-Instruct-v0.2",
)  # fmt: skip
HARNESS = re.compile(r"answer is \(?([ABCDEFGHIJ])\)?")  # of the harness's mmlu_pro
LETTER = r"\(?[A-J]\)?"


@dataclass
class Case:
    """One row of another's table.

    Attributes:
        name: where it stands.
        theirs: what they say.
        ours: what we say.
        texts: what both is said of.
    """

    name: str
    theirs: Any
    ours: Any
    texts: tuple[str, ...]


# Each disagreement's word: the first rule that holds. A reader can check it on the texts.
Why = tuple[str, Callable[[Case], bool]]
_WORDS = re.compile(r"[A-Za-z]{3,}")
_EUROPEAN = re.compile(r"\d,\d{2}(?!\d)|^0,\d|\d \d{3}|[€²]")
_LISTED = re.compile(
    rf"(?i:answers?|matches|corresponds to|option)[^.\n]{{0,140}}?{LETTER}[^.\n]{{0,60}}?"
    rf"(?:,|and|or|/|&) *(?:both )?{LETTER}|\([A-J]{{2,}}\)|\([A-J] ?[,/&] ?[A-J]"
)
_NO_LETTER = re.compile(
    rf"answer is {LETTER}[a-z'\-]|answer is \([A-Ja-z][a-z]*[ )]|answer is [A-J] ?[A-Z_(=^a-z+*-]"
)
_DENIED = re.compile(
    r"(?i)not (?:the )?(?:correct|listed|clear|possible|given)|incorrect|\bfalse\b|none of"
)
OF_TABLES: list[Why] = [
    ("their-parser", lambda c: c.ours is True and any("\n" in text for text in c.texts)),
    ("thousands", lambda c: c.ours is True and "{,}" in c.texts[1]),
    ("their-flag", lambda c: c.ours is True and "\\in" in c.texts[0]),
    ("order", lambda c: c.ours is True and _parts(c.texts[0]) == _parts(c.texts[1])),
    ("no-number", lambda c: c.texts[0].startswith("\nA:") and c.texts[1] == "None"),
    ("prose", lambda c: len(_WORDS.findall(re.sub(r"\\[a-z]+", "", c.texts[1]))) > 2),
    ("decimal-comma", lambda c: any(map(_EUROPEAN.search, c.texts))),
    ("ratio", lambda c: any(re.search(r"[\dA-Z}]:[\dA-Z]", text) for text in c.texts)),
    ("rounding", lambda c: bool(re.search(r"0?\.\d", c.texts[1]))),
    ("set-or-tuple", lambda c: c.texts[0][1] + c.texts[1][1] == "({"),
    ("multiplicity", lambda c: c.texts[0].count("(") != c.texts[1].count("(") > 2),
    ("algebra", lambda c: c.texts[1].startswith("$-x")),
    ("absolute-value", lambda c: "|" in c.texts[0]),
    ("several-boxes", lambda c: any(text.count("boxed") > 1 for text in c.texts)),
    ("names", lambda c: bool(re.search(r"W\(|p=5|f\(x\)|NO", c.texts[0]))),
    ("relation", lambda c: "=" in c.texts[0]),
]
OF_LETTERS: list[Why] = [
    ("last-not-first", lambda c: c.ours is not None and c.theirs is not None),
    ("other-words", lambda c: c.theirs is None),
    ("several", lambda c: bool(_LISTED.search(c.texts[0]))),
    ("taken-back", lambda c: bool(_DENIED.search(c.texts[0]))),
    ("no-letter", lambda c: bool(_NO_LETTER.search(c.texts[0]))),
    ("cut-off", lambda c: bool(re.search(r"answer is \(?[A-J]?$", c.texts[0].rstrip()))),
]


def _parts(text: str) -> list[str]:
    return sorted(part.strip(" 0") for part in text.split(","))


# ------------------------------------------------------------------------------ test tables
def _parametrized(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, values by name) of rows of ``pytest.mark.parametrize`` that are literals."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "parametrize"):
            continue
        names, rows = _literal(node.args[0]), node.args[1]
        listed = names.split(",") if isinstance(names, str) else list(names or ())
        for row in rows.elts if isinstance(rows, (ast.List, ast.Tuple)) else ():
            values = _literal(row)
            if isinstance(values, tuple) and (len(values) == len(listed) or len(listed) == 1):
                several = zip((n.strip() for n in listed), values, strict=False)
                yield row.lineno, dict(several) if len(listed) > 1 else {"pair": values}


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def math_verify(folder: Path, judge: Judge) -> list[Case]:
    """tests/test_*.py: rows of literal gold, pred and expected, gold and pred being texts."""
    rows = []
    for path in sorted((folder / "tests").glob("test_*.py")):
        for line, row in _parametrized(path):
            gold, said, expected = (row.get(name) for name in ("gold", "pred", "expected"))
            if (
                isinstance(gold, str)
                and isinstance(said, str)
                and isinstance(expected, (int, bool))
            ):
                rows.append((f"{path.name}:{line}", gold, said, bool(expected)))

    def read(text: str) -> str:
        return extract(text, "latex") or text.strip().strip("$")

    verdicts = judge.equal_pairs([(read(a), read(b), "latex") for _, a, b, _ in rows])
    return [Case(name, yes, bool(same), (a, b))
            for (name, a, b, yes), same in zip(rows, verdicts, strict=True)]  # fmt: skip


def math_equal(folder: Path, judge: Judge) -> list[Case]:
    """tests/test_math_equal.py: all pairs of correct and incorrect examples."""
    path = folder / "tests" / "test_math_equal.py"
    source = path.read_text(encoding="utf-8").splitlines()
    rows = []
    for line, row in _parametrized(path):
        after = "\n".join(source[line:]).partition("def test_")[2]
        rows.append((line, *map(str, row["pair"]), not after.startswith("incorrect")))
    verdicts = judge.equal_pairs([(a, b, "latex") for _, a, b, _ in rows])
    return [Case(f"line {line}", yes, bool(same), (a, b))
            for (line, a, b, yes), same in zip(rows, verdicts, strict=True)]  # fmt: skip


def is_equiv(folder: Path, judge: Judge) -> list[Case]:
    """modeling/math_equivalence_test.py: every test's two texts and what is asserted of them."""
    rows = []
    tree = ast.parse((folder / "modeling" / "math_equivalence_test.py").read_text(encoding="utf-8"))
    for test in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        held: dict[str, Any] = {}
        for step in test.body:
            if isinstance(step, ast.Assign) and isinstance(step.targets[0], ast.Name):
                held[step.targets[0].id] = _literal(step.value)
            elif isinstance(step, ast.Expr) and isinstance(step.value, ast.Call):
                asserted = getattr(step.value.func, "attr", "")
                rows.append(
                    (test.name, held["test_in"], held["test_out"], asserted == "assertTrue")
                )
    verdicts = judge.equal_pairs([(a, b, "latex") for _, a, b, _ in rows])
    return [Case(name, yes, bool(same), (a, b))
            for (name, a, b, yes), same in zip(rows, verdicts, strict=True)]  # fmt: skip


# --------------------------------------------------------------------------- public outputs
def solutions(folder: Path, judge: Judge) -> list[Case]:
    """grade_school_math/data/example_model_solutions.jsonl: every solution's last line "A: …"."""
    found = []
    path = folder / "grade_school_math" / "data" / "example_model_solutions.jsonl"
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        for model, one in json.loads(line).items():
            said = isinstance(one, dict) and re.search(r"\nA: *(.*?)\s*\Z", one["solution"])
            if said:
                ours = extract(one["solution"], "number")
                plain = said[1].replace(",", "").lstrip("$")
                try:
                    same = ours is not None and Fraction(ours) == Fraction(plain)
                except ValueError:  # no number: "-1.8 billion", "10+John's age"
                    same = ours is None
                found.append(Case(f"{number} {model}", True, same, (said[0], str(ours))))
    return found


def math_outputs(folder: Path, judge: Judge) -> list[Case]:
    """evaluation/data/eval_rm_maj_example/math_cot_100.jsonl: 100 questions × 8 outputs, scored."""
    path = folder / "evaluation" / "data" / "eval_rm_maj_example" / "math_cot_100.jsonl"
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        outputs = row["code"] if isinstance(row["code"], list) else ast.literal_eval(row["code"])
        for text, score in zip(outputs, row["score"], strict=True):
            rows.append((str(row["idx"]), extract(text, "latex") or "\0", row["answer"], score))
    verdicts = judge.equal_pairs([(a, gold, "latex") for _, a, gold, _ in rows])
    return [Case(name, yes, bool(same), (a, gold))
            for (name, a, gold, yes), same in zip(rows, verdicts, strict=True)]  # fmt: skip


def skills_outputs(folder: Path, judge: Judge) -> list[Case]:
    """tests/data/score_rm_inputs/*.jsonl: every output with its symbolic score."""
    rows = []
    for path in sorted((folder / "tests" / "data" / "score_rm_inputs").glob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
            row = json.loads(line)
            said = extract(row["generation"], "latex") or "\0"
            name = f"{path.name}:{number}"
            rows.append((name, said, str(row["expected_answer"]), row["symbolic_correct"]))
    verdicts = judge.equal_pairs([(a, gold, "latex") for _, a, gold, _ in rows])
    return [Case(name, yes, bool(same), (a, gold))
            for (name, a, gold, yes), same in zip(rows, verdicts, strict=True)]  # fmt: skip


def letters(folder: Path, judge: Judge) -> list[Case]:
    """eval_results: six models, every 8th question by id; theirs is the harness's first match."""
    found = []
    for model in MODELS:
        with zipfile.ZipFile(folder / "eval_results" / f"model_outputs_{model}_5shots.zip") as file:
            (name,) = (name for name in file.namelist() if name.endswith(".json"))
            rows = json.loads(file.read(name))
        for row in sorted(rows, key=lambda row: int(row["question_id"]))[::8]:
            text = row.get("model_outputs") or row.get("generated_text") or ""
            first = HARNESS.search(text)
            theirs, ours = first and first[1], extract(text, "letter")
            found.append(Case(f"{model} {row['question_id']}", theirs, ours, (text,)))
    return found


SECTIONS: dict[str, tuple[str, Callable[[Path, Judge], list[Case]], list[Why]]] = {
    "math_verify": ("huggingface/Math-Verify", math_verify, OF_TABLES),
    "math_equal": ("NVIDIA-NeMo/Skills", math_equal, OF_TABLES),
    "is_equiv": ("hendrycks/math", is_equiv, OF_TABLES),
    "solutions": ("openai/grade-school-math", solutions, OF_TABLES),
    "math_outputs": ("QwenLM/Qwen2.5-Math", math_outputs, OF_TABLES),
    "skills_outputs": ("NVIDIA-NeMo/Skills", skills_outputs, OF_TABLES),
    "letters": ("TIGER-AI-Lab/MMLU-Pro", letters, OF_LETTERS),
}


def show(name: str, folder: Path, judge: Judge, whole: bool) -> int:
    """Print one section; how many disagreements nothing explains."""
    repository, cases_of, whys = SECTIONS[name]
    cases = cases_of(folder, judge)
    apart = [case for case in cases if case.theirs != case.ours]
    merges = sum(case.ours is True and case.theirs is False for case in apart)
    print(f"\n## {name}: {repository} {_commit(folder)}\n{cases_of.__doc__}")
    print(f"{len(cases) - len(apart)} of {len(cases)} agree; equal here and not there: {merges}")
    words = {
        id(case): next((word for word, is_so in whys if is_so(case)), "unexplained")
        for case in apart
    }
    print(", ".join(f"{word} {count}" for word, count in Counter(words.values()).most_common()))
    for case in apart:
        if whole or words[id(case)] == "unexplained" or len(apart) < 80:
            texts = " | ".join(repr(text[-100:]) for text in case.texts)
            said = f"theirs {case.theirs}, ours {case.ours}"
            print(f"  {words[id(case)]:16} {case.name}: {said}: {texts}")
    return Counter(words.values())["unexplained"]


def _commit(folder: Path) -> str:
    done = subprocess.run(["git", "-C", str(folder), "rev-parse", "--short=12", "HEAD"],
                          capture_output=True, text=True)  # fmt: skip
    return done.stdout.strip() or "(no clone)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clones", type=Path, required=True, help="folder of the clones")
    parser.add_argument("--only", choices=SECTIONS, help="one section")
    parser.add_argument("--all", action="store_true", help="print every disagreement")
    given = parser.parse_args()
    unexplained = 0
    with Judge() as judge:
        for name, (repository, _, _) in SECTIONS.items():
            places = [
                given.clones / repository.replace("/", "+"),
                given.clones / Path(repository).name,
            ]
            folder = next((place for place in places if place.is_dir()), None)
            if given.only in (None, name):
                if folder is None:
                    print(f"\n## {name}: no clone of {repository} in {given.clones}")
                else:
                    unexplained += show(name, folder, judge, given.all)
    sys.exit(1 if unexplained else 0)


if __name__ == "__main__":
    main()
