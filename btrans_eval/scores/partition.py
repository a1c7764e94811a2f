"""NoveltyBench's classes of responses that mean the same, and what is counted of them.

Zhang et al. 2025 (arXiv 2504.05228). Where paper and code differ, the rules are those of the
published code, github.com/novelty-bench/novelty-bench at 5b22b53 (src/partition.py, score.py).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from math import fsum, isfinite

from btrans_eval.errors import UserError

Pair = tuple[str, str]
Alike = Callable[[Sequence[Pair]], Sequence[bool]]
"""The verdict on each pair (first of a class, later response)."""

FEW_WORDS = 5
PATIENCE = 0.8
BEST = 10
_STEPS = (-7.71875, -6.28125, -6.0, -5.71875, -5.5, -5.0, -4.375, -3.4375, -2.046875)


def few_words_alike(one: str, other: str) -> bool | None:
    """Whether two short responses are alike; None unless both have at most five words.

    Words are lower-cased and split at white space. Alike: the different words that both have are
    at least half as many as the words of the longer one. Two empty responses are alike.
    """
    first, second = one.lower().split(), other.lower().split()
    longest = max(len(first), len(second))
    if longest > FEW_WORDS:
        return None
    return 2 * len(set(first) & set(second)) >= longest


def partitions(rows: Sequence[Sequence[str]], alike: Alike) -> list[list[int]]:
    """Class of each response of each question, numbered from 0 in order of appearance.

    Greedy: the first response without a class opens one, and every later one without a class
    joins if it is alike the one that opened it. (The paper says: a random one of the class.)
    The order of the responses matters, and so may that within a pair.

    Args:
        rows: the responses of each question, one or more.
        alike: decides pairs; it is asked about each pair of texts once, all questions together.

    Raises:
        UserError: on a question without responses, or other than one verdict for each pair.
    """
    for question, row in enumerate(rows):
        if isinstance(row, str) or not len(row):
            raise UserError(f"question number {question} must have a response, got {row!r}")
    labels = [[-1] * len(row) for row in rows]
    known: dict[Pair, bool] = {}
    opened = 0
    while any(-1 in of_question for of_question in labels):
        waiting = []  # a question's next class depends on its last one alone
        for row, of_question in zip(rows, labels, strict=True):
            if -1 not in of_question:
                continue
            first = of_question.index(-1)
            of_question[first] = opened
            later = [n for n in range(first, len(row)) if of_question[n] == -1]
            waiting += [(of_question, n, (row[first], row[n])) for n in later]
        asked = [pair for pair in dict.fromkeys(pair for *_, pair in waiting) if pair not in known]
        verdicts = alike(asked) if asked else []
        if len(verdicts) != len(asked):
            raise UserError(f"alike must decide each of {len(asked)} pairs, got {len(verdicts)}")
        known |= zip(asked, map(bool, verdicts), strict=True)
        for of_question, place, pair in waiting:
            if known[pair]:
                of_question[place] = opened
        opened += 1
    return labels


def distinct_k(labels: Sequence[int]) -> int:
    """Number of classes among the k responses, in [1, k].

    That is the paper's, and what its code averages; the field ``distinct`` of its files is the
    last class's number, one less.
    """
    if not len(labels):
        raise UserError("labels must be those of at least one response, got none")
    return len(set(labels))


def quality(reward: float) -> int:
    """What a reward of Skywork-Reward-Gemma-2-27B-v0.2 is worth, 1 to 10.

    1 more than the number of the published steps that lie below it. UserError unless finite.
    """
    if not isfinite(reward):
        raise UserError(f"reward must be a finite number, got {reward!r}")
    return bisect_left(_STEPS, reward) + 1


def utility_k(
    labels: Sequence[int], qualities: Sequence[float], patience: float = PATIENCE
) -> float:
    """What k responses read in order are worth to a user who goes on with probability p.

    sum p^(i-1) u_i [no earlier response has the class of i] / sum p^(i-1), i = 1 … k; the paper's
    (1 - p) / (1 - p^k) is that denominator. In [0, largest quality].

    Args:
        labels: class of each response, in order, one or more.
        qualities: u_i of each response.
        patience: p, in (0, 1].

    Raises:
        UserError: on other numbers of labels and qualities, or a patience outside (0, 1].
    """
    if not 0 < patience <= 1:
        raise UserError(f"patience must lie in (0, 1], got {patience!r}")
    if not len(labels) or len(labels) != len(qualities):
        raise UserError(
            "labels and qualities must be those of the same responses, at least one, got "
            f"{len(labels)} and {len(qualities)}"
        )
    weights = [patience**place for place in range(len(labels))]
    new = [label not in labels[:place] for place, label in enumerate(labels)]
    worth = fsum(w * u for w, u, is_new in zip(weights, qualities, new, strict=True) if is_new)
    return worth / fsum(weights)
