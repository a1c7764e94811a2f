"""The studies that docs/ has as files: each runs with a tiny model on a few rows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_checkpoint
from canned import dataset

from btrans_eval.training import study
from btrans_eval.training.plan import Evaluation, read

DOCS = Path(__file__).resolve().parents[2] / "docs"
FILES = sorted([*DOCS.glob("training/*.yaml"), *DOCS.glob("paper/*rl*.yaml")])
FILES.remove(DOCS / "training" / "verl.yaml")  # verl's own: tests/verl_engine reads it
FAMILY = {"Qwen/Qwen3-8B-Base": "qwen3", "meta-llama/Llama-3.1-8B": "llama"}


def rows(folder: Path) -> None:
    """Rows of our own in the published formats."""
    problems = [
        {"problem": f"w{n} w{n + 1}", "answer": f"{n}", "solution": f"$\\boxed{{{n}}}$",
         "level": n % 3, "subject": "algebra", "unique_id": f"test/{n}.json"}
        for n in range(4)
    ]  # fmt: skip
    dataset(folder, "HuggingFaceH4/MATH-500", "test", problems)
    dataset(folder, "math-ai/minervamath", "test", [{"question": "w5", "answer": "$7$"}] * 2)
    sums = [{"question": f"w{n} w{n + 1}", "answer": f"w5\n#### {n}"} for n in range(3)]
    dataset(folder, "openai/gsm8k", "test", sums, config="main", also=("train",))
    for name in ("Maxwell-Jia/AIME_2024", "math-ai/aime25"):
        contests = [
            {"Problem": f"w{n}", "problem": f"w{n}", "Answer": n, "answer": str(n), "ID": str(n)}
            for n in (5, 6)
        ]
        dataset(folder, name, "train", contests, also=("test",))
    own = [
        {"problem": f"w{n} w8", "answer": f"{n}", "solution": "", "level": n % 3}
        for n in range(9, 21)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in own + problems[:2])
    (folder / "math_train.jsonl").write_text(lines)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_runs(path, tmp_path, monkeypatch, capsys):
    rows(tmp_path)
    monkeypatch.chdir(tmp_path)
    plan = read(path)
    family = FAMILY.get(str(plan.model_args.get("pretrained")), "llama")
    if "paper" in path.parts:
        assert "NOT RUN AT FULL SIZE" in path.read_text()
    small = replace(
        plan,
        model_args={"pretrained": tiny_checkpoint.save(tmp_path / "tiny", family), "device": "cpu"},
        examples=2 if plan.by_vote else 10, votes=3 if plan.by_vote else None,
        steps=2, prompts=2, group=2, at_once=2, save_steps=2, max_gen_toks=4,
        seeds=plan.seeds[:1], evaluation=Evaluation(plan.evaluation.tasks, 2, 4, 2),
    )  # fmt: skip
    study.run(small, tmp_path / "out")
    said = capsys.readouterr().out
    for task in plan.evaluation.tasks or (plan.task,):
        assert f"{task}, % right" in said
    found = json.loads((tmp_path / "out" / "training.json").read_text())
    assert found["rows"] == (2 if plan.by_vote else 10) and len(found["arms"]) == len(plan.arms)
