"""Every language model of the installed transformers, tiny and random, under a population.

    python benchmarks/models.py                  # some twenty minutes on one core
    python benchmarks/models.py qwen3_next zaya  # these families anew

All causal language models, and the text part of models that read images too. Each is examined in a
process of its own, with a time limit. What was found is written line by line to out/models.jsonl,
so that a run goes on where one ended, and at last to docs/models.md.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import exam  # noqa: E402
import tiny_families  # noqa: E402
import transformers  # noqa: E402

SECONDS = 120
FAMILIES = [*tiny_families.names(), *tiny_families.names_with_images()]


def run(found: Path, families: list[str], again: bool) -> None:
    """Examine families, one after another, and note each when it is done."""
    known = {} if again else read(found)
    found.parent.mkdir(parents=True, exist_ok=True)
    for family in families:
        if family not in known:
            verdict = examined(family)
            with found.open("a", encoding="utf-8") as file:
                file.write(json.dumps(verdict) + "\n")
            print(family, summary(verdict), flush=True)


def read(found: Path) -> dict[str, dict[str, Any]]:
    """Verdicts by family; the last one where there are several."""
    if not found.exists():
        return {}
    lines = found.read_text(encoding="utf-8").splitlines()
    return {verdict["family"]: verdict for verdict in map(json.loads, lines)}


def examined(family: str) -> dict[str, Any]:
    # forked, so that transformers is imported once
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_examine, args=(family, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        if ours.poll(SECONDS):
            return dict(ours.recv())
        told = f"no verdict within {SECONDS} seconds"
    except EOFError:
        told = "the process ended without a verdict"
    finally:
        process.kill()
        process.join()
    return asdict(exam.Verdict(family, checks={"attaches": f"traceback: {told}"}))


def _examine(family: str, theirs: Any) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    theirs.send(asdict(exam.examine(family)))


def summary(verdict: dict[str, Any]) -> str:
    """The worst of what was found, in one word."""
    if verdict["built"]:
        return "not built"
    told = [each.partition(":")[0] for each in verdict["checks"].values()]
    for word in ("traceback", "wrong", "refused"):
        if word in told:
            return word
    return "holds"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("families", nargs="*")
    parser.add_argument("--found", type=Path, default=ROOT / "out" / "models.jsonl")
    given = parser.parse_args()
    transformers.logging.set_verbosity_error()
    run(given.found, given.families or FAMILIES, again=bool(given.families))
