"""Everything that is needed to run a comparison again."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping
from typing import Any

from btrans_eval.report.study import Study
from btrans_eval.report.tables import Cell, Table
from btrans_eval.report.text import MISSING, clean

_SKIPPED = ("tasks", "model")


def command(study: Study) -> str:
    """What makes this comparison again, to be typed where the folder lies."""
    if (study.folder / "compare.yaml").exists():
        return "btrans-eval compare compare.yaml --output_path ."
    folders = [shlex.quote(arm["folder"]) for arm in study.comparison["arms"]]
    insist = ["--insist"] if study.comparison["insisted"] else []
    return " ".join(["btrans-eval compare", *folders, "--output_path .", *insist])


def resolved(study: Study) -> str | None:
    """compare.yaml as it lies beside the results."""
    file = study.folder / "compare.yaml"
    return clean(file.read_text(encoding="utf-8", errors="replace")) if file.exists() else None


def facts(study: Study) -> Table:
    """One row per fact, one column per arm."""
    of_arms = [
        _facts(written, arm.run.results)
        for written, arm in zip(study.comparison["arms"], study.arms, strict=True)
    ]
    names = list(dict.fromkeys(name for one in of_arms for name in one))
    rows = []
    for name in names:
        values = [one.get(name, MISSING) for one in of_arms]
        if any(value != MISSING for value in values):
            rows.append([Cell(name), *map(Cell, values)])
    columns = ("fact", *(arm.name for arm in study.arms))
    records = [
        {"arm": arm.name, **one} for arm, one in zip(study.arms, of_arms, strict=True)
    ]  # fmt: skip
    return Table("facts", columns, rows, records)


def _facts(written: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, str]:
    config = results["config"]
    population = {
        f"population: {name}": value
        for name, value in written["population"].items()
        if name not in _SKIPPED
    }
    counts = {
        f"documents of {task}": f"{one['effective']} of {one['original']}"
        for task, one in (results.get("n-samples") or {}).items()
    }
    kwargs = {
        f"generation arguments of {task}": one["generation_kwargs"]
        for task, one in results["configs"].items()
        if one.get("generation_kwargs")
    }
    hashes = {f"hash of {task}": value for task, value in (written["task_hashes"] or {}).items()}
    found = {
        "kind": written["kind"],
        "model": written["model"],
        "model type": written["model_type"],
        "model arguments": written["model_args"],
        "model revision": config.get("model_revision"),
        "model hash": config.get("model_sha"),
        "dtype": config.get("model_dtype"),
        "generation arguments": written["gen_kwargs"],
        "temperature": written["temperature"] if written["is_sampled"] else "greedy",
        **population,
        "limit": config.get("limit"),
        "batch size": config.get("batch_size"),
        "device": config.get("device"),
        "seeds of the harness": [
            config.get(f"{name}_seed") for name in ("random", "numpy", "torch", "fewshot")
        ],
        **counts,
        **kwargs,
        **hashes,
        "chat template, SHA-256": written["chat_template_sha"],
        "lm_eval": written["lm_eval_version"],
        "transformers": written["transformers_version"],
        "run on": _day(written["date"]),
        "folder": written["folder"],
    }
    return {name: _text(value) for name, value in found.items()}


def _day(moment: Any) -> str | None:
    """A time stamp as a date in UTC."""
    if not isinstance(moment, (int, float)):
        return moment if isinstance(moment, str) else None
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(moment))


def _text(value: Any) -> str:
    if value is None or value == "" or value == [None] * 4:
        return MISSING
    if isinstance(value, dict):
        return clean(", ".join(f"{key}={_text(inner)}" for key, inner in value.items()))
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return clean(text)
