"""Tokens per second and peak memory of a population against the stock model, in alternation.

    python benchmarks/throughput.py            # SmolLM2-135M-Instruct, CPU or GPU, a few minutes

Ratios come pair by pair from one run (stock, population, stock, population, ...), medians and
ranges over the pairs: single times on a shared machine mean little. Rows all differ in member.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from unittest.mock import patch

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from btrans_eval.demo import SIGMA, demo_arguments
from btrans_eval.model_adapters.hf import BTransHF
from btrans_eval.model_adapters.hf import generation as adapter
from btrans_eval.model_adapters.hf import sampling as choosing

PROMPT_TOKENS, NEW_TOKENS = 64, 48
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def requests(lm: HFLM, rows: int) -> list[Instance]:
    """Prompts of exactly 64 tokens, all different."""
    arguments = {"max_gen_toks": NEW_TOKENS, "min_new_tokens": NEW_TOKENS, "until": []}
    filler = lm.tok_encode("The quick brown fox jumps over the lazy dog and runs away. " * 20)
    prompts = [lm.tok_decode(filler[row : row + PROMPT_TOKENS]) for row in range(rows)]
    return [
        Instance("generate_until", {}, (prompt, dict(arguments)), 0, ("bench", place, 1))
        for place, prompt in enumerate(prompts)
    ]


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(name: str, ours: Callable[[], object], other: Callable[[], object], pairs: int) -> None:
    """Print how many times faster ``ours`` is than ``other``."""
    if pairs > 2:
        ours(), other()  # warm up
    ratios = [seconds(other) / seconds(ours) for _ in range(pairs)]
    print(
        f"{name}: {statistics.median(ratios):.3f}x "
        f"({min(ratios):.3f} to {max(ratios):.3f}, {pairs} pairs)",
        flush=True,
    )


def speed(rows: int, pairs: int) -> None:
    """Population against stock at one batch size, and against one member at a time."""
    stock = HFLM(**demo_arguments(), batch_size=rows, device=DEVICE)
    population = BTransHF(batch_size=rows, members=rows, sigma=SIGMA)
    population._model = stock._model  # the same weights in the same memory
    population.become(population.population_config, None)  # hooks on these
    questions = requests(stock, rows)
    one = questions[:1]
    mixed = requests(stock, 1)  # one prompt, answered by as many members as there are rows

    compare(
        f"population, {rows} rows of different members / stock, {rows} rows",
        lambda: population.generate_until(mixed, disable_tqdm=True),
        lambda: stock.generate_until(questions, disable_tqdm=True),
        pairs,
    )
    if rows > 1:
        single = BTransHF(batch_size=1, members=rows, sigma=SIGMA)
        single._model = stock._model
        single.become(single.population_config, None)
        compare(
            f"population, {rows} members in one batch / one member at a time",
            lambda: population.generate_until(mixed, disable_tqdm=True),
            lambda: single.generate_until(one, disable_tqdm=True),
            max(pairs // 4, 2),
        )


def sampling(rows: int, pairs: int) -> None:
    """Sampling from streams of our own against transformers' own sampling, both without noise."""
    lm = BTransHF(batch_size=rows, sigma=0.0, batching="static")
    questions = requests(lm, rows)
    for question in questions:
        question.args[1].update(do_sample=True, temperature=0.8)

    def of_transformers() -> object:
        with patch.object(adapter, "RowByRow", lambda *_: None):
            return lm.generate_until(questions, disable_tqdm=True)

    compare(
        f"sampling from our streams / transformers' own, {rows} rows",
        lambda: lm.generate_until(questions, disable_tqdm=True),
        of_transformers,
        pairs,
    )


def logprobs(rows: int, pairs: int) -> None:
    """Responses with their log-probability against the same without, refilled, sampled."""
    lm = BTransHF(batch_size=rows, members=rows, sigma=SIGMA)
    questions = requests(lm, 1)
    for question in questions:
        question.args[1].update(do_sample=True, temperature=0.8)

    def without() -> object:
        with patch.object(choosing, "log_probabilities", lambda said, _: said.new_zeros(len(said))):
            return lm.generate_until(questions, disable_tqdm=True)

    compare(
        f"responses with log-probabilities / without, {rows} rows",
        lambda: lm.generate_until(questions, disable_tqdm=True),
        without,
        pairs,
    )


def peak(kind: str, rows: int) -> None:
    """Peak memory of a process that generates one batch, in MiB."""
    lm = (
        HFLM(**demo_arguments(), device=DEVICE)
        if kind == "stock"
        else BTransHF(members=rows, sigma=SIGMA)
    )
    lm.batch_size_per_gpu = rows
    questions = requests(lm, rows if kind == "stock" else 1)
    lm.generate_until(questions, disable_tqdm=True)
    if torch.cuda.is_available():
        print(torch.cuda.max_memory_allocated() / 2**20)
    else:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def memory(rows: int, pairs: int) -> None:
    """Extra peak memory of a population, each arm in a process of its own."""
    ratios = []
    for _ in range(pairs):
        peaks = []
        for kind in ("stock", "population"):
            command = [sys.executable, __file__, "--peak", kind, "--rows", str(rows)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            peaks.append(float(done.stdout.split()[-1]))
        ratios.append(peaks[1] / peaks[0])
    print(
        f"peak memory, {rows} members / stock at {rows} rows: {statistics.median(ratios):.4f}x "
        f"({min(ratios):.4f} to {max(ratios):.4f}, last {peaks[1]:.0f} MiB / {peaks[0]:.0f} MiB)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--memory-only", action="store_true")
    parser.add_argument("--sampling-only", action="store_true")
    parser.add_argument("--logprobs-only", action="store_true")
    parser.add_argument("--peak", choices=["stock", "population"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        peak(arguments.peak, arguments.rows)
        return
    if arguments.sampling_only:
        sampling(arguments.rows, arguments.pairs)
        return
    if arguments.logprobs_only:
        logprobs(arguments.rows, arguments.pairs)
        return
    if not arguments.memory_only:
        speed(1, arguments.pairs)
        speed(arguments.rows, arguments.pairs)
        sampling(arguments.rows, arguments.pairs)
        logprobs(arguments.rows, arguments.pairs)
    memory(arguments.rows, max(arguments.pairs // 3, 2))


if __name__ == "__main__":
    main()
