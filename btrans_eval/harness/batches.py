"""The batches that a list of questions is generated in, and requests that share a row of one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from btrans_eval.errors import UserError
from btrans_eval.harness.plan import Question


@dataclass(frozen=True)
class Row:
    """One row of a batch: response number ``draw`` of ``question``."""

    question: Question
    draw: int

    @property
    def member(self) -> int:
        """The member that answers this row."""
        return self.question.draws[self.draw][0]

    @property
    def sample(self) -> int:
        """The running number of this response among those of its member."""
        return self.question.draws[self.draw][1]


def check_batch_size(given: Any) -> None:
    """Refuse what is no size of a batch.

    Raises:
        UserError: unless it is a whole number of at least 1, auto, or auto:N.
    """
    if not re.fullmatch(r"auto(:(?=.*[1-9])\d+(\.\d+)?)?|0*[1-9]\d*", str(given).strip()):
        raise UserError(
            "batch_size: must be a whole number of at least 1, auto or auto:N, got "
            f"{given!r}; for example batch_size: 8 in a file, or --batch_size 8"
        )


def generation_key(arguments: dict[str, Any]) -> str:
    """Requests with equal keys have equal generation arguments and may share a batch."""
    return json.dumps(arguments, sort_keys=True, default=str)


def batches(
    questions: Sequence[Question],
    needed: Callable[[Question], int],
    rows: Callable[[Question], int | None],
    length: Callable[[Question], int],
    share: tuple[int, int] = (0, 1),
) -> list[list[Row]]:
    """Batches of rows of equal generation arguments, mixing questions and members.

    Longest prompts first, so that what does not fit in memory fails at the start; the responses
    of a question lie side by side, so that it is finished soon. The plan depends on the set of
    questions, not on their order.

    Args:
        needed: how many rows a question has.
        rows: how many rows a batch has at most, given the question with the longest prompt;
            None: all rows of equal arguments are one batch.
        length: tokens of a question's prompt.
        share: only part i of n; rows are dealt in turn, so that parts are equally long.
    """
    order = {id(each): (-length(each), each.request.args[0]) for each in questions}
    groups: dict[str, list[Question]] = {}
    for question in questions:
        groups.setdefault(generation_key(question.request.args[1]), []).append(question)
    found: list[list[Row]] = []
    dealt = 0
    part, parts = share
    for _, group in sorted(groups.items()):
        group.sort(key=lambda question: order[id(question)])
        plan = [Row(question, draw) for question in group for draw in range(needed(question))]
        mine = [row for turn, row in enumerate(plan, dealt) if turn % parts == part]
        dealt += len(plan)
        size = rows(group[0]) or len(plan)
        found += [mine[start : start + size] for start in range(0, len(mine), size)]
    return found


def sharing_rows(
    requests: Sequence[tuple[Any, list[int], list[int]]], share: bool
) -> list[list[int]]:
    """Indices of the loglikelihood requests that are read off one row.

    Args:
        requests: the texts, context tokens and continuation tokens of each.
        share: whether those that feed the same tokens do; else each has a row of its own.
    """
    groups: dict[Any, list[int]] = {}
    for index, (_, context, continuation) in enumerate(requests):
        fed = tuple(context + continuation[:-1]) if share else index
        groups.setdefault(fed, []).append(index)
    return list(groups.values())
