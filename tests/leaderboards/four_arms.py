"""A comparison of four arms on two tasks as the harness and btrans-eval write it; no model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from btrans_eval import results
from btrans_eval.compare import analysis, join
from btrans_eval.leaderboards import ExportOptions

BASE = "org/base"
SCORED, STORIES = "btrans_sums", "btrans_stories"
ARMS = {
    "stock": (0.0, None),
    "stock@0.7": (0.0, 0.7),
    "population": (0.01, None),
    "population@0.7": (0.01, 0.7),
}
# what each of four members says to questions 0, 1, 2, whose answers are 0, 1, 2; None: no answer
SAID: Mapping[str, Sequence[Sequence[int | None]]] = {
    "stock": ((0, 0, 0, 0), (9, 9, 9, 9), (9, 9, 9, 9)),
    "stock@0.7": ((0, 0, 0, 9), (1, 9, 8, 7), (2, 9, 2, 9)),
    "population": ((0, 0, 0, 0), (1, 9, 1, 9), (9, 9, None, 2)),
    "population@0.7": ((0, 9, 9, 9), (1, 1, 1, None), (9, 9, 9, 9)),
}
NASTY = "line\u2028separator \x85 \ud800 \x00 </script> 'q' \"q\" 👩"


def options(**given: Any) -> ExportOptions:
    return ExportOptions("me/base-B-Trans", BASE, **given)


def row(task: str, q: int, said: Sequence[int | None]) -> dict[str, Any]:
    """One line of samples_*.jsonl."""
    scored = task != STORIES
    classes = list(dict.fromkeys(answer for answer in said if answer is not None))
    filtered = [
        json.dumps(
            {
                "answer": None if answer is None or not scored else str(answer),
                "class": None if answer is None or not scored else classes.index(answer),
                "scores": {"score": float(answer == q)} if scored else {},
                "tokens": 7,
                "truncated": answer is None,
            }
        )
        for answer in said
    ]
    columns = {"mean_tokens": 7.0, "truncated_rate": 0.25, "vendi": 1.5}
    return {
        "doc_id": q,
        "doc": {"task": task, "question": f"{q} + 0"},
        "target": str(q) if scored else "",
        "arguments": {"gen_args_0": {"arg_0": f"system prompt\nWhat is {q} + 0? {NASTY}"}},
        "resps": [[f"I say {answer}. {NASTY}" for answer in said]],
        "filtered_resps": [filtered],
        "filter": "population",
        "metrics": list(columns),
        **columns,
    }


def results_file(name: str, tasks: Sequence[str], dataset: str, kind: str) -> dict[str, Any]:
    sigma, temperature = ARMS[name]
    used = {
        "version": "0.1.0", "model": BASE, "noise_scheme": 1, "sampling_scheme": 1,
        "answers_scheme": 1, "sigma": sigma, "mu": 0.0, "prior": "isotropic",
        "noise": "sequence", "norms": "all", "norms_matched": 61, "seed": 3,
        "tasks": {task: {"members": 4, "samples": 1, "returned": "all", "answers": ["number"]}
                  for task in tasks},
    }  # fmt: skip
    sampling = {} if temperature is None else {"temperature": temperature}
    config = {
        "model": kind,
        "model_args": {"pretrained": BASE, "dtype": "float32", "sigma": sigma, "store": name},
        "model_sha": "abc123", "model_dtype": "torch.float32", "model_revision": "main",
        "gen_kwargs": {"do_sample": temperature is not None, **sampling},
        "limit": None, "random_seed": 0, "numpy_seed": 1234, "torch_seed": 1234,
        "btrans_scores": {},
    }  # fmt: skip
    if kind == "btrans-hf":
        config["btrans"] = used
    own = {
        "dataset_path": dataset, "dataset_name": "main", "test_split": "test",
        "doc_to_text": "What is {{question}}?", "doc_to_target": "{{answer}}",
        "generation_kwargs": {"max_gen_toks": 32, "until": ["\n"], "top_p": 1.0, "top_k": 0},
    }  # fmt: skip
    return {
        "results": {task: {} for task in tasks},
        "configs": {task: own | {"task": task} for task in tasks},
        "config": config,
        "versions": dict.fromkeys(tasks, 2.0),
        "n-shot": dict.fromkeys(tasks, 0),
        "n-samples": {task: {"original": 3, "effective": 3} for task in tasks},
        "higher_is_better": {task: {"mean": True} for task in tasks},
        "task_hashes": {task: f"hash of {task}" for task in tasks},
        "model_name": BASE,
        "date": 1795466334.0169592,
        "lm_eval_version": "0.4.13",
        "transformers_version": "5.23.0",
        "chat_template_sha": "872be4",
    }


def write(
    folder: Path,
    names: Sequence[str] = tuple(ARMS),
    tasks: Sequence[str] = (SCORED, STORIES),
    calls: int = 4,
    dataset: str = "org/sums",
    group: str | None = None,
    stock_kind: str = "btrans-hf",
    change: Callable[[str, dict[str, Any]], None] = lambda name, results: None,
    change_row: Callable[[str, dict[str, Any]], None] = lambda name, row: None,
    insist: bool = False,
) -> Path:
    """Write the arms' runs and their comparison; returns the folder of the comparison.

    ``change`` and ``change_row`` edit an arm's results file and its rows before they are written.
    """
    for name in names:
        place = folder / "arms" / name
        place.mkdir(parents=True)
        kind = stock_kind if name.startswith("stock") else "btrans-hf"
        document = results_file(name, tasks, dataset, kind)
        if group:
            document |= {"group_subtasks": {group: list(tasks)}, "groups": {group: {}}}
        change(name, document)
        (place / "results_2026.json").write_text(json.dumps(document))
        for task in tasks:
            found = [row(task, q, SAID[name][q][:calls]) for q in range(3)]
            for each in found:
                change_row(name, each)
            lines = "".join(json.dumps(each) + "\n" for each in found)
            (place / f"samples_{task}_2026.jsonl").write_text(lines)
    arms = [join.as_arm(results.load(folder / "arms" / name, name)) for name in names]
    compared = analysis.compare(arms, join.join(arms, insist), insist)
    for arm in compared["arms"]:
        arm["folder"] = str(Path(arm["folder"]).relative_to(folder))
    (folder / "comparison.json").write_text(json.dumps(compared))
    return folder


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change comparison.json after it was written."""
    file = folder / "comparison.json"
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))
