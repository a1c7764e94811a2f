"""Out of memory on a device: smaller batches, and on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from btrans_eval.errors import UserError

logger = logging.getLogger(__name__)
Item = TypeVar("Item")


class RowLimit:
    """How many rows fit into memory at once: any number, until it turns out otherwise.

    Attributes:
        most: rows of the largest batch that is tried; None: no limit known.
    """

    def __init__(self) -> None:
        self.most: int | None = None

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
            result, fits = _attempt(action, piece)
            if fits:
                waiting = waiting[len(piece) :]
                yield piece, result
                continue
            clear_device_cache(garbage_collection=True)
            if len(piece) == 1:
                raise UserError(
                    f"batch_size: memory does not suffice for a single row of {name}; use a "
                    "smaller max_gen_toks or max_length, or dtype=bfloat16"
                )
            self.most = (len(piece) + 1) // 2
            logger.warning(
                "out of memory with %d rows: going on with batches of %d", len(piece), self.most
            )


def _attempt(action: Callable[[list[Item]], Any], piece: list[Item]) -> tuple[Any, bool]:
    """The result and True, or None and False where memory ran out.

    A function of its own, so that the error and the tensors that it holds on to are gone when
    it returns.
    """
    try:
        return action(piece), True
    except RuntimeError as error:
        if not should_reduce_batch_size(error):
            raise
        return None, False
