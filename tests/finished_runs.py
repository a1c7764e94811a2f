"""Finished runs as the harness writes them, without a model."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from btrans_eval import results
from btrans_eval.compare import analysis, join

NASTY = (
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 2'> & \"quoted\" 'text' \u2028 \u2029",
    "\x00 \x1b[31m \ud800 👩‍🚀 مرحبا \u202e dlrow $x^2$",
    "long " * 20_000,
)
ARMS = {
    "stock_greedy": (0.0, False),
    "stock_sampled": (0.0, True),
    "population_greedy": (0.01, False),
    "population_sampled": (0.01, True),
}
TASKS = ("sums", "stories")


def write_run(
    folder: Path,
    sigma: float,
    sampled: bool,
    tasks: Sequence[str] = TASKS,
    questions: int = 6,
    calls: int = 4,
    group: str | None = None,
    failed: int = 0,
    texts: Sequence[str] = (),
) -> None:
    """One run of our model type; ``stories`` has no scores, every other task has."""
    folder.mkdir(parents=True)
    kwargs = {"do_sample": True, "temperature": 0.7} if sampled else {"do_sample": False}
    settings = {"sigma": sigma, "mu": 0.0, "prior": "isotropic", "noise": "sequence"}
    used = {"norms": "all", "seed": 0, "tasks": {task: {"members": calls} for task in tasks}}
    config: dict[str, Any] = {
        "model": "btrans-hf",
        "model_args": {"pretrained": "org/tiny", "sigma": sigma},
        "model_sha": "abc123",
        "gen_kwargs": kwargs,
        "limit": None,
        "btrans": {"version": "0.1.0", **settings, **used},
    }
    if failed:
        config["btrans_scores"] = {"failed_questions": {tasks[0]: failed}}
    document = {
        "results": {task: {} for task in tasks},
        "configs": {task: {"generation_kwargs": {"max_gen_toks": 32}} for task in tasks},
        "config": config,
        "versions": dict.fromkeys(tasks, 1.0),
        "n-shot": dict.fromkeys(tasks, 0),
        "n-samples": {task: {"original": 72, "effective": questions} for task in tasks},
        "group_subtasks": {group: list(tasks)} if group else {},
        "groups": {group: {}} if group else {},
        "model_name": "org/tiny",
        "date": 1.7e9,
        "task_hashes": {task: f"hash of {task}" for task in tasks},
        "chat_template_sha": "872be4",
    }
    (folder / "results_2026.json").write_text(json.dumps(document))
    for task in tasks:
        rows = [_row(task, q, calls, sigma, sampled, texts) for q in range(questions)]
        (folder / f"samples_{task}_2026.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in rows)
        )


def _row(
    task: str, q: int, calls: int, sigma: float, sampled: bool, texts: Sequence[str]
) -> dict[str, Any]:
    draw_name = f"{task} {q} {sigma} {sampled}"
    draw = random.Random(draw_name)
    scored = task != "stories"
    said, filtered = [], []
    for r in range(calls):
        moves = sigma or sampled
        answer = str(q + (draw.choice([0, 0, 0, 1, 2]) if moves else q % 2)) if scored else None
        invalid = scored and moves and draw.random() < 0.1
        right = float(answer == str(q) and not invalid)
        text = f"I think the answer is {answer}" if scored else f"a story about {draw.random()}"
        said.append(texts[(q + r) % len(texts)] if texts else text)
        one = {
            "answer": None if invalid else answer,
            "class": None if invalid or not scored else int(answer or 0) - q,
            "scores": {"score": right} if scored else {},
            "tokens": 7,
            "truncated": bool(invalid),
            "mean_logprob": round(-random.Random(f"{draw_name} {r}").random(), 6),
        }
        filtered.append(json.dumps(one))
    columns = {"mean_tokens": 7.0, "mean_words": 5.0, "truncated_rate": draw.random() / 4}
    columns |= {"cosine_distance": draw.random() / 2, "vendi": 1 + draw.random()}
    asked = texts[q % len(texts)] if texts else f"What is {q} + 0?"
    return {
        "doc_id": q,
        "doc": {"task": task, "q": q},
        "target": str(q) if scored else "",
        "arguments": {"gen_args_0": {"arg_0": f"system prompt\nQuestion: {asked}\nAnswer:"}},
        "resps": [said],
        "filtered_resps": [filtered],
        "filter": "population",
        "metrics": list(columns),
        **columns,
    }


def write_comparison(folder: Path, arms: dict[str, Path], insist: bool = False) -> dict[str, Any]:
    """comparison.json of runs that lie there."""
    loaded = [join.as_arm(results.load(path, name)) for name, path in arms.items()]
    compared = analysis.compare(loaded, join.join(loaded, insist), insist)
    compared["created"] = "2026-01-01T00:00:00+0000"
    (folder / "comparison.json").write_text(json.dumps(compared))
    return compared


def study(folder: Path, **settings: Any) -> dict[str, Any]:
    """Four arms on two tasks, and their comparison."""
    for name, (sigma, sampled) in ARMS.items():
        write_run(folder / "arms" / name, sigma, sampled, **settings)
    return write_comparison(folder, {name: folder / "arms" / name for name in ARMS})
