"""How sure members are of multiple-choice questions, from the likelihoods that a run has scored."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from operator import index
from typing import Any

from btrans_eval.errors import UserError
from btrans_eval.scores.doubt import Doubt, doubt, summary

logger = logging.getLogger(__name__)

Scores = Mapping[int, Sequence[tuple[float, bool]]]
"""Of each member, by the identity of the request that was scored."""


def of_tasks(tasks: Iterable[Any], scores: Scores) -> dict[str, dict[str, float | int | None]]:
    """Figures of each multiple-choice task that several members have answered.

    ``questions`` says how many they are of; questions with several right choices or none, or
    without likelihoods, are ``left_out``.
    """
    found: dict[str, dict[str, float | int | None]] = {}
    for task in tasks:
        if getattr(task, "OUTPUT_TYPE", None) != "multiple_choice" or task.multiple_input:
            continue
        try:
            asked = _by_question(task, scores)
            known = [one for doc, table in asked if (one := _question(task, doc, table))]
            if known:
                found[str(task.config.task)] = {
                    "questions": len(known),
                    "left_out": len(asked) - len(known),
                    "members": len(known[0].members),
                    **summary(known),
                }
        except Exception as error:  # the run's own results must not be lost for it
            logger.warning("likelihoods: %s tells no doubt: %r", task.config.task, error)
    return found


def _by_question(task: Any, scores: Scores) -> list[tuple[Any, list[list[float]]]]:
    """Each document with its choices' log-likelihoods, (choices, members).

    Requests behind the choices are those of acc_mutual_info, without the question.
    """
    rows: dict[int, tuple[Any, dict[int, list[float]]]] = {}
    for request in task.instances:
        each = scores.get(id(request))
        if each is not None and len(each) > 1:
            _, choices = rows.setdefault(request.doc_id, (request.doc, {}))
            choices[request.idx] = [value for value, _ in each]
    return [
        (doc, [choices[place] for place in sorted(choices)][: len(task.doc_to_choice(doc))])
        for doc, choices in rows.values()
    ]


def _question(task: Any, doc: Any, table: list[list[float]]) -> Doubt | None:
    choices, gold = task.doc_to_choice(doc), task.doc_to_target(doc)
    if isinstance(gold, (list, tuple)) and len(gold) == 1:
        gold = gold[0]
    try:
        place = choices.index(gold) if isinstance(gold, str) else int(index(gold))
        if len(table) != len(choices):
            return None
        return doubt(list(zip(*table, strict=True)), place)
    except (UserError, TypeError, ValueError):  # several right ones, none, or no likelihoods
        return None
