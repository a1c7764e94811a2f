"""What reading a shared beginning once a member saves: five-shot prompts, in alternation.

    cd ../shared/hub && HF_HUB_OFFLINE=1 python .../benchmarks/prefixes.py    # half an hour, CPU

SmolLM2-135M-Instruct in float32, MMLU-Pro rows of one subject, behind its five examples for that.
Loglikelihoods of ten letters under members, against the same with `batching=static`, which reads
every prompt whole, and against stock `hf` asked as often; generation of 64 tokens behind five
examples, and behind none; the demo's questions behind its four short examples. Ratios of seconds
come pair by pair from one run, medians and ranges over the pairs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import datasets
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from btrans_eval.demo import SIGMA, demo_arguments
from btrans_eval.model_adapters.hf import BTransHF

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LETTERS = "ABCDEFGHIJ"
PARTS = ["loglikelihood", "five-shot", "zero-shot", "demo"]


def block(row: dict[str, Any]) -> str:
    options = "\n".join(f"{LETTERS[n]}. {text}" for n, text in enumerate(row["options"]))
    return f"Question: {row['question']}\n{options}\nAnswer:"


def prompts(subject: str, shots: int, count: int) -> list[str]:
    """Questions of a subject behind examples of it."""
    splits = datasets.load_dataset("TIGER-Lab/MMLU-Pro")
    of_it = {
        name: [row for row in splits[name] if row["category"] == subject]
        for name in ("validation", "test")
    }
    rows = of_it["validation"][:shots]
    examples = "".join(f"{block(row)} {row['answer']}\n\n" for row in rows)
    return [examples + block(row) for row in of_it["test"][:count]]


def demo(count: int) -> list[str]:
    """The demo's questions behind its four examples, about a hundred tokens."""
    task = TaskManager().load(["btrans_demo"])["tasks"]["btrans_demo"]
    return [task.doc_to_text(doc) for doc in [*task.eval_docs][:count]]


def likelihoods(texts: list[str]) -> list[Instance]:
    return [
        Instance("loglikelihood", {}, (text, f" {letter}"), 0, ("mmlu_pro", number, 1))
        for number, text in enumerate(texts)
        for letter in LETTERS
    ]


def generations(texts: list[str], members: int, until: str) -> list[Instance]:
    own = {"until": [until], "max_gen_toks": 64, "do_sample": False}
    return [
        Instance("generate_until", {"answer": "A"}, (text, own), 0, ("mmlu_pro", n, members))
        for n, text in enumerate(texts)
        for _ in range(members)
    ]


def seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(name: str, other: Callable[[], Any], ours: Callable[[], Any], pairs: int) -> None:
    """Print how many times longer ``other`` takes than ``ours``."""
    ratios = []
    for pair in range(pairs):
        found = {}
        for which, run in [("other", other), ("ours", ours)][:: -1 if pair % 2 else 1]:
            found[which] = seconds(run)
        ratios.append(found["other"] / found["ours"])
    print(
        f"{name}: {statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f}, "
        f"{pairs} pairs; ours {found['ours']:.1f} s)",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subject", default="psychology")
    parser.add_argument("--questions", type=int, default=12)
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    given = parser.parse_args()
    shots = prompts(given.subject, 5, given.questions)
    alone = prompts(given.subject, 0, given.questions)

    def population(batching: str) -> BTransHF:
        return BTransHF(sigma=SIGMA, members=given.members, batch_size=8, batching=batching)

    shared, whole = population("refill"), population("static")
    stock = HFLM(**demo_arguments(), batch_size=8, device=DEVICE)
    lengths = sorted(len(shared.tok_encode(text)) for text in shots)
    common = len(shared.tok_encode(shots[0])) - len(shared.tok_encode(alone[0]))
    print(
        f"{given.questions} questions, {given.members} members, 8 rows; prompts of {lengths[0]} to "
        f"{lengths[-1]} tokens, about {common} of them examples; {DEVICE}, torch "
        f"{torch.__version__}, {torch.get_num_threads()} threads"
    )
    if "loglikelihood" in given.parts:
        asked = likelihoods(shots)
        one, other = shared.loglikelihood(asked), whole.loglikelihood(asked)
        apart = max(abs(a[0] - b[0]) for a, b in zip(one, other, strict=True))
        print(f"loglikelihoods differ by {apart:.1e} at most")
        compare("loglikelihoods, static / shared", lambda: whole.loglikelihood(asked),
                lambda: shared.loglikelihood(asked), given.pairs)  # fmt: skip
        compare(f"loglikelihoods, stock x {given.members} / shared",
                lambda: [stock.loglikelihood(asked) for _ in range(given.members)],
                lambda: shared.loglikelihood(asked), given.pairs)  # fmt: skip
    separate = population("refill")
    separate.engine.generation.reads_once = False  # as before beginnings were shared
    of_parts = {
        "five-shot": lambda: shots,
        "zero-shot": lambda: alone,
        "demo": lambda: demo(given.questions),
    }
    for name, texts in of_parts.items():
        if name not in given.parts:
            continue
        wanted = generations(texts(), given.members, "\n" if name == "demo" else "\n\nQuestion")
        same = sum(
            a == b
            for a, b in zip(
                separate.generate_until(wanted), shared.generate_until(wanted), strict=True
            )
        )
        print(f"generation, {name}: {same} of {len(wanted)} texts equal", flush=True)
        compare(f"generation, {name}, refill as before / shared",
                lambda wanted=wanted: separate.generate_until(wanted),
                lambda wanted=wanted: shared.generate_until(wanted), given.pairs)  # fmt: skip


if __name__ == "__main__":
    main()
