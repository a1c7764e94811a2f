"""Out of memory on a device: smaller batches, and on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from btrans_eval.errors import UserError

logger = logging.getLogger(__name__)
Item = TypeVar("Item")


class RowLimit:
    """How many rows fit into memory at once: any number, until it turns out otherwise.

    Attributes:
        most: rows of the largest batch that is tried; None: no limit known.
        release: gives back memory that can be done without, once; whether there was any.
    """

    def __init__(self, release: Callable[[], bool] = lambda: False) -> None:
        self.most: int | None = None
        self.release = release

    def run(
        self, batch: Sequence[Item], action: Callable[[list[Item]], Any], name: str
    ) -> Iterator[tuple[list[Item], Any]]:
        """``action`` on the batch, or where memory does not suffice on halves of it.

        Args:
            batch: the rows.
            action: what is done with them; it is tried again with fewer when memory runs out.
            name: what a single row is, for the message.

        Yields:
            the rows of each piece and the action's result.

        Raises:
            UserError: if memory does not suffice for one row.
        """
        waiting = list(batch)
        while waiting:
            piece = waiting[: self.most]
            result, fits = _attempt(partial(action, piece))
            if fits:
                waiting = waiting[len(piece) :]
                yield piece, result
                continue
            self._halve(len(piece), name)

    def flow(
        self,
        items: Sequence[Item],
        rows: int,
        start: Callable[[list[Item], int], Iterator[list[tuple[int, Any]]]],
        name: str,
        wants: Callable[[Item], bool],
    ) -> Iterator[list[tuple[Item, Any]]]:
        """Results of a stream; where memory does not suffice, what is left starts anew with half.

        Args:
            items: what is to be done, or some of it.
            rows: how many are under way at once, at most.
            start: begins with items and a number of rows; yields finished ones by index, until no
                more are needed.
            name: as for `run`.
            wants: whether an item is still to be done, where some are left.
        """
        waiting = list(items)
        while waiting:
            width = min(len(waiting), rows, self.most or rows)
            left, groups = dict(enumerate(waiting)), start(waiting, width)
            while True:
                group, fits = _attempt(partial(next, groups, None))
                if group is None:
                    break
                yield [(left.pop(index), result) for index, result in group]
            waiting = list(filter(wants, left.values()))
            if not fits:
                self._halve(width, name)
            elif waiting:
                raise RuntimeError(f"{len(waiting)} rows of {name} are needed and were not begun")

    def _halve(self, rows: int, name: str) -> None:
        released = self.release()
        clear_device_cache(garbage_collection=True)
        if released:  # as many rows may fit without it
            logger.warning("out of memory: prompts that begin alike are read whole from now on")
            return
        if rows == 1:
            raise UserError(
                f"batch_size: memory does not suffice for a single row of {name}; use a "
                "smaller max_gen_toks or max_length, or dtype=bfloat16"
            )
        self.most = (rows + 1) // 2
        logger.warning("out of memory with %d rows: going on with %d at once", rows, self.most)


def _attempt(action: Callable[[], Any]) -> tuple[Any, bool]:
    """The result and True, or None and False where memory ran out.

    A function of its own, so that the error and the tensors that it holds on to are gone when
    it returns.
    """
    try:
        return action(), True
    except RuntimeError as error:
        if not should_reduce_batch_size(error):
            raise
        return None, False
