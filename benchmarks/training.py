"""A training step with members against one without, in alternation; peak memory; ten kills.

    python benchmarks/training.py               # SmolLM2-135M-Instruct, two CPU cores, ~10 minutes
    python benchmarks/training.py --kills 10    # a tiny model, killed at random moments

Steps are of equal tokens: every rollout has 8 new ones. Ratios come pair by pair from one run.
"""

from __future__ import annotations

import argparse
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ROLLOUTS, TOKENS, STEPS = 16, 8, 2


def trainer(sigma: float, folder: str) -> Any:
    """Two steps of 16 rollouts on btrans_arithmetic."""
    from datasets import Dataset
    from peft import LoraConfig
    from trl import GRPOConfig

    from btrans_eval.config import PopulationConfig
    from btrans_eval.training import BTransGRPOTrainer
    from btrans_eval.training.base import base_arguments, load
    from btrans_eval.training.task import TrainingTask

    lm = load(base_arguments({}))
    task = TrainingTask("btrans_arithmetic", 8)
    docs = task.training_docs()[: STEPS * 2]
    prompts = [task.request(doc, 0, None).args[0] for doc in docs]
    tokenizer = lm.tokenizer
    tokenizer.padding_side = "left"
    return BTransGRPOTrainer(
        lm.model,
        lambda completions, **_: [float(len(text) % 2) for text in completions],
        GRPOConfig(
            output_dir=folder, per_device_train_batch_size=ROLLOUTS, num_generations=8,
            max_completion_length=TOKENS, generation_kwargs={"min_new_tokens": TOKENS},
            max_steps=STEPS, learning_rate=1e-6, bf16=False, report_to=[], save_strategy="no",
            gradient_checkpointing=False, disable_tqdm=True, use_cpu=True, shuffle_dataset=False,
        ),
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        processing_class=tokenizer,
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"),
        population=PopulationConfig(sigma=sigma),
    )  # fmt: skip


def seconds(one: Any) -> float:
    start = time.perf_counter()
    one.train()
    return time.perf_counter() - start


def steps(pairs: int) -> None:
    """Print how a step with members compares with one without."""
    with tempfile.TemporaryDirectory() as folder:
        stock, noisy = (trainer(sigma, folder) for sigma in (0.0, 0.01))
        ratios = []
        for place in range(pairs + 1):
            first, second = seconds(stock), seconds(noisy)
            if place:  # the first pair warms up
                ratios.append(second / first)
                print(f"stock {first:.1f} s, members {second:.1f} s", flush=True)
    low, high = min(ratios), max(ratios)
    print(f"time of a step, members / none: {statistics.median(ratios):.3f} "
          f"({low:.3f} to {high:.3f}, {pairs} pairs)")  # fmt: skip


def peak(sigma: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trainer(sigma, folder).train()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def memory() -> None:
    """Print the peak of a process of its own for each."""
    found = []
    for sigma in (0.0, 0.01):
        command = [sys.executable, __file__, "--peak", str(sigma)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found.append(int(done.stdout.split()[-1]))
    print(f"peak memory, members / none: {found[1] / found[0]:.3f} "
          f"({found[1]:,} MiB / {found[0]:,} MiB)")  # fmt: skip


def kills(number: int) -> None:
    """Kill a run of a tiny model at random moments, and compare its adapter with a whole run's."""
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "training")]
    import tiny_checkpoint  # type: ignore[import-not-found]  # of the tests
    import words_task  # type: ignore[import-not-found]

    folder = Path(tempfile.mkdtemp())
    arguments = [
        sys.executable, "-m", "btrans_eval.cli", "train", "--task", "toy_words", "--include_path",
        words_task.save(folder / "task"), "--model_args",
        f"pretrained={tiny_checkpoint.save(folder / 'tiny')},device=cpu", "--arms",
        "population@1.0:sigma=0.3", "--seeds", "1", "--steps", "400", "--prompts", "2", "--group",
        "4", "--save_steps", "10", "--examples", "20", "--output_path",
    ]  # fmt: skip
    subprocess.run([*arguments, str(folder / "whole")], check=True, capture_output=True)
    draws, twice = random.Random(0), 0
    out = folder / "killed"
    (run,) = (folder / "whole" / "runs").glob("*/*")
    mine = out / run.relative_to(folder / "whole")
    for _ in range(number):
        started = subprocess.Popen([*arguments, str(out)], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)  # fmt: skip
        before = _steps(mine)
        while _steps(mine) <= before and started.poll() is None:
            time.sleep(0.05)
        time.sleep(draws.random() * 1.5)
        started.kill()
        started.wait()
        twice += _steps(mine) % 10
    subprocess.run([*arguments, str(out)], check=True, capture_output=True)
    name = "adapter/adapter_model.safetensors"
    equal = (mine / name).read_bytes() == (run / name).read_bytes()
    print(f"{number} kills: {twice} of 400 steps generated twice; the adapters are "
          f"{'equal, byte for byte' if equal else 'NOT equal'}")  # fmt: skip
    shutil.rmtree(folder)


def _steps(run: Path) -> int:
    file = run / "steps.jsonl"
    return file.read_text(encoding="utf-8").count("\n") if file.is_file() else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--kills", type=int, help="only this")
    parser.add_argument("--peak", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peak is not None:
        peak(given.peak)
    elif given.kills:
        kills(given.kills)
    else:
        steps(given.pairs)
        memory()


if __name__ == "__main__":
    main()
