"""Runs that only score: every response must be in the store, and what is missing is told."""

from __future__ import annotations

from collections.abc import Iterable

from btrans_eval.errors import UserError
from btrans_eval.harness.shelf import Shelf
from btrans_eval.store.keys import Context

_SHOWN = 8


def check_complete(
    shelf: Shelf, held: Iterable[tuple[str, bool]], kind: str, asked: Iterable[Context]
) -> None:
    """Refuse to score where the store lacks anything.

    Args:
        shelf: where responses come from.
        held: for each one that is wanted, its task and whether it is there.
        kind: what they are, in the plural.
        asked: the contexts they were looked for in.

    Raises:
        UserError: if one is missing, counted for each task.
    """
    wanted: dict[str, list[bool]] = {}
    for task, is_there in held:
        wanted.setdefault(task, []).append(is_there)
    lacking = [
        f"{each.count(False)} of {len(each)} {kind} of {task}"
        for task, each in sorted(wanted.items())
        if not all(each)
    ]
    if not lacking:
        return
    more = f" and of {len(lacking) - _SHOWN} more tasks" if len(lacking) > _SHOWN else ""
    raise UserError(
        f"from_store: {shelf.store.path} lacks {', '.join(lacking[:_SHOWN])}{more}"
        f"{_why(shelf, asked)}; the same command without from_store generates them into it, as do "
        "parts (shard=i/n) that are merged into it"
    )


def _why(shelf: Shelf, asked: Iterable[Context]) -> str:
    """What sets apart the nearest of what the store holds, where it holds nothing of a context."""
    known = shelf.store.contexts()
    apart = set()
    for context in asked:
        if context.digest not in known:
            others = [shelf.differences(context, facts) for facts in known.values()]
            apart |= min((each for each in others if each), key=len, default=set())
    return f" (what it has differs in {', '.join(sorted(apart))})" if apart else ""
