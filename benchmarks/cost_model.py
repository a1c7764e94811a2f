"""What a benchmark with K members costs: a model of prefill, decoding and memory.

    python benchmarks/cost_model.py             # the predictions of docs/scaling.md
    python benchmarks/cost_model.py --measure   # and the model against this machine, a few minutes

Prefill is bound by arithmetic: 2 P floating-point operations a token (P parameters), and
4 layers x width x context / 2 for attention. A decoding step reads every weight once and the keys
and values of every row, and computes 2 P operations a row: it takes the longer of both. Noise
adds one number per norm dimension and row.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Model:
    """Sizes of a dense decoder.

    Attributes:
        parameters: number of weights.
        layers, kv_heads, head_dim, width: as in its configuration.
        norm_dims: dimensions of all its norms together.
        bytes: of one number of weights and cache.
    """

    name: str
    parameters: float
    layers: int
    kv_heads: int
    head_dim: int
    width: int
    norm_dims: int
    bytes: int = 2

    @property
    def cache_bytes(self) -> int:
        """Keys and values of one token."""
        return 2 * self.layers * self.kv_heads * self.head_dim * self.bytes

    def prefill_flops(self, tokens: int) -> float:
        """Of one prompt."""
        return 2 * self.parameters * tokens + 2 * self.layers * self.width * tokens**2


@dataclass(frozen=True)
class Machine:
    """One GPU, or several that hold one copy of a model together.

    Attributes:
        flops: of dense 16-bit arithmetic per second, times the share that is reached.
        bandwidth: bytes of memory read per second, times the share that is reached.
        memory: bytes.
    """

    name: str
    flops: float
    bandwidth: float
    memory: float


@dataclass(frozen=True)
class Work:
    """A benchmark: questions, members, and mean tokens of a prompt and a response."""

    questions: int
    members: int
    prompt: int
    response: int


H100 = Machine("H100 80 GB", 0.4 * 989e12, 0.6 * 3.35e12, 80e9)
"""Data-sheet figures (dense bf16, HBM3) times what dense decoders usually reach of them."""
QWEN3_4B = Model("4B (Qwen3-4B)", 4.0e9, 36, 8, 128, 2560, 36 * 2 * (2560 + 128) + 2560)
LLAMA_70B = Model("70B (Llama-3.1-70B)", 70.6e9, 80, 8, 128, 8192, 161 * 8192)
MMLU_PRO = Work(12_032, 64, 280, 600)


def several(machine: Machine, number: int) -> Machine:
    """Tensor parallel: everything adds up, less what the links cost."""
    share = 1.0 if number == 1 else 0.75
    return Machine(f"{number} x {machine.name}", share * number * machine.flops,
                   share * number * machine.bandwidth, number * machine.memory)  # fmt: skip


def rows_at_once(model: Model, machine: Machine, work: Work, most: int = 512) -> int:
    """Rows whose cache fits beside the weights, a tenth of the memory left free."""
    free = 0.9 * machine.memory - model.parameters * model.bytes
    return int(min(most, free / (model.cache_bytes * (work.prompt + work.response))))


def step_seconds(model: Model, machine: Machine, rows: int, context: float) -> float:
    """One token for every row."""
    read = model.parameters * model.bytes + rows * context * model.cache_bytes
    return max(read / machine.bandwidth, 2 * model.parameters * rows / machine.flops)


def hours(model: Model, machine: Machine, work: Work) -> float:
    """Wall time of one copy of the model."""
    responses = work.questions * work.members
    prefill = responses * model.prefill_flops(work.prompt) / machine.flops
    rows = rows_at_once(model, machine, work)
    context = work.prompt + work.response / 2
    steps = responses * work.response / rows
    return (prefill + steps * step_seconds(model, machine, rows, context)) / 3600


def predict() -> None:
    print("| model | one copy on | rows at once | tokens/s | hours | on 8 GPUs | on 64 |")
    print("|---" * 7 + "|")
    for model, per_copy in ((QWEN3_4B, 1), (LLAMA_70B, 4)):
        machine = several(H100, per_copy)
        rows = rows_at_once(model, machine, MMLU_PRO)
        one = hours(model, machine, MMLU_PRO)
        tokens = MMLU_PRO.questions * MMLU_PRO.members * MMLU_PRO.response / one / 3600
        copies = 8 // per_copy
        print(f"| {model.name} | {machine.name} | {rows} | {tokens:,.0f} | {one:.1f} "
              f"| {one / copies:.1f} | {one / copies / 8:.1f} |")  # fmt: skip
    for model in (QWEN3_4B, LLAMA_70B):
        print(f"{model.name}: cache {model.cache_bytes / 1024:.0f} KiB a token and row, noise "
              f"{model.norm_dims * model.bytes / 2**20:.2f} MiB a row")  # fmt: skip


def measure() -> None:
    """Constants of this machine from some points, checked on the others."""
    import numpy as np

    from btrans_eval.demo import SIGMA
    from btrans_eval.model_adapters.hf import BTransHF

    lm = BTransHF(sigma=SIGMA)
    config = lm.model.config
    parameters = sum(each.numel() for each in lm.model.parameters())
    head = config.hidden_size // config.num_attention_heads
    small = Model("SmolLM2-135M", parameters, config.num_hidden_layers,
                  config.num_key_value_heads, head, config.hidden_size, 0, 4)  # fmt: skip
    rates = []
    print("\n| prompts | tokens | prefill, GFLOP/s |\n|---|---|---|")
    for rows, tokens in ((1, 128), (8, 128), (1, 512), (8, 512)):
        taken = min(_prefill(lm, rows, tokens) for _ in range(3))
        rates.append(rows * small.prefill_flops(tokens) / taken)
        print(f"| {rows} | {tokens} | {rates[-1] / 1e9:.0f} |")
    points = [(rows, context) for rows in (1, 8, 16, 32) for context in (64, 256, 512)]
    taken = {point: _step(lm, *point) for point in points}
    fitted = [point for point in points if point[1] != 256 and point[0] != 16]
    matrix = np.array([[1, rows, rows * context] for rows, context in fitted])
    found, *_ = np.linalg.lstsq(matrix, np.array([taken[p] for p in fitted]), rcond=None)
    print(f"\nstep = {1e3 * found[0]:.1f} ms + rows x {1e3 * found[1]:.2f} ms + rows x context x "
          f"{1e6 * found[2]:.2f} us")  # fmt: skip
    print(f"weights are read at {parameters * 4 / found[0] / 1e9:.0f} GB/s, a row computes "
          f"{2 * parameters / found[1] / 1e9:.0f} GFLOP/s, cache is read at "
          f"{small.cache_bytes / found[2] / 1e9:.0f} GB/s")  # fmt: skip
    print("\n| rows | context | measured, ms | predicted, ms | fitted on |\n|---|---|---|---|---|")
    for point in points:
        guess = float(np.dot([1, point[0], point[0] * point[1]], found))
        print(f"| {point[0]} | {point[1]} | {1e3 * taken[point]:.0f} | {1e3 * guess:.0f} "
              f"| {'yes' if point in fitted else 'no'} |")  # fmt: skip


def _prefill(lm: Any, rows: int, tokens: int) -> float:
    import torch

    ids = torch.randint(5, 4000, (rows, tokens))
    start = time.perf_counter()
    with torch.no_grad(), lm.runner.population.members(range(rows)):
        lm.model(ids, use_cache=True, logits_to_keep=1)
    return time.perf_counter() - start


def _step(lm: Any, rows: int, context: int, steps: int = 8) -> float:
    """Median seconds of a step of `batching=refill` with so many tokens in the cache."""
    import statistics

    from transformers import LogitsProcessorList

    from btrans_eval.harness.turns import InOrder
    from btrans_eval.model_adapters.hf.refill import Prepared, Refill, Text
    from btrans_eval.population.key_values import cache_argument

    times: list[float] = []

    def is_done(tokens: list[int]) -> bool:
        return len(tokens) > steps

    class Timed(Refill):
        def _step(self) -> None:
            start = time.perf_counter()
            super()._step()
            times.append(time.perf_counter() - start)

    prompt = [11 + n % 3000 for n in range(context - steps // 2)]
    texts = [Text(place, place, prompt, None, is_done) for place in range(rows)]
    prepared = Prepared()
    prepared.processors, prepared.cache_argument = LogitsProcessorList(), cache_argument(lm.model)
    bind = lm.engine.generation._bind
    batch = Timed(lm.model, prepared, bind, rows, steps + 2, None)
    for _ in batch.run(texts, InOrder(texts)):
        pass
    return statistics.median(times)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", action="store_true", help="the model against this machine")
    given = parser.parse_args()
    predict()
    if given.measure:
        measure()
