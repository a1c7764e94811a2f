"""Sampled responses of a real model under other batch sizes, limits, orders and processes.

    cd ../shared/hub && python .../benchmarks/independence.py      # about 30 minutes on two cores

64 responses of up to 128 tokens (GSM8K, 8 rows, 8 members of SmolLM2-135M-Instruct, float32,
temperature 0.8). Texts may part only at a near tie (design, section 5): where a text differs, the
margin of the draw at the first differing token is shown: how far the stream's number lies from
the nearest end of the reference token's interval of the distribution function.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import torch
from lm_eval.api.instance import Instance

from btrans_eval.demo import SIGMA
from btrans_eval.harness.batches import Row
from btrans_eval.harness.plan import Question
from btrans_eval.model_adapters.hf import BTransHF

ROWS, MEMBERS, TOKENS = 8, 8, 128
ARGUMENTS = {"until": [], "max_gen_toks": TOKENS, "do_sample": True, "temperature": 0.8}


def requests(rows: range) -> list[Instance]:
    questions = datasets.load_dataset("openai/gsm8k", "main", split="test")["question"]
    return [
        Instance("generate_until", {"answer": "1"}, (f"Question: {questions[n]}\nAnswer:",
                 dict(ARGUMENTS)), 0, ("gsm8k", n, MEMBERS)) for n in rows
    ]  # fmt: skip


def texts(lm: BTransHF, asked: list[Instance]) -> dict[tuple[int, int], str]:
    """Text of each (row, member)."""
    cloned = [request for request in asked for _ in range(MEMBERS)]
    names = [(request.doc_id, member) for request in asked for member in range(MEMBERS)]
    return dict(zip(names, lm.generate_until(cloned, disable_tqdm=True), strict=True))


def variants(folder: str) -> Iterator[tuple[str, dict[tuple[int, int], str]]]:
    for size in (1, 3):
        yield f"batch size {size}", texts(model(size), requests(range(ROWS)))
    yield "limit doubled", texts(model(8), requests(range(2 * ROWS)))
    yield "requests reversed", texts(model(8), requests(range(ROWS))[::-1])
    path = f"{folder}/two.sqlite"
    command = [str(Path(sys.executable).with_name("torchrun")), "--nproc_per_node=2", __file__]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "--rank", path], check=True, env=environment)
    lm = model(8, store=path)
    lm.engine.generation.flow = None  # all is in the store
    yield "two processes", texts(lm, requests(range(ROWS)))


def model(size: int, **own: Any) -> BTransHF:
    return BTransHF(sigma=SIGMA, members=MEMBERS, batch_size=size, **own)


def margin(lm: BTransHF, name: tuple[int, int], ours: str, other: str) -> float:
    """How far the draw of the first differing token was from another token's interval."""
    (request,) = requests(range(name[0], name[0] + 1))
    row = Row(Question(request, [(member, 0) for member in range(MEMBERS)], True), name[1])
    first, second = (lm.tok_encode(text) for text in (ours, other))
    place = next(
        (n for n, (a, b) in enumerate(zip(first, second, strict=False)) if a != b),
        min(len(first), len(second)),
    )
    prompt = lm.engine.prompt_tokens(request)
    with torch.no_grad(), lm.runner.population.members([row.member]):
        logits = lm.model(torch.tensor([prompt + first[:place]])).logits[0, -1]
    ends = (logits.double() / ARGUMENTS["temperature"]).softmax(-1).cumsum(-1)
    number = lm.engine.generation._stream_of(row).uniform(place)
    return float((ends - number).abs().min())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rank", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.rank:
        texts(model(8, store=given.rank), requests(range(ROWS)))
        return
    lm = model(8)
    reference = texts(lm, requests(range(ROWS)))
    lengths = [text.tokens for text in reference.values()]
    print(f"reference: batch size 8, {len(reference)} responses, {sum(lengths)} tokens", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, found in variants(folder):
            parted = [key for key, text in reference.items() if found[key] != text]
            gaps = [f"{margin(lm, key, reference[key], found[key]):.1e}" for key in parted]
            equal = f"{name}: {len(reference) - len(parted)} of {len(reference)} texts equal"
            margins = f"; margins of the others {', '.join(gaps)}" if gaps else ""
            print(equal + margins, flush=True)


if __name__ == "__main__":
    main()
