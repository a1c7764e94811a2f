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
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "vllm_engine")]

import exam  # noqa: E402
import small_checkpoints  # noqa: E402
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
    for word in ("traceback", "wrong", "stock", "refused"):
        if word in told:
            return word
    return "holds"


# ---------------------------------------------------------------------------- the page
TITLE = """# Models

Written by `benchmarks/models.py` (transformers {release}). Tiny random models of every family, in
float64 where they allow it, each tried under a population:

{checks}

A row names the model type, how many layers carry noise and of which classes, how responses are
generated (rows that are *refilled*, or *static* batches), what is refused in one line, and vLLM:

- *tested*: members have been compared with those of `btrans-hf` (`tests/vllm_engine`);
- *refused*: a layer's noise goes before a gate, or into one of several norms that a module returns,
  and vLLM cannot put it there;
- *when started*: whether every layer is there, holds the checkpoint's weight and lets noise through
  is found out when vLLM starts, and what does not is refused.

| | causal language models | text part of models that read images |
|---|---|---|
"""
COUNTS = {
    "holds": "all checks hold",
    "refused": "something is refused in one line, all else holds",
    "stock": "the model itself fails at something, without noise",
    "wrong": "a member is not that of the formula",
    "traceback": "an error that is not ours",
    "not built": "not examined",
}


def page(known: dict[str, dict[str, Any]]) -> str:
    """The table of all families."""
    checks = [f"- {name}: {_sentence(check)}" for name, check in exam.CHECKS.items()]
    checks.append("- refilled texts are those of static batches")
    text = TITLE.format(release=transformers.__version__, checks="\n".join(checks))
    groups = [
        [known[name] for name in names if name in known]
        for names in (tiny_families.names(), tiny_families.names_with_images())
    ]
    for word, told in COUNTS.items():
        counts = [sum(summary(verdict) == word for verdict in group) for group in groups]
        text += f"| {told} | {counts[0]} | {counts[1]} |\n"
    for way in ("refilled", "static"):
        counts = [sum(each["batching"].startswith(way) for each in group) for group in groups]
        text += f"| {way} | {counts[0]} | {counts[1]} |\n"
    for title, group in zip(("Causal language models", "With images"), groups, strict=True):
        text += f"\n## {title}\n\n| family | norms | batches | refused, wrong | vLLM |\n"
        text += "|---|---|---|---|---|\n"
        text += "".join(map(_row, (each for each in group if not each["built"])))
    text += "\n## What carries no noise\n\n"
    for verdict in (verdict for group in groups for verdict in group if verdict["notes"]):
        text += f"- `{verdict['family']}`: {'; '.join(verdict['notes'])}\n"
    text += "\n## Not examined\n\n"
    for verdict in (verdict for group in groups for verdict in group if verdict["built"]):
        text += f"- `{verdict['family']}`: {verdict['built']}\n"
    return text


def _sentence(check: Any) -> str:
    return " ".join((check.__doc__ or "").split()).rstrip(".")


def _row(verdict: dict[str, Any]) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(verdict["kinds"].items()))
    special = [f"{verdict['gated']} before a gate"] * bool(verdict["gated"])
    special += [f"{verdict['parts']} of several"] * bool(verdict["parts"])
    norms = f"{verdict['norms']}: {kinds}" + "".join(f"; {each}" for each in special)
    told: dict[str, list[str]] = {}
    for name, each in verdict["checks"].items():
        if each != "holds":
            told.setdefault(each, []).append(name)
    others = "<br>".join(f"{', '.join(names)}: {each}" for each, names in told.items())
    cells = [f"`{verdict['family']}`", norms, verdict["batching"], others, _vllm(verdict)]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _vllm(verdict: dict[str, Any]) -> str:
    if verdict["checks"]["attaches"] != "holds":
        return ""
    if verdict["gated"] or verdict["parts"]:
        return "refused"
    tested = {name.replace("-", "_") for name in small_checkpoints.FAMILIES}
    return "tested" if verdict["family"] in tested else "when started"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("families", nargs="*")
    parser.add_argument("--found", type=Path, default=ROOT / "out" / "models.jsonl")
    given = parser.parse_args()
    transformers.logging.set_verbosity_error()
    run(given.found, given.families or FAMILIES, again=bool(given.families))
    (ROOT / "docs" / "models.md").write_text(page(read(given.found)), encoding="utf-8")
