"""The vote in which a response counts by how likely its model finds it.

Self-consistency's weighted sum with length-normalized probabilities (Wang et al. 2022, arXiv
2203.11171, section 2): a response weighs exp(mean log-probability of its tokens), the geometric
mean of their probabilities. It is not DeepConf (Fu et al. 2025, arXiv 2508.15260), which takes the
mean log-probability of the k likeliest tokens of each step, over windows of a response, and drops
the least sure share of the responses: here the probability of the chosen token alone counts, of
the whole response, and none is dropped.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import exp, fsum

from numpy.typing import ArrayLike

from btrans_eval.errors import UserError
from btrans_eval.scores.questions import SAME
from btrans_eval.scores.rows import class_sizes, finite_scores


def weighted_vote(
    classes: Sequence[Hashable | None], scores: ArrayLike, logprobs: Sequence[float | None]
) -> float:
    """Score of the class whose responses weigh most together.

    Invalid answers do not vote; classes within a relative 1e-12 of the heaviest share the credit
    equally; a class scores the mean score of its responses, each alike; no valid answer scores 0.
    Of equal weights it is `estimators.maj_at_k` at k = n.

    Args:
        classes: of the n answers, None where invalid.
        scores: shape (n,), in [0, 1].
        logprobs: mean log-probability of each response's tokens, nats, at most 0; of a response
            without a valid answer it is not looked at, and may be None.

    Raises:
        UserError: for unequal lengths, no response, a score outside [0, 1], or a valid answer
            whose log-probability is missing, not finite or above 0.
    """
    class_sizes(classes)  # refuses what is no label
    values = finite_scores(scores)
    if not len(values) == len(classes) == len(logprobs):
        counts = f"{len(values)} scores and {len(logprobs)} log-probabilities"
        raise UserError(f"classes must have one each, got {counts} for {len(classes)} responses")
    if wrong := [value for value in values if not 0 <= value <= 1]:
        raise UserError(f"scores must lie between 0 and 1, got {wrong[0]}")
    found: dict[Hashable, list[tuple[float, float]]] = {}
    for label, value, logprob in zip(classes, values, logprobs, strict=True):
        if label is None:
            continue
        if logprob is None or not -float("inf") < logprob <= 0:
            raise UserError(f"logprobs: must be finite and at most 0, got {logprob}")
        found.setdefault(label, []).append((logprob, value))
    if not found:
        return 0.0
    # relative to the likeliest: so small that all are 0, they would all be alike
    most = max(logprob for own in found.values() for logprob, _ in own)
    weights = {label: fsum(exp(each - most) for each, _ in own) for label, own in found.items()}
    least = max(weights.values()) * (1 - SAME)
    tied = [
        fsum(value for _, value in own) / len(own)
        for label, own in found.items()
        if weights[label] >= least
    ]
    return fsum(tied) / len(tied)
