"""The columns of a viewed task: how they are called, and which way is up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from btrans_eval.harness.diversity import Columns
from btrans_eval.harness.pipelines import declare_column
from btrans_eval.scores.summary import (
    LOWER_IS_BETTER,
    NEITHER_IS_BETTER,
    answer_columns,
    score_columns,
    vote_columns,
)

Scores = Mapping[str, Sequence[float]]


class Metric(NamedTuple):
    """What decides a metric's columns: properties of the metric, the same for every question.

    Attributes:
        up: whether more is better.
        binary: whether every score is 0 or 1.
        bounded: whether every score lies in [0, 1].
        prefix: what its columns' names begin with.
    """

    up: bool
    binary: bool
    bounded: bool
    prefix: str


def metrics_of(task: Any, scores: Sequence[Scores], is_pass: bool) -> dict[str, Metric]:
    """The task's metrics by name.

    Args:
        scores: of each question, by metric, the score of each response; at least one question.
        is_pass: whether the task's own metric is pass@1 of a response, which needs no name.
    """
    directions = task.higher_is_better()
    return {
        name: Metric(
            up=directions.get(name) is not False,  # None: the task does not say
            binary=all(score in (0, 1) for each in scores for score in each[name]),
            bounded=all(0 <= score <= 1 for each in scores for score in each[name]),
            prefix="" if is_pass and name == "pass@1" else f"{name}:",
        )
        for name in scores[0]
    }


def columns_of(
    metrics: Mapping[str, Metric], scores: Scores, labels: Sequence[int | None] | None
) -> Columns:
    """Every number of a question.

    Args:
        scores: by metric, the score of each response.
        labels: class of each answer, None where it is invalid; None where answers do not vote.
    """
    columns: Columns = {}
    for name, values in scores.items():
        metric = metrics[name]
        # of errors, the best of k is the fewest: no pass
        of_metric = score_columns(values, metric.up, metric.binary and metric.up)
        if labels is not None and metric.bounded and metric.up:
            of_metric |= vote_columns(labels, values)
        columns |= {f"{metric.prefix}{column}": value for column, value in of_metric.items()}
    return columns | (answer_columns(labels) if labels is not None else {})


def declare(task: Any, pipeline: str, columns: Columns) -> None:
    """Tell the harness how to aggregate the columns, and which way is up, if one is."""
    directions = task.higher_is_better()
    for name in columns:
        metric, _, column = name.rpartition(":")
        up: bool | None = None
        if column not in NEITHER_IS_BETTER:
            up = column not in LOWER_IS_BETTER and directions.get(metric, True)
        declare_column(task, pipeline, name, up)
