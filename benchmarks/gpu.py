"""What holds and what it costs on a GPU: random weights of known shapes, made on the spot.

    python benchmarks/gpu.py                        # the CPU's shape, or all four on a GPU
    python benchmarks/gpu.py --shapes llama-1b --rows 1 32 --json out.json

Needs torch, transformers and this package, and no file. For each shape: whether sigma = 0 gives the
stock model's logits bit for bit, whether row i of a mixed batch is member i's, whether refilled
batches say what static ones do; then, in alternation with stock `hf` in one run, tokens a second,
peak memory, and how often the host waits for the device in a step.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

from btrans_eval import Population
from btrans_eval.model_adapters.hf import BTransHF

SIGMA = 0.02
PROMPT_TOKENS, NEW_TOKENS = 64, 48
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
HEADS = {"num_attention_heads": 32, "num_key_value_heads": 8}
SHAPES = {
    "tiny": LlamaConfig(
        vocab_size=512, hidden_size=64, intermediate_size=128, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2,
    ),
    "llama-1b": LlamaConfig(
        vocab_size=128256, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16,
        head_dim=64, rope_parameters={"rope_type": "default", "rope_theta": 5e5}, **HEADS,
    ),
    "llama-8b": LlamaConfig(
        vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
        rope_parameters={"rope_type": "default", "rope_theta": 5e5}, **HEADS,
    ),
    "qwen3-1.7b": Qwen3Config(
        vocab_size=151936, hidden_size=2048, intermediate_size=6144, num_hidden_layers=28,
        head_dim=128, num_attention_heads=16, num_key_value_heads=8,
    ),
    "qwen3-8b": Qwen3Config(
        vocab_size=151936, hidden_size=4096, intermediate_size=12288, num_hidden_layers=36,
        head_dim=128, **HEADS,
    ),
}  # fmt: skip
"""As published, but for the tiny one and the ends of texts."""


def made(name: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """A model with random weights and norms away from 1, and a tokenizer of numbers."""
    torch.manual_seed(0)
    config = SHAPES[name]
    config.eos_token_id, config.bos_token_id, config.pad_token_id = 0, 0, 0
    with torch.device(DEVICE):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    with torch.no_grad():
        for key, weight in model.named_parameters():
            if "norm" in key:
                weight.uniform_(0.5, 1.5)
        model.get_output_embeddings().weight[0] = 0.0  # no text ends before its limit
    words = {"<end>": 0, **{str(number): number for number in range(1, config.vocab_size)}}
    tokens = Tokenizer(models.WordLevel(words, unk_token="<end>"))
    tokens.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokens, eos_token="<end>", bos_token="<end>", pad_token="<end>"
    )
    return model, tokenizer


def questions(rows: int, new: int = NEW_TOKENS, **more: Any) -> list[Instance]:
    """Prompts of exactly 64 tokens, all different."""
    asked = {"max_gen_toks": new, "until": [], **more}
    return [
        Instance(
            "generate_until",
            {},
            (" ".join(str(1 + (7 * row + at) % 500) for at in range(PROMPT_TOKENS)), dict(asked)),
            0,
            ("bench", row, 1),
        )
        for row in range(rows)
    ]


@torch.no_grad()
def identities(name: str) -> dict[str, Any]:
    """What must hold; shares of tokens or rows, and the largest difference of a logit."""
    model, tokenizer = made(name, torch.float32)
    tokens = torch.randint(1, 500, (8, 32), device=DEVICE)
    stock = model(tokens).logits
    with Population(model, sigma=0.0).members(range(8)):
        is_stock = torch.equal(model(tokens).logits, stock)
    population, apart, alone = Population(model, sigma=SIGMA), True, 0.0
    with population.members(range(8)):
        mixed = model(tokens).logits
    for row in range(8):
        with population.members([row] * 8):
            apart = apart and torch.equal(model(tokens).logits[row], mixed[row])
        with population.members([row]):
            difference = model(tokens[row : row + 1]).logits[0] - mixed[row]
        alone = max(alone, float(difference.abs().max() / mixed[row].abs().max()))
    said = []
    for batching in ("refill", "static"):
        lm = BTransHF(
            model, tokenizer=tokenizer, members=4, sigma=SIGMA, batch_size=8, batching=batching
        )
        lengths = [questions(16, new) for new in (4, 9, 16)]
        said.append([str(text) for each in lengths for text in lm.generate_until(each, True)])
    return {
        "sigma 0 is stock, bit for bit": is_stock,
        "members are not stock": bool((mixed - stock).abs().max() > 0),
        "row i of a mixed batch is row i of member i's batch, bit for bit": apart,
        "largest relative difference to the row alone": alone,
        "texts refilled as static": f"{sum(map(str.__eq__, *said))} of {len(said[0])}",
    }


def seconds(action: Callable[[], object]) -> float:
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    action()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak(action: Callable[[], object]) -> float:
    """GiB that were allocated at most; not a number where there is no GPU."""
    if DEVICE != "cuda":
        return float("nan")
    torch.cuda.reset_peak_memory_stats()
    action()
    return torch.cuda.max_memory_allocated() / 2**30


class _Reads(TorchDispatchMode):
    """Counts reads of one number by the host; on a CPU they wait for nothing."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += "local_scalar_dense" in str(func)
        return func(*args, **(kwargs or {}))


