"""Read finished runs from disk: every response with its answer, class and score.

What is read is what the harness wrote with ``--output_path … --log_samples``, for any model type.
"""

from btrans_eval.results.rows import AnsweredQuestion, ScoredResponse, digest
from btrans_eval.results.runs import Run, TaskRun, load

__all__ = ["AnsweredQuestion", "ScoredResponse", "Run", "TaskRun", "digest", "load"]
