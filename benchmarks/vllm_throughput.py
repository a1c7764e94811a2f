"""Tokens per second of btrans-vllm against stock vllm at equal K, in alternation, on real rows.

    .venv-vllm/bin/python benchmarks/vllm_throughput.py --model FOLDER --rows rows.jsonl

One process holds both engines, each with half of the share of memory that is given and 64 rows at
once. Stock answers every prompt K times, sampled: `stock` as `repeats: K` asks it to, `logprobs`
also for the log-probability of each token, which a population always wants, and `unshared` besides
without the prefix cache, so that it reads each prompt K times as K members do. These are sampled
alike: `mixed`, sharing batches, and `member`, one after another on the same engine, where a
member needs more questions than rows to keep it full. Every response has the same number of tokens.
Ratios come turn by turn, the order within a turn changing; median and range over the turns are
printed, single times mean little.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance

from btrans_eval.config import PopulationConfig
from btrans_eval.model_adapters.vllm import BTransVLLM
from btrans_eval.model_adapters.vllm.stock import StockVLLM

MORE: dict[str, dict[str, Any]] = {
    "stock": {},
    "logprobs": {"logprobs": 0},
    "unshared": {"logprobs": 0, "skip_reading_prefix_cache": True},
    "member": {},
    "mixed": {},
}
"""The arms, and what each is asked for beside text."""


def requests(
    lm: Any, rows: list[dict[str, Any]], tokens: int, members: int, **more: Any
) -> list[Instance]:
    """Each question, with a chat template, listed once for each of its repeats.

    Args:
        more: arguments of generation.
    """
    arguments = {
        "max_gen_toks": tokens,
        "min_tokens": tokens,
        "until": [],
        "do_sample": True,
        "temperature": 0.7,
        **more,
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


def scheduled(lm: BTransVLLM, scheduling: str, sigma: float, members: int) -> BTransVLLM:
    """The population, sharing batches or not; its prefix caches are empty."""
    lm.become(PopulationConfig(sigma=sigma, members=members, scheduling=scheduling), None)
    lm.engine._engines.forget()
    return lm


def spread(values: list[float], form: str = "{:.3f}") -> str:
    """Median and range."""
    found = [statistics.median(values), min(values), max(values)]
    return "{} ({} to {})".format(*[form.format(each) for each in found])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a model that vLLM loads")
    parser.add_argument("--rows", required=True, type=Path, help="JSON lines with a question each")
    parser.add_argument(
        "--limit", nargs="+", type=int, default=[128], help="how many of them; several, in turn"
    )
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=48, help="of each response")
    parser.add_argument("--pairs", type=int, default=3, help="turns of all arms")
    parser.add_argument("--arms", nargs="+", choices=list(MORE), default=list(MORE))
    parser.add_argument("--sigma", type=float, default=0.01)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--gpu_memory_utilization", type=float, default=0.3)
    parser.add_argument("--max_model_len", type=int, default=1024)
    parser.add_argument("--max_num_seqs", type=int, default=64, help="rows at once")
    parser.add_argument("--enforce_eager", action="store_true")
    given = parser.parse_args()
    lines = given.rows.read_text(encoding="utf-8").splitlines()[: max(given.limit)]
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
    arms = {
        "stock": lambda: stock,
        "logprobs": lambda: stock,
        "unshared": lambda: stock,
        "member": lambda: scheduled(ours, "member", given.sigma, given.members),
        "mixed": lambda: scheduled(ours, "mixed", given.sigma, given.members),
    }
    arms = {name: arm for name, arm in arms.items() if name in given.arms}
    for name, arm in arms.items():  # warm up
        seconds(arm(), requests(stock, rows[:2], 8, given.members, **MORE[name]))
    cache = stock.model.llm_engine.vllm_config.cache_config
    print(
        f"{given.dtype}, K = {given.members}, {given.tokens} tokens, {given.max_num_seqs} rows at "
        f"once, blocks of {cache.block_size}, prefix caching: {cache.enable_prefix_caching}"
    )
    for limit in given.limit:
        measure(arms, stock, rows[:limit], given)


def measure(
    arms: dict[str, Callable[[], Any]],
    stock: StockVLLM,
    rows: list[dict[str, Any]],
    given: argparse.Namespace,
) -> None:
    """Print speeds on these rows, and their ratios."""
    asked = {
        name: requests(stock, rows, given.tokens, given.members, **MORE[name]) for name in arms
    }
    count = len(rows) * given.members * given.tokens
    rates: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(given.pairs):
        first = turn % len(arms)
        names = list(arms)[first:] + list(arms)[:first]
        for name in names if turn % 2 == 0 else names[::-1]:
            lm = arms[name]()
            if lm is stock:  # what it has read before is no part of the comparison
                lm.model.reset_prefix_cache()
            rates[name].append(count / seconds(lm, asked[name]))
        said = {name: round(each[-1], 1) for name, each in rates.items()}
        print(f"turn {turn + 1}: {said}", flush=True)
    whole = next(iter(asked.values()))[:: given.members]
    lengths = [float(len(stock.tok_encode(request.args[0]))) for request in whole]
    print(
        f"{len(rows)} prompts of {spread(lengths, '{:.0f}')} tokens, {given.pairs} turns; "
        "tokens/s: " + ", ".join(f"{name} {spread(each, '{:.0f}')}" for name, each in rates.items())
    )
    for one, other in itertools.combinations(reversed(arms), 2):
        ratios = [a / b for a, b in zip(rates[one], rates[other], strict=True)]
        print(f"{one} / {other}: {spread(ratios)}", flush=True)


if __name__ == "__main__":
    main()
