"""A study with a chat template: trained and evaluated with the prompts that the harness makes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_checkpoint
import words_task
from transformers import AutoTokenizer

from btrans_eval.cli import main
from btrans_eval.training import run as runs
from btrans_eval.training.steps import lines

TEMPLATE = (
    "{% for message in messages %}w3 {{ message['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}w4{% endif %}"
)


@pytest.mark.parametrize("bos", ["", "<s> "])
def test_a_study_with_a_chat_template(tmp_path, monkeypatch, bos):
    checkpoint = tiny_checkpoint.save(tmp_path / "tiny")
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    tokenizer.chat_template = bos + TEMPLATE
    tokenizer.save_pretrained(checkpoint)
    task = words_task.save(tmp_path / "task")
    fed = []

    class Told(runs.BTransGRPOTrainer):
        def _generate_single_turn(self, prompt_ids, *args):
            fed.extend(prompt_ids)
            return super()._generate_single_turn(prompt_ids, *args)

    monkeypatch.setattr(runs, "BTransGRPOTrainer", Told)
    out = tmp_path / "out"
    main(
        ["train", "--task", "toy_words", "--include_path", task, "--model_args",
         f"pretrained={checkpoint},device=cpu", "--arms", "population@1.0:sigma=0.3", "--seeds",
         "0", "--steps", "2", "--prompts", "2", "--group", "4", "--save_steps", "2",
         "--apply_chat_template", "--output_path", str(out)]
    )  # fmt: skip
    prompts = {tokenizer.decode(tokens) for tokens in fed}
    assert len(prompts) > 1
    for prompt in prompts:
        words = prompt.removeprefix(bos).split()
        assert prompt.startswith(bos) and [words[0], words[-1], len(words)] == ["w3", "w4", 4]
    folder = out / "runs" / "population_T=1_sigma=0.3" / "seed-0"
    assert len(lines(folder / "rollouts.jsonl")) == 16
    samples = sorted(Path(out / "evaluation").rglob("samples_*.jsonl"))
    assert len(samples) == 4
    for path in samples:
        for line in path.read_text().splitlines():
            asked = json.loads(line)["arguments"]["gen_args_0"]["arg_0"]
            assert asked.startswith(f"{bos}w3 ") and asked.endswith(" w4")
