"""Which letter votes read in published responses, and which one the harness's filter reads.

    python benchmarks/letters_read.py DIR      # a minute

DIR holds ``model_outputs_MODEL_5shots.zip`` of github.com/TIGER-AI-Lab/MMLU-Pro, ``eval_results/``:
five-shot responses of one model each. The harness's ``mmlu_pro`` takes the first match of its
regular expression, votes the last statement. Models that ``grader_tables`` names were read while
our rules were written; the others, marked "not seen", were not.
"""

from __future__ import annotations

import argparse
import ast
import json
import zipfile
from collections import Counter
from multiprocessing import Pool
from pathlib import Path

from grader_tables import HARNESS_LETTER, MODELS

from btrans_eval.answers.letters import extract_letter

NAMES = ("both, the same", "both, another: ours right", "both, another: theirs right",
         "both, another: neither right", "only ours", "only theirs", "neither")  # fmt: skip


def counted(file: Path) -> Counter[str]:
    """How many responses of a model are read alike, otherwise, or by one alone."""
    with zipfile.ZipFile(file) as packed:
        name = next(n for n in packed.namelist() if n.endswith(".json") and "MACOSX" not in n)
        rows = json.loads(packed.read(name))
    found: Counter[str] = Counter()
    for row in rows if isinstance(rows, list) else rows.values():
        text = row.get("generated_text", row.get("model_outputs")) if isinstance(row, dict) else ""
        if not isinstance(text, str) or not text.strip():
            continue
        options = row["options"]
        options = ast.literal_eval(options) if isinstance(options, str) else options
        shown = text.split("Question:")[0]
        match = HARNESS_LETTER.search(shown)
        found[verdict(extract_letter(shown, len(options)), match and match[1], row["answer"])] += 1
    return found


def verdict(ours: str | None, theirs: str | None, right: str) -> str:
    if ours is None or theirs is None:
        return "neither" if ours is theirs else "only theirs" if ours is None else "only ours"
    if ours == theirs:
        return "both, the same"
    who = "ours" if ours == right else "theirs" if theirs == right else "neither"
    return f"both, another: {who} right"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    files = sorted(parser.parse_args().folder.glob("model_outputs_*_5shots.zip"))
    print("|", " | ".join(["model", "responses", *NAMES]), "|")
    total: Counter[str] = Counter()
    with Pool() as pool:
        for file, found in zip(files, pool.imap(counted, files), strict=True):
            model = file.name.removeprefix("model_outputs_").removesuffix("_5shots.zip")
            line(model + ("" if model in MODELS else " (not seen)"), found)
            total += found
    line("all", total)


def line(name: str, found: Counter[str]) -> None:
    print("|", " | ".join([name, str(found.total()), *(str(found[each]) for each in NAMES)]), "|")


if __name__ == "__main__":
    main()
