"""When a vote is decided before all have voted.

Members vote in order, and `btrans_eval.answers.vote.plurality` decides: most votes, then the lowest
member. Each rule tells how many more must be asked *at least*: 0 where the vote is decided, else so
many that it cannot be decided earlier, so that asking them in one go asks nobody for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from scipy.special import betaincc

Texts = Sequence[Hashable | None]
MayEqual = Callable[[Hashable, Hashable], bool]


def by_text(texts: Texts, total: int) -> int:
    """Votes to ask for at least, where answers are equal if their texts are.

    Decided is the vote once the rest can neither change the winner nor its lowest member: for
    every other class j, and one not seen yet, (votes_j + rest, -lowest_j) is less than the
    leader's (votes, -lowest).

    Args:
        texts: the answer of each member that was asked, in order, normalized; None: invalid.
        total: how many members there are.
    """
    votes, lowest = _counted(texts)
    others = dict(votes)
    leader = max(votes, key=lambda one: (votes[one], -lowest[one]), default=None)
    most = others.pop(leader, 0) if leader is not None else 0
    first = len(texts) if leader is None else lowest[leader]
    rest = total - len(texts)
    for more in range(rest):
        held, left = (most + more, -first), rest - more
        new = (left, -(len(texts) + more))
        if new < held and all((n + left, -lowest[one]) < held for one, n in others.items()):
            return more
    return rest


def by_spelling(texts: Texts, total: int, may_equal: MayEqual) -> int:
    """Votes to ask for at least, where equality is no equivalence (formulas).

    A later answer can split the leader's class, so a count of the class proves nothing. Decided is
    the vote once one spelling alone has more votes than all other valid answers and the rest
    together, and no member below its lowest gave another spelling that may equal it: identical
    texts are never split.

    Args:
        texts, total: as of `by_text`.
        may_equal: whether two different spellings are, or may be, equal.
    """
    votes, lowest = _counted(texts)
    valid, rest = sum(votes.values()), total - len(texts)
    # one that was not seen yet may be unlike all others
    candidates = [0, *(n for text, n in votes.items() if not _below(text, lowest, may_equal))]
    for more in range(rest):
        if any(n + more > valid - n + rest - more for n in candidates):
            return more
    return rest


def by_probability(classes: Texts, total: int, probability: float) -> int:
    """Votes to ask for at least until the leader is likely to stay ahead of the second.

    Decided is the vote once P(share > 1/2) under Beta(v1 + 1, v2 + 1), v1 and v2 being the most
    and the second most votes, reaches the probability (Adaptive-Consistency, Aggarwal et al. 2023,
    arXiv 2305.11860). The vote of all members may be another one.

    Args:
        classes: of the answers, as of `by_text`.
        total: as there.
        probability: above 1/2 and below 1.
    """
    votes, _ = _counted(classes)
    first, second = [*sorted(votes.values(), reverse=True), 0, 0][:2]
    rest = total - len(classes)
    for more in range(rest):
        if betaincc(first + more + 1, second + 1, 0.5) >= probability:
            return more
    return rest


def _counted(texts: Texts) -> tuple[dict[Hashable, int], dict[Hashable, int]]:
    """Votes and lowest member of each text."""
    votes: dict[Hashable, int] = {}
    lowest: dict[Hashable, int] = {}
    for member, text in enumerate(texts):
        if text is not None:
            votes[text] = votes.get(text, 0) + 1
            lowest.setdefault(text, member)
    return votes, lowest


def _below(text: Hashable, lowest: dict[Hashable, int], may_equal: MayEqual) -> bool:
    """Whether a member below the text's lowest gave another spelling that may equal it."""
    return any(place < lowest[text] and may_equal(one, text) for one, place in lowest.items())
