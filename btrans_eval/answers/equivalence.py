"""Which answers are the same answer, and the classes these make of a question's responses.

Two answers are equal when they are equal after normalization, or, for LaTeX, when their parts
pair off (``compare``) and math_verify finds each pair of formulas equal in both directions.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from types import TracebackType
from typing import Protocol

from btrans_eval.answers.compare import compare
from btrans_eval.answers.encoding import encode
from btrans_eval.answers.normalize import normalize, read
from btrans_eval.answers.workers import Pair, Pool

Key = tuple[str, str, str]  # kind and the two normalized texts, in order


class Equality(Protocol):
    """What ``classes`` needs of a judge."""

    def equal_pairs(self, pairs: list[tuple[str, str, str]]) -> list[bool | None]:
        """The verdict on each (answer, answer, kind); None where it is undecided."""


@dataclass(frozen=True)
class Classes:
    """The classes of a question's answers.

    Attributes:
        labels: per response its class, numbered by first appearance; None where there is no answer.
        splits: components of the equality that were no cliques and had to be split.
        undecided: pairs of distinct answers that could not be compared, and count as unequal.
    """

    labels: list[int | None]
    splits: int
    undecided: int


class Judge:
    """Compares answers; owns the workers, and knows again what it has decided.

    Args:
        verdicts: where verdicts are kept: a dict, or a store that outlives the run. None is kept
            for an undecided pair, so that it is not tried again.
        pool: the workers; by default a new pool.

    Attributes:
        undecided: how many pairs could not be compared.
        examples: up to five of these: the two answers and the reason.
    """

    def __init__(
        self, verdicts: MutableMapping[Key, bool | None] | None = None, pool: Pool | None = None
    ) -> None:
        self.verdicts: MutableMapping[Key, bool | None] = {} if verdicts is None else verdicts
        self.pool = pool or Pool()
        self.undecided = 0
        self.examples: list[tuple[str, str, str]] = []
        self._leaves: dict[Pair, bool | str] = {}
        self._counted: set[Key] = set()

    def equal(self, a: str, b: str, kind: str) -> bool | None:
        """Whether two answers of a kind are equal; None where it is undecided."""
        return self.equal_pairs([(a, b, kind)])[0]

    def equal_pairs(self, pairs: list[tuple[str, str, str]]) -> list[bool | None]:
        """The verdict on each (answer, answer, kind); None where a worker was killed or died.

        Raises:
            UserError: math_verify does not run.
        """
        keys = [_key(*pair) for pair in pairs]
        asked = [key for key in dict.fromkeys(keys) if key[0] == "latex" and key[1] != key[2]]
        missing: dict[Pair, None] = {}
        for key in asked:
            if key not in self.verdicts:
                compare(read(key[1]), read(key[2]), self._leaf(missing))
        wanted = list(missing)
        self._leaves.update(zip(wanted, self.pool.run(wanted) if wanted else [], strict=True))
        for key in asked:
            if key not in self.verdicts:
                self.verdicts[key] = compare(read(key[1]), read(key[2]), self._leaf({}))
            if self.verdicts[key] is None:
                self._count(key)
        return [self.verdicts[key] if key in self.verdicts else key[1] == key[2] for key in keys]

    def _leaf(
        self, missing: dict[Pair, None], reasons: set[str] | None = None
    ) -> Callable[[str, str], bool | None]:
        """Verdicts on formulas as far as they are there; notes what is missing, what failed why."""

        def leaf(a: str, b: str) -> bool | None:
            encoded = encode(a, b)
            if encoded is None or encoded[0] == encoded[1]:
                return encoded is not None
            left, right = sorted(encoded)
            found = self._leaves.get((left, right))
            if found is None:
                missing[left, right] = None
            elif isinstance(found, str) and reasons is not None:
                reasons.add(found)
            return found if isinstance(found, bool) else None

        return leaf

    def _count(self, key: Key) -> None:
        if key in self._counted:
            return
        self._counted.add(key)
        self.undecided += 1
        if len(self.examples) < 5:
            reasons: set[str] = set()
            compare(read(key[1]), read(key[2]), self._leaf({}, reasons))
            reason = " or ".join(sorted(reasons)) or "undecided in an earlier run"
            self.examples.append((key[1], key[2], reason))

    def forget(self) -> None:
        """Count undecided pairs from 0 again; verdicts stay."""
        self.undecided = 0
        self.examples = []
        self._counted.clear()

    def close(self) -> None:
        """End the workers; a later comparison starts new ones."""
        self.pool.close()

    def __enter__(self) -> Judge:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _key(a: str, b: str, kind: str) -> Key:
    first, second = sorted((normalize(a, kind), normalize(b, kind)))
    return kind, first, second


def classes(answers: Sequence[str | None], kind: str, judge: Equality) -> Classes:
    """The classes of the answers: the same whatever the order of the responses.

    They are the connected components of the equality. One that is no clique is split: its answers,
    sorted by normalized text, each join the first class all of whose members they equal.
    An answer of which normalization leaves nothing is no answer.
    """
    texts = [None if answer is None else normalize(answer, kind) or None for answer in answers]
    distinct = sorted({text for text in texts if text is not None})
    pairs = list(combinations(distinct, 2))
    verdicts = judge.equal_pairs([(a, b, kind) for a, b in pairs])
    equal = {frozenset(pair) for pair, same in zip(pairs, verdicts, strict=True) if same}
    groups: list[list[str]] = []
    splits = 0
    for component in _components(distinct, equal):
        cliques = _cliques(component, equal)
        splits += len(cliques) > 1
        groups += cliques
    group_of = {text: number for number, group in enumerate(groups) for text in group}
    label_of: dict[int, int] = {}
    labels = [
        None if text is None else label_of.setdefault(group_of[text], len(label_of))
        for text in texts
    ]
    return Classes(labels, splits, sum(same is None for same in verdicts))


def _components(texts: list[str], equal: set[frozenset[str]]) -> list[list[str]]:
    """The connected components, each in the order of the texts."""
    left, found = list(texts), []
    while left:
        reached, frontier = {left[0]}, [left[0]]
        while frontier:
            one = frontier.pop()
            new = [t for t in left if t not in reached and frozenset((one, t)) in equal]
            reached.update(new)
            frontier += new
        found.append([text for text in left if text in reached])
        left = [text for text in left if text not in reached]
    return found


def _cliques(component: list[str], equal: set[frozenset[str]]) -> list[list[str]]:
    """The component itself if all its answers are equal to each other, else its parts."""
    groups: list[list[str]] = []
    for text in component:
        for group in groups:
            if all(frozenset((text, other)) in equal for other in group):
                group.append(text)
                break
        else:
            groups.append([text])
    return groups
