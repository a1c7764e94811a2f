"""How sure members are of multiple-choice questions, from the likelihoods that a run has scored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from btrans_eval.errors import UserError
from btrans_eval.scores.doubt import Doubt, doubt, summary

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
        asked = _by_question(task, scores)
        known = [one for doc, table in asked if (one := _question(task, doc, table)) is not None]
        if known:
            found[str(task.config.task)] = {
                "questions": len(known),
                "left_out": len(asked) - len(known),
                "members": len(known[0].members),
                **summary(known),
            }
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
    if isinstance(gold, str) and gold in choices:
        gold = choices.index(gold)
    if not isinstance(gold, int) or not 0 <= gold < len(choices) or len(table) < len(choices):
        return None
    try:
        return doubt(list(zip(*table, strict=True)), gold)
    except UserError:
        return None
