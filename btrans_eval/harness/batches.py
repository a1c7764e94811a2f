"""The batches that a list of questions is generated in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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


def generation_key(arguments: dict[str, Any]) -> str:
    """Requests with equal keys have equal generation arguments and may share a batch."""
    return json.dumps(arguments, sort_keys=True, default=str)


def batches(
    questions: Sequence[Question],
    needed: Callable[[Question], int],
    rows: int,
    length: Callable[[Question], int],
) -> Iterator[list[Row]]:
    """Batches of at most ``rows`` rows, mixing questions and members; ``needed`` rows each.

    Longest prompts first, so that what does not fit in memory fails at the start; the responses
    of a question lie side by side, so that it is finished soon. The plan depends on the set of
    questions, not on their order, and is whole before the first batch is handed out.

    Args:
        length: tokens of a question's prompt.
    """
    order = {id(each): (-length(each), each.request.args[0]) for each in questions}
    groups: dict[str, list[Question]] = {}
    for question in questions:
        groups.setdefault(generation_key(question.request.args[1]), []).append(question)
    for _, group in sorted(groups.items()):
        group.sort(key=lambda question: order[id(question)])
        plan = [Row(question, draw) for question in group for draw in range(needed(question))]
        for start in range(0, len(plan), rows):
            yield plan[start : start + rows]
