"""A trainer of a tiny model on a reward that a program knows."""

from __future__ import annotations

import torch
from datasets import Dataset
from models import BY_NAME
from peft import LoraConfig
from tiny_checkpoint import tokenizer
from trl import GRPOConfig, GRPOTrainer

from btrans_eval.config import PopulationConfig
from btrans_eval.training import BTransGRPOTrainer

PROMPTS = ["w5 w6 w7", "w8", "w10 w11 w12 w13 w14", "w20 w21", "w30", "w31 w32", "w33", "w40 w41"]


def reward(completions, **_):
    """The share of even tokens."""
    return [
        sum(int(word[1:]) % 2 == 0 for word in text.split() if word[1:].isdigit()) / 6
        for text in completions
    ]


def arguments(folder, **given):
    settings = {
        "output_dir": str(folder), "per_device_train_batch_size": 4, "num_generations": 4,
        "gradient_accumulation_steps": 2, "max_completion_length": 6, "max_steps": 2,
        "learning_rate": 1e-2, "bf16": False, "report_to": [], "logging_steps": 1,
        "save_strategy": "no", "use_cpu": True, "seed": 3, "shuffle_dataset": False,
        "disable_dropout": True,
        "disable_tqdm": True, "lr_scheduler_type": "constant",
    }  # fmt: skip
    return GRPOConfig(**{**settings, **given})


def made(folder, *, sigma=0.3, rollouts=None, watch=None, kind=BTransGRPOTrainer, family="llama",
         double=False, lora=True, model=None, prompts=PROMPTS, reward_funcs=reward, population=None,
         **given):  # fmt: skip
    """A trainer; ``kind=GRPOTrainer`` is trl's own."""
    model = model or BY_NAME[family].build()
    if double:
        model = model.double()
    model.warnings_issued = {}
    own = {}
    if kind is not GRPOTrainer:
        population = population or PopulationConfig(sigma=sigma, seed=5)
        own = {"population": population, "rollouts": rollouts, "watch": watch}
    torch.manual_seed(0)
    return kind(
        model,
        reward_funcs,
        arguments(folder, **given),
        train_dataset=Dataset.from_dict({"prompt": list(prompts)}),
        processing_class=tokenizer(),
        peft_config=LoraConfig(target_modules="all-linear", r=2) if lora else None,
        **own,
    )


def weights(trainer):
    return {
        name: parameter.detach().clone()
        for name, parameter in trainer.model.named_parameters()
        if parameter.requires_grad
    }


class InFloat64:
    """trl takes log-probabilities in float32; here they are taken in the model's float64."""

    def _get_per_token_logps_and_entropies(self, model, ids, mask, kept, **_):
        logits = model(input_ids=ids, attention_mask=mask).logits[:, -kept - 1 : -1].log_softmax(-1)
        said = logits.gather(2, ids[:, -kept:, None])[..., 0]
        return said, -(logits.exp() * logits).sum(-1), None
