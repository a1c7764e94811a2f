"""The stock model and a population of it on the same questions, run and compared from Python.

    python examples/compare_from_python.py OUT [ROWS] [MODEL]

Without a model the demo model answers. What is run is `lm_eval.simple_evaluate`; its results are
written to OUT/stock and OUT/population, as `lm_eval --output_path … --log_samples` would.
"""

from __future__ import annotations

import sys
from pathlib import Path

import lm_eval
from lm_eval.loggers import EvaluationTracker

from btrans_eval import compare_runs

TASK = "btrans_demo"  # 8 responses to each question


def run(folder: Path, rows: int, model: str | None, sampled: bool, **noise: float) -> None:
    """Evaluate one arm and write its results and samples."""
    tracker = EvaluationTracker(output_path=str(folder))
    results = lm_eval.simple_evaluate(
        model="btrans-hf",
        model_args={**({"pretrained": model} if model else {}), **noise},
        tasks=[TASK],
        limit=rows,
        batch_size=32,
        gen_kwargs={"do_sample": True, "temperature": 0.7} if sampled else None,
        evaluation_tracker=tracker,
        bootstrap_iters=0,
    )
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    tracker.save_results_samples(task_name=TASK, samples=samples[TASK])


out = Path(sys.argv[1])
rows = int(sys.argv[2]) if len(sys.argv) > 2 else 8
model = sys.argv[3] if len(sys.argv) > 3 else None
run(out / "stock", rows, model, sampled=True, sigma=0)
run(out / "population", rows, model, sampled=False, **({"kl": 0.05} if model else {"sigma": 0.01}))
found = compare_runs(out / "population", out / "stock")
print(found)
print("\nwritten:", found.save(out), "\nfor pictures: btrans-eval report", out)
