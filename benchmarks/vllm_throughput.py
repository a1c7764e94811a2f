"""Tokens per second of btrans-vllm against stock vllm at equal K, in alternation, on real rows.

    .venv-vllm/bin/python benchmarks/vllm_throughput.py --model FOLDER --rows rows.jsonl

One process holds both engines, each with half of the share of memory that is given and 64 rows at
once. Stock answers every prompt K times, sampled, as `repeats: K` asks it to; the population's K
members are sampled alike, one after another, so a member needs more questions than rows, as there
are in a benchmark. Every response has the same number of tokens. Ratios come pair by pair, the
order within a pair changing; median and range over the pairs are printed, single times mean little.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance

from btrans_eval.model_adapters.vllm import BTransVLLM
from btrans_eval.model_adapters.vllm.stock import StockVLLM


def requests(lm: Any, rows: list[dict[str, Any]], tokens: int, members: int) -> list[Instance]:
    """Each question, with a chat template, listed once for each of its repeats."""
    arguments = {
        "max_gen_toks": tokens,
        "min_tokens": tokens,
        "until": [],
        "do_sample": True,
        "temperature": 0.7,
    }
    asked = [
        Instance(
            "generate_until",
            row,
            (
                lm.apply_chat_template([{"role": "user", "content": row["question"]}]),
                dict(arguments),
            ),
            0,
            ("bench", place, members),
        )
        for place, row in enumerate(rows)
    ]
    return [request for request in asked for _ in range(members)]


def seconds(lm: Any, asked: list[Instance]) -> float:
    start = time.perf_counter()
    lm.generate_until(asked, disable_tqdm=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a model that vLLM loads")
    parser.add_argument("--rows", required=True, type=Path, help="JSON lines with a question each")
    parser.add_argument("--limit", type=int, default=128, help="how many of them")
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=48, help="of each response")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--sigma", type=float, default=0.01)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--gpu_memory_utilization", type=float, default=0.3)
    parser.add_argument("--max_model_len", type=int, default=1024)
    parser.add_argument("--max_num_seqs", type=int, default=64, help="rows at once")
    parser.add_argument("--enforce_eager", action="store_true")
    given = parser.parse_args()
    lines = given.rows.read_text(encoding="utf-8").splitlines()[: given.limit]
    rows = [json.loads(line) for line in lines]
    engine = {
        "dtype": given.dtype,
        "batch_size": "auto",
        "enforce_eager": given.enforce_eager,
        "max_model_len": given.max_model_len,
        "max_num_seqs": given.max_num_seqs,
        "gpu_memory_utilization": given.gpu_memory_utilization / 2,
    }
    stock = StockVLLM(given.model, **engine)
    ours = BTransVLLM(given.model, sigma=given.sigma, members=given.members, **engine)
    asked = requests(stock, rows, given.tokens, given.members)
    few = requests(stock, rows[:2], 8, given.members)
    seconds(stock, few), seconds(ours, few)  # warm up
    ratios, rates = [], []
    for turn in range(given.pairs):
        order = (stock, ours) if turn % 2 == 0 else (ours, stock)
        times = {id(lm): seconds(lm, asked) for lm in order}
        ratios.append(times[id(stock)] / times[id(ours)])
        rates.append(len(asked) * given.tokens / times[id(ours)])
        print(f"pair {turn + 1}: {ratios[-1]:.3f}x, {rates[-1]:.0f} tokens/s", flush=True)
    print(
        f"btrans-vllm / stock vllm, {len(rows)} prompts x {given.members}, {given.tokens} tokens, "
        f"{given.dtype}: {statistics.median(ratios):.3f}x ({min(ratios):.3f} to "
        f"{max(ratios):.3f}, {given.pairs} pairs), {statistics.median(rates):.0f} tokens/s"
    )


if __name__ == "__main__":
    main()
