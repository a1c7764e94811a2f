"""Refilled rows against the stock model and against static batches, in alternation.

    cd ../shared/hub && python .../benchmarks/refill.py        # about an hour on two cores

SmolLM2-135M-Instruct in float32, GSM8K questions as chat prompts, K = 8 at temperature 0.7, limit
512 tokens, 32 rows. Useful tokens are those of the texts that the harness gets; ratios come pair by
pair from one run, medians and ranges over the pairs.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

import datasets
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from btrans_eval.demo import SIGMA, demo_arguments
from btrans_eval.model_adapters.hf import BTransHF

ROWS, MEMBERS, LIMIT = 32, 8, 512
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
STOPS = ["Question:", "Q:", "</s>", "<|im_end|>"]


def requests(lm: HFLM, questions: int, copies: int, **arguments: Any) -> list[Instance]:
    """Each question so many times, as the harness lists them."""
    rows = datasets.load_dataset("openai/gsm8k", "main", split="test")["question"][:questions]
    own = {"until": STOPS, "max_gen_toks": LIMIT, "do_sample": True, "temperature": 0.7}
    asked = [
        Instance("generate_until", {"answer": "1"},
                 (lm.apply_chat_template([{"role": "user", "content": row}]), {**own, **arguments}),
                 0, ("gsm8k", number, copies))
        for number, row in enumerate(rows)
    ]  # fmt: skip
    return [request for request in asked for _ in range(copies)]


def speed(lm: HFLM, asked: list[Instance]) -> float:
    """Useful tokens per second."""
    start = time.perf_counter()
    texts = lm.generate_until(asked, disable_tqdm=True)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    return sum(len(lm.tok_encode(text)) for text in texts) / seconds


def compare(name: str, ours: Any, other: Any, pairs: int) -> None:
    """Print how many times more useful tokens a second ``ours`` gives than ``other``."""
    ratios, speeds = [], []
    for pair in range(pairs):
        measured = {}
        for which in ("other", "ours") if pair % 2 else ("ours", "other"):
            measured[which] = {"ours": ours, "other": other}[which]()
        ratios.append(measured["ours"] / measured["other"])
        speeds.append(measured["ours"])
    print(
        f"{name}: {statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f}, "
        f"{pairs} pairs; {statistics.median(speeds):.0f} tokens/s)",
        flush=True,
    )


def lm_of(kind: str, rows: int = ROWS) -> HFLM:
    if kind == "stock":
        return HFLM(**demo_arguments(), batch_size=rows, device=DEVICE)
    return BTransHF(sigma=SIGMA, batching=kind, batch_size=rows)


def by_members(refill: HFLM, rounds: int) -> None:
    """Tokens a second of 64 responses from 4, 8, 16 and 64 members, against those of 8."""
    speeds: dict[int, list[float]] = {4: [], 8: [], 16: [], 64: []}
    for turn in range(rounds):
        for members in sorted(speeds, reverse=turn % 2 == 1):
            speeds[members].append(speed(refill, requests(refill, 64 // members, members)))
    for members in speeds:
        ratios = [own / eight for own, eight in zip(speeds[members], speeds[8], strict=True)]
        print(
            f"tokens per second, K = {members} / K = 8: {statistics.median(ratios):.2f}x "
            f"({min(ratios):.2f} to {max(ratios):.2f}, {rounds} rounds)", flush=True,
        )  # fmt: skip


def same_length(stock: HFLM, refill: HFLM, pairs: int) -> None:
    """One batch whose rows all reach the limit: nothing to refill."""
    for lm in (stock, refill):  # no row ends by itself
        with torch.no_grad():
            lm.model.get_output_embeddings().weight[lm.eot_token_id] = 0.0
    asked = requests(stock, 8, 4, max_gen_toks=192, until=[])
    compare(
        "population, refill / stock hf, 32 rows of 192 tokens each",
        lambda: speed(refill, asked), lambda: speed(stock, asked), pairs,
    )  # fmt: skip


def peak(kind: str, questions: int) -> None:
    """Peak memory of a process that answers the questions, in MiB."""
    lm = lm_of(kind)
    lm.generate_until(requests(lm, questions, MEMBERS), disable_tqdm=True)
    if torch.cuda.is_available():
        print(torch.cuda.max_memory_allocated() / 2**20)
    else:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def memory(questions: int) -> None:
    """Peak memory of refilling and of static batches, each in a process of its own.

    On a CPU once as it is, and once with freed memory given back at once, which shows what was held
    without the holes that the C library keeps for itself.
    """
    for name, settings in (("given back", {"MALLOC_MMAP_THRESHOLD_": "65536"}), ("as it is", {})):
        peaks = {}
        for kind in ("static", "refill"):
            command = [sys.executable, __file__, "--peak", kind, "--questions", str(questions),
                       "--limit", str(LIMIT)]  # fmt: skip
            done = subprocess.run(
                command, capture_output=True, text=True, check=True, env={**os.environ, **settings}
            )
            peaks[kind] = float(done.stdout.split()[-1])
        print(f"peak memory, {name}, refill / static: {peaks['refill'] / peaks['static']:.3f}x "
              f"({peaks['refill']:.0f} MiB / {peaks['static']:.0f} MiB)", flush=True)  # fmt: skip


def main() -> None:
    global LIMIT
    parts = ("stock", "members", "lengths", "memory")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=parts, action="append", help="some of the comparisons")
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--questions", type=int, default=12)
    parser.add_argument("--limit", type=int, default=LIMIT, help="new tokens of a response")
    parser.add_argument("--peak", choices=["static", "refill"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    LIMIT = given.limit
    if given.peak:
        peak(given.peak, given.questions)
        return
    chosen = given.only or parts
    stock, refill = lm_of("stock"), lm_of("refill")
    if "stock" in chosen:
        asked = requests(stock, given.questions, MEMBERS)
        compare(
            f"population, refill / stock hf at repeats 8, {len(asked)} responses",
            lambda: speed(refill, asked), lambda: speed(stock, asked), given.pairs,
        )  # fmt: skip
    if "members" in chosen:
        by_members(refill, given.pairs)
    if "lengths" in chosen:
        same_length(stock, refill, given.pairs)
    if "memory" in chosen:
        memory(given.questions)


if __name__ == "__main__":
    main()
