"""The columns of one question: every number from the same n responses."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from btrans_eval.scores.diversity import answer_entropy, distinct_answers, invalid_rate
from btrans_eval.scores.estimators import (
    best_at_k,
    curve_ks,
    maj_at_k,
    mean_at_k,
    pass_at_k,
    vote_tie,
)


def question_columns(
    scores: Sequence[float],
    classes: Sequence[Hashable | None] | None,
    higher_is_better: bool = True,
    binary: bool = True,
) -> dict[str, float]:
    """All columns of a question whose responses were scored; those of results and comparisons.

    Args:
        scores: one score per response, n >= 1.
        classes: of the answers; None where they do not vote.
        higher_is_better, binary: as of `score_columns`.
    """
    columns = score_columns(scores, higher_is_better, binary)
    if classes is not None:
        columns |= vote_columns(classes, scores) | answer_columns(classes)
    return columns


def score_columns(
    scores: Sequence[float], higher_is_better: bool = True, binary: bool = True
) -> dict[str, float]:
    """``mean`` and, for every k of the curve, ``pass@k`` (0/1 scores) or ``best@k``.

    Args:
        scores: one score per response, n >= 1.
        higher_is_better: whether best@k is the expected maximum or minimum of k responses.
        binary: whether the task's scores are 0 or 1 throughout.
    """
    n = len(scores)
    columns = {"mean": mean_at_k(scores)}
    for k in curve_ks(n):
        if binary:
            columns[f"pass@{k}"] = pass_at_k(n, round(sum(scores)), k)
        else:
            columns[f"best@{k}"] = best_at_k(scores, k, higher_is_better)
    return columns


def vote_columns(classes: Sequence[Hashable | None], scores: Sequence[float]) -> dict[str, float]:
    """``maj@k`` for every k of the curve: the vote over answer classes, ties shared."""
    return {f"maj@{k}": maj_at_k(classes, scores, k) for k in curve_ks(len(scores))}


def answer_columns(classes: Sequence[Hashable | None]) -> dict[str, float]:
    """``invalid_rate``, ``distinct_answers``, ``answer_entropy`` (nats) and ``tie_rate``."""
    return {
        "invalid_rate": invalid_rate(classes),
        "distinct_answers": float(distinct_answers(classes)),
        "answer_entropy": answer_entropy(classes),
        "tie_rate": float(vote_tie(classes)),
    }
