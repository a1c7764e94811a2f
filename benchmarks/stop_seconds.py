"""What a vote that stops when it is decided saves on real questions: calls, seconds, and texts.

    cd ../shared/hub && HF_HUB_OFFLINE=1 python .../benchmarks/stop_seconds.py   # half an hour, CPU

Stock tasks that want one response, answered by the demo model's members without a store, with
`stop=none` and `stop=exact` in alternation; the returned texts are compared one by one.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import lm_eval
from lm_eval.tasks import TaskManager

from btrans_eval import tasks
from btrans_eval.demo import SIGMA
from btrans_eval.model_adapters.hf import BTransHF

# one response to each question of `btrans_demo`, as a task of the harness has it
ONCE = """
include: {demo}
task: demo_once
repeats: 1
filter_list: [{{name: none, filter: [{{function: take_first}}]}}]
process_results: null
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
"""


def run(lm: BTransHF, task: str, limit: int, manager: TaskManager) -> tuple[float, list[str], Any]:
    """Seconds of a whole evaluation, the returned texts, and what the votes asked."""
    start = time.perf_counter()
    found = lm_eval.simple_evaluate(
        model=lm, tasks=[task], limit=limit, task_manager=manager, bootstrap_iters=0
    )
    seconds = time.perf_counter() - start
    texts = [row["resps"][0][0] for row in found["samples"][task]]
    return seconds, texts, found["config"]["btrans"]["tasks"][task]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=["demo_once", "gsm8k_cot_zeroshot",
                                                       "mmlu_pro_psychology"])  # fmt: skip
    parser.add_argument("--limit", type=int, default=8)
    parser.add_argument("--members", type=int, nargs="+", default=[8, 16, 64])
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--rows", type=int, default=32)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        demo = Path(tasks.__file__).parent / "btrans_demo" / "btrans_demo.yaml"
        Path(folder, "demo_once.yaml").write_text(ONCE.format(demo=demo), encoding="utf-8")
        manager = TaskManager(include_path=folder)
        for task in given.tasks:
            for members in given.members:
                line(task, members, given, manager)


def line(task: str, members: int, given: argparse.Namespace, manager: TaskManager) -> None:
    """Print what one task's votes of K members cost with a stop and without."""
    arms = {
        stop: BTransHF(sigma=SIGMA, members=members, batch_size=given.rows, stop=stop)
        for stop in ("none", "exact")
    }
    ratios, same = [], given.limit
    for pair in range(given.pairs):
        found = {}
        for stop in list(arms)[:: -1 if pair % 2 else 1]:
            found[stop] = run(arms[stop], task, given.limit, manager)
        ratios.append(found["exact"][0] / found["none"][0])
        equal = sum(a == b for a, b in zip(found["exact"][1], found["none"][1], strict=True))
        same = min(same, equal)
    print(
        f"{task}, {given.limit} questions, K = {members}: seconds exact / none "
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), "
        f"{same} of {given.limit} texts equal, {found['exact'][2]}",
        flush=True,
    )


if __name__ == "__main__":
    main()
