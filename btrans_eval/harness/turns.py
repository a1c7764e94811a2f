"""Which rows an engine generates next: in the order of a plan, or as votes still need them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from btrans_eval.harness.batches import Row

Item = TypeVar("Item")


class Turns(Protocol[Item]):
    """What is to be generated, and what of it comes next."""

    def take(self, most: int, early: int) -> list[Item]:
        """The next ones, which will not be given again; none: there is nothing to begin now.

        Args:
            most: how many at most.
            early: where fewer are needed, others are begun early that may be, up to so many in all.
        """

    def wants(self, item: Item) -> bool:
        """Whether what was begun is still of use."""


Order = Callable[[Sequence[Row]], Turns[Row]]
"""Turns over rows that are generated from now on, given in the order that suits the engine best."""


class InOrder(Generic[Item]):
    """All items, one after another."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._items = deque(items)

    def take(self, most: int, early: int) -> list[Item]:
        """As `Turns.take`; all are needed."""
        return [self._items.popleft() for _ in range(min(most, len(self._items)))]

    def wants(self, item: Item) -> bool:
        """As `Turns.wants`: always."""
        return True


class Named(Generic[Item]):
    """The turns of rows, as turns of what an engine makes of each.

    Args:
        order: makes the turns.
        items: rows, and what stands for each.
    """

    def __init__(self, order: Order, items: Sequence[tuple[Row, Item]]) -> None:
        self._turns = order([row for row, _ in items])
        self._of, self._rows = dict(items), {id(item): row for row, item in items}

    def take(self, most: int, early: int) -> list[Item]:
        """As `Turns.take`."""
        return [self._of[row] for row in self._turns.take(most, early)]

    def wants(self, item: Item) -> bool:
        """As `Turns.wants`."""
        return self._turns.wants(self._rows[id(item)])