def waits(action: Callable[[], object]) -> int:
    """How often the host waits for the device."""
    if DEVICE != "cuda":
        with _Reads() as reads:
            action()
        return reads.count
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            action()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(one.message) for one in caught)


def costs(name: str, rows: int, pairs: int) -> dict[str, Any]:
    """Ratios of speed, pair by pair, in bfloat16; rows all differ in member."""
    model, tokenizer = made(name, torch.bfloat16)
    stock = HFLM(model, tokenizer=tokenizer, batch_size=rows)
    ours = BTransHF(model, tokenizer=tokenizer, batch_size=rows, members=rows, sigma=SIGMA)
    one, all_rows = questions(1), questions(rows)
    sampled = questions(1, do_sample=True, temperature=1.0)

    def of_stock() -> object:
        return stock.generate_until(all_rows, True)

    def greedy() -> object:
        return ours.generate_until(one, True)

    def drawn() -> object:
        return ours.generate_until(sampled, True)

    of_stock(), greedy(), drawn()
    times = [(seconds(of_stock), seconds(greedy), seconds(drawn)) for _ in range(pairs)]

    def steps(lm: Any, count: int, **more: Any) -> float:
        few, many = (questions(count, new, **more) for new in (4, 20))
        found = waits(lambda: lm.generate_until(many, True)) - waits(
            lambda: lm.generate_until(few, True)
        )
        return found / 16

    return {
        "stock, tokens a second": rows * NEW_TOKENS / statistics.median(t[0] for t in times),
        "population / stock": ratio([t[0] / t[1] for t in times]),
        "sampled / greedy": ratio([t[1] / t[2] for t in times]),
        "peak, GiB: stock": peak(of_stock),
        "peak, GiB: population": peak(greedy),
        "waits a step: stock": steps(stock, rows),
        "waits a step: greedy": steps(ours, 1),
        "waits a step: sampled": steps(ours, 1, do_sample=True, temperature=1.0),
    }


def ratio(found: list[float]) -> str:
    return f"{statistics.median(found):.3f} ({min(found):.3f} to {max(found):.3f})"


def main() -> None:
    every = [name for name in SHAPES if (name == "tiny") == (DEVICE == "cpu")]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=every)
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 32, 256])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--json", help="file that all figures are written to")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    card = torch.cuda.get_device_name() if DEVICE == "cuda" else "CPU"
    found: dict[str, Any] = {"card": card, "torch": torch.__version__, "pairs": given.pairs}
    print(f"{card}, torch {torch.__version__}, {PROMPT_TOKENS} + {NEW_TOKENS} tokens, bfloat16")
    for name in given.shapes:
        # in float32 the large ones would be slow to make and prove no more
        if name in ("tiny", "llama-1b", "qwen3-1.7b"):
            _print(found, name, identities(name))
        for rows in given.rows:
            _print(found, f"{name}, {rows} rows", costs(name, rows, given.pairs))
        if given.json:
            with open(given.json, "w", encoding="utf-8") as file:
                json.dump(found, file, indent=1)


def _print(found: dict[str, Any], title: str, facts: dict[str, Any]) -> None:
    found[title] = facts
    print(f"\n{title}")
    for key, value in facts.items():
        print(f"  {key}: {value:.3g}" if isinstance(value, float) else f"  {key}: {value}")
    print(end="", flush=True)


if __name__ == "__main__":
    main()
