"""SmolLM2-135M-Instruct as a folder that vLLM loads, and real rows."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import transformers
from real import HUB

from btrans_eval.demo import demo_arguments


def save(folder: Path) -> str:
    """Write the demo model, which comes as GGUF, in float32, with its tokenizer and template."""
    demo = demo_arguments()
    source = {"gguf_file": demo["gguf_file"]}
    read = transformers.AutoModelForCausalLM.from_pretrained(
        demo["pretrained"], dtype=torch.float32, **source
    )
    config = type(read.config).from_dict(
        {name: value for name, value in read.config.to_dict().items() if "quant" not in name}
    )
    # transformers saves nothing that it read from GGUF, though it is plain float32 by now
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(read.state_dict())
    model.generation_config = read.generation_config
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(demo["pretrained"], **source).save_pretrained(folder)
    return str(folder)


def rows(count: int) -> list[dict]:
    """The first rows of GSM8K's test set."""
    lines = (HUB / "openai/gsm8k/main/test.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines[:count]]
