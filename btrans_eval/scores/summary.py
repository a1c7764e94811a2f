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
from btrans_eval.scores.uncertainty import confidence, squared_errors

LOWER_IS_BETTER = frozenset({
    "invalid_rate", "tie_rate", "truncated_rate", "vote_brier", "repetition",
    "repetition_q1", "repetition_q2", "repetition_q3", "repetition_q4",
})  # fmt: skip
"""Columns of which less is better."""
NEITHER_IS_BETTER = frozenset({
    "distinct_answers", "answer_entropy", "meaning_entropy", "vote_share", "distinct_1",
    "distinct_2", "cosine_distance", "similarity", "vendi", "mean_words", "mean_tokens",
    *(f"distinct_{n}_q{quarter}" for n in (1, 2) for quarter in (1, 2, 3, 4)),
})  # fmt: skip
"""Columns that describe: noise that breaks text looks diverse, and a sure vote may be wrong. The
harness's table puts no arrow before what is declared as null."""


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
    """``maj@k`` for every k of the curve, and ``vote_brier``.

    ``maj@k`` is the vote over answer classes, ties shared. ``vote_brier`` is the question's part
    of the Brier score of the vote of all n (``uncertainty.brier``): y (1 - c)^2 + (1 - y) c^2 with
    c the ``vote_share`` and y = maj@n. A single response has none: see `answer_columns`.
    """
    n = len(scores)
    columns = {f"maj@{k}": maj_at_k(classes, scores, k) for k in curve_ks(n)}
    if n > 1:
        share, credit = confidence(classes).share, columns[f"maj@{n}"]
        columns["vote_brier"] = float(squared_errors([share], [credit])[0])
    return columns


def answer_columns(classes: Sequence[Hashable | None]) -> dict[str, float]:
    """What the answers say without scores: five columns, of a single response four.

    ``invalid_rate``, ``distinct_answers``, ``answer_entropy`` (nats), ``tie_rate``, and
    ``vote_share``: what the largest class has of all n responses, 0 where no answer is valid. A
    single response has no share, which would be 1 whatever the model knows.
    """
    columns = {
        "invalid_rate": invalid_rate(classes),
        "distinct_answers": float(distinct_answers(classes)),
        "answer_entropy": answer_entropy(classes),
        "tie_rate": float(vote_tie(classes)),
    }
    if len(classes) > 1:
        columns["vote_share"] = confidence(classes).share
    return columns
