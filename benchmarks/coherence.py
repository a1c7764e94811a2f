"""How coherent the responses of a finished comparison are, arm by arm.

    python benchmarks/coherence.py out/coherence            # beside docs/ablations/coherence.yaml

For every arm of OUT/arms: perplexity of the responses under the model without noise, given their
prompts (a response's mean of -log p per token, averaged over a question's responses and over
questions, then exponentiated), and the share of four-word sequences that stood in the response
before (seq-rep-4; 0 for fewer than four words). Intervals: 95%, Student's t over questions. Empty
responses have neither.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from math import exp
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM

from btrans_eval.config import parse_pairs
from btrans_eval.demo import demo_arguments
from btrans_eval.results.runs import Run, load
from btrans_eval.scores.diversity import repetition
from btrans_eval.scores.intervals import Interval, mean_interval

Pair = tuple[str, str]


def said(run: Run, task: str) -> dict[str, list[Pair]]:
    """By question: each response that is not empty, with its prompt."""
    found = {}
    for name, question in run.tasks[task].questions.items():
        texts = [response.text for response in question.responses if response.text.strip()]
        if texts:
            found[name] = [(question.asked, text) for text in texts]
    return found


def losses(lm: HFLM, pairs: set[Pair]) -> dict[Pair, float]:
    """Mean of -log p per token of each (prompt, response), teacher-forced.

    Both are split into tokens apart: the harness would move white space at a prompt's end into the
    response.
    """
    listed = sorted(pairs)
    fed = [
        (pair, lm.tok_encode(pair[0]), lm.tok_encode(pair[1], add_special_tokens=False))
        for pair in listed
    ]
    values = lm._loglikelihood_tokens(fed)
    return {
        pair: -value / len(response)
        for (pair, _, response), (value, _) in zip(fed, values, strict=True)
    }


def show(interval: Interval, digits: int, function: Any = float) -> str:
    low, mean, high = (function(v) for v in (interval.low, interval.estimate, interval.high))
    return f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def line(name: str, asked: Mapping[str, list[Pair]], loss: Mapping[Pair, float]) -> str:
    perplexity = mean_interval(
        [fmean(loss[pair] for pair in pairs) for pairs in asked.values()], rate=False
    )
    repeated = mean_interval([fmean(repetition(t) for _, t in pairs) for pairs in asked.values()])
    texts = sum(map(len, asked.values()))
    return f"| {name} | {texts} | {show(perplexity, 2, exp)} | {show(repeated, 3)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of a comparison")
    parser.add_argument("--model_args", help="of the model without noise; default: the demo's")
    parser.add_argument("--batch_size", type=int, default=16)
    given = parser.parse_args()
    arguments = parse_pairs("model_args", given.model_args) if given.model_args else {}
    loading = {"device": "cuda" if torch.cuda.is_available() else "cpu", **demo_arguments()}
    lm = HFLM(**{**(loading if not arguments else {}), **arguments}, batch_size=given.batch_size)
    runs = [load(folder) for folder in sorted((given.out / "arms").iterdir())]
    for task in runs[0].tasks:
        asked = {run.name: said(run, task) for run in runs}
        loss = losses(
            lm, {pair for each in asked.values() for some in each.values() for pair in some}
        )
        print(f"\n{task}\n\n| arm | responses | perplexity under the base | repetition |")
        print("|---|---|---|---|")
        for name, questions in asked.items():
            print(line(name, questions, loss))


if __name__ == "__main__":
    main()
