"""Which response stands for the population, where a task asks for one."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Vote:
    """Result of a plurality vote.

    Attributes:
        chosen: index of the response that is returned.
        counts: votes of each class, most first; equal counts in order of first appearance.
        tied: whether two or more classes share the highest count.
    """

    chosen: int
    counts: dict[Hashable, int]
    tied: bool


def plurality(classes: Sequence[Hashable | None]) -> Vote:
    """Vote over answer classes, one for each response in order of members.

    The class with most votes wins; a tie goes to the tied class that holds the lowest member, and
    that class's lowest member's response is chosen. ``None`` (an invalid answer) does not vote;
    where nobody votes, response 0 is chosen. This rule favours low members: maj@k has its own.
    """
    counts: dict[Hashable, int] = {}
    for label in classes:
        if label is not None:
            counts[label] = counts.get(label, 0) + 1
    if not counts:
        return Vote(0, {}, False)
    ordered = dict(sorted(counts.items(), key=lambda item: -item[1]))  # stable: lowest member first
    winner, most = next(iter(ordered.items()))
    return Vote(classes.index(winner), ordered, list(ordered.values()).count(most) > 1)
