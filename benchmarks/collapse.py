"""How often the guard stops a run that collapses, in time, and one that does not, for nothing.

    python benchmarks/collapse.py             # a toy of three layers that adds digits; ~15 minutes

The toy is taught sums of two digits until it is right in about half of its samples. Then it
learns from its own votes (TTRL) without a KL term, which collapses, and, for runs that should
succeed, from the task's score. The guard reads what `btrans-eval train` would have written.
"""

from __future__ import annotations

import argparse
import tempfile
from typing import Any

import torch
import transformers
from datasets import Dataset
from peft import LoraConfig
from tokenizers import Tokenizer, models, pre_tokenizers
from trl import GRPOConfig

from btrans_eval.config import PopulationConfig
from btrans_eval.judged import JudgedResponse
from btrans_eval.training import BTransGRPOTrainer
from btrans_eval.training.guard import Guard
from btrans_eval.training.rewards import measures, plurality_class
from btrans_eval.training.task import Judged

WORDS = ["<pad>", "</s>", "+", "=", *map(str, range(19))]
PROMPTS = [(a, b) for a in range(10) for b in range(10)]
STEPS, GROUP, ASKED = 120, 8, 8
ARMS = (
    ("samples vote", 0.0, True),
    ("members vote", 0.1, True),
    ("samples, score", 0.0, False),
    ("members, score", 0.1, False),
)
"""Name, sigma, and whether the vote rewards."""


def tokenizer() -> Any:
    made = Tokenizer(models.WordLevel({w: n for n, w in enumerate(WORDS)}, unk_token="<pad>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", padding_side="left"
    )


def taught(seed: int, steps: int) -> Any:
    """A model that adds, sometimes."""
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=len(WORDS), hidden_size=64, intermediate_size=128, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=4, pad_token_id=0, eos_token_id=1,
        bos_token_id=None, max_position_embeddings=16,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    rows = torch.tensor([[a + 4, 2, b + 4, 3, a + b + 4, 1] for a, b in PROMPTS])
    for _ in range(steps):
        batch = rows[torch.randint(len(rows), (32,))]
        labels = batch.clone()
        labels[:, :4] = -100
        model(batch, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def accuracy(model: Any) -> float:
    rows = torch.tensor([[a + 4, 2, b + 4, 3] for a, b in PROMPTS])
    with torch.no_grad():
        said = model(rows).logits[:, -1].argmax(-1)
    return float((said == torch.tensor([a + b + 4 for a, b in PROMPTS])).float().mean())


def learned(seed: int, sigma: float, by_vote: bool, rate: float, taught_for: int) -> dict[str, Any]:
    """Train once; the lines that the guard reads, and accuracy before and after."""
    model = taught(seed, taught_for)
    before, rollouts, words = accuracy(model), [], tokenizer()
    trainer: Any = None

    def reward(completions: Any, row: Any, log_metric: Any, **_: Any) -> list[float]:
        found: list[float] = []
        groups = []
        for start in range(0, len(completions), GROUP):
            said = [text.strip() or None for text in completions[start : start + GROUP]]
            classes = {text: n for n, text in enumerate(dict.fromkeys(filter(None, said)))}
            labels = [classes.get(text) if text else None for text in said]
            a, b = PROMPTS[row[start]]
            scores = [float(text == str(a + b)) for text in said]
            winner = plurality_class(labels)
            votes = [float(winner is not None and label == winner) for label in labels]
            earned = votes if by_vote else scores
            found += earned
            groups.append([Judged(JudgedResponse(t or "", t, c), s)
                           for t, c, s in zip(said, labels, scores, strict=True)])  # fmt: skip
            rollouts.extend({"step": trainer.state.global_step + 1, "row": row[start], "answer": t,
                             "reward": v} for t, v in zip(said, votes, strict=True))  # fmt: skip
        for name, value in measures(groups).items():
            log_metric(name, value)
        return found

    generator = torch.Generator().manual_seed(seed)
    order = torch.randint(len(PROMPTS), (STEPS * ASKED,), generator=generator).tolist()
    with tempfile.TemporaryDirectory() as folder:
        trainer = BTransGRPOTrainer(
            model, reward,
            GRPOConfig(
                output_dir=folder, per_device_train_batch_size=ASKED * GROUP, seed=seed,
                num_generations=GROUP, max_completion_length=2, max_steps=STEPS, logging_steps=1,
                learning_rate=rate, lr_scheduler_type="constant", bf16=False, report_to=[],
                save_strategy="no", gradient_checkpointing=False, disable_tqdm=True, use_cpu=True,
                shuffle_dataset=False, beta=0.0,
            ),
            train_dataset=Dataset.from_dict({
                "prompt": ["{} + {} =".format(*PROMPTS[place]) for place in order], "row": order,
            }),
            processing_class=words,
            peft_config=LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"),
            population=PopulationConfig(sigma=sigma, seed=seed),
        )  # fmt: skip
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
    steps = [line for line in trainer.state.log_history if "reward" in line]
    for line in steps:
        line["rollout_tokens"] = line["completions/mean_length"]
    after = accuracy(trainer.model.get_base_model())
    return {"steps": steps, "rollouts": rollouts, "before": before, "after": after}


def stopped(run: dict[str, Any], guard: Guard) -> int | None:
    """The step at which the guard ends the run; None if it does not."""
    for step in range(1, len(run["steps"]) + 1):
        seen = [line for line in run["rollouts"] if line["step"] <= step]
        if guard.reason(run["steps"][:step], seen):
            return step
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2,3,4,5")
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--taught", type=int, default=250)
    given = parser.parse_args()
    guard = Guard()
    for name, sigma, by_vote in ARMS:
        for seed in map(int, given.seeds.split(",")):
            run = learned(seed, sigma, by_vote, given.rate, given.taught)
            step = stopped(run, guard)
            truth = [line["ground_truth_ratio"] for line in run["steps"]]
            reward = [line["reward"] for line in run["steps"]]
            said = (
                f"{name}, seed {seed}: greedy {run['before']:.2f} to {run['after']:.2f}; reward, "
                f"first and last 10 steps, {_mean(reward, 10):.2f} to {_mean(reward):.2f}; right, "
                f"first 10 steps {_mean(truth, 10):.2f}, last 10 {_mean(truth):.2f}; "
            )
            if step is None:
                said += "not stopped"
            else:
                kept = max(step - guard.window, 10)  # the last checkpoint is from before these
                said += (
                    f"stopped at {step}, {_mean(truth, step):.2f}; kept {_mean(truth, kept):.2f}"
                )
            print(said, flush=True)


def _mean(values: list[float], end: int | None = None) -> float:
    """Of the 10 values before an end."""
    chosen = values[:end][-10:]
    return sum(chosen) / len(chosen)


if __name__ == "__main__":
    main()
