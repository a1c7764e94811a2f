"""How coherent the responses of a finished comparison are, arm by arm.

    python benchmarks/coherence.py out/coherence            # beside docs/ablations/coherence.yaml

For every arm of OUT/arms: perplexity of the responses under the model without noise, given their
prompts (a response's mean of -log p per token, averaged over a question's responses and over
questions, then exponentiated), and the share of four-word sequences that stood in the response
before (seq-rep-4). Intervals: 95%, Student's t over questions. Empty responses have neither.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from math import exp
from pathlib import Path
from statistics import fmean
from typing import Any

from lm_eval.api.instance import Instance
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
    """Mean of -log p per token of each (prompt, response), teacher-forced."""
    listed = sorted(pairs)
    requests = [
        Instance("loglikelihood", {}, pair, number, ("coherence", number, 1))
        for number, pair in enumerate(listed)
    ]
    values = lm.loglikelihood(requests)
    lengths = [len(lm._encode_pair(*pair)[1]) for pair in listed]
    return {
        pair: -value / length
        for pair, (value, _), length in zip(listed, values, lengths, strict=True)
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
    lm = HFLM(**(arguments or demo_arguments()), batch_size=given.batch_size, device="cpu")
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
