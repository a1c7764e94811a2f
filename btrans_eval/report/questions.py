"""Question by question: what the page's script shows, as JSON that HTML cannot misread."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from btrans_eval.compare.columns import have_votes
from btrans_eval.compare.join import JoinedTask
from btrans_eval.report.members import noun
from btrans_eval.report.study import ReportedTask
from btrans_eval.report.style import Look, variable
from btrans_eval.report.text import clean
from btrans_eval.results import AnsweredQuestion
from btrans_eval.scores.diversity import answer_entropy
from btrans_eval.scores.estimators import maj_at_k
from btrans_eval.scores.uncertainty import confidence

CAPS = (4000, 2000, 1000, 500, 250, 100)
"""Characters kept of a text: the first of these with which a task's texts stay under BUDGET."""
BUDGET = 16_000_000


def payload(
    task: ReportedTask, looks: Mapping[str, Look], kinds: Mapping[str, str]
) -> dict[str, Any]:
    """All that the page shows of a task's questions; ``kinds`` of the arms are population or not.

    ``doubting`` are the places of the arms by whose doubt the page can order the questions, and
    ``first`` is the one by which it does so when it opens: the first population; -1: none.
    """
    joined = task.joined
    everything = [one for of_arm in joined.arms.values() for one in of_arm]
    votes = have_votes(everything, joined.higher_is_better)
    names = list(joined.arms)
    doubting = [place for place, arm in enumerate(names) if votes and task.calls(arm) > 1]
    around = shared(joined)
    cap = _cap(_texts(joined.arms.values()))
    first = next(iter(joined.arms.values()))
    rows = []
    for place, question in enumerate(first):
        part = part_of(joined.documents[place])
        of_arms = [_responses(of_arm[place], cap, votes) for of_arm in joined.arms.values()]
        rows.append(
            {
                "id": question.doc_id,
                "part": part,
                "asked": _cut(own(question.asked, around[part]), cap),
                "gold": _cut(question.gold, cap),
                "arms": of_arms,
            }
        )
    rows.sort(key=lambda row: (row["part"], row["id"]))
    return {
        "cap": cap,
        "scored": task.is_scored,
        "doubting": doubting,
        "first": next((p for p in doubting if kinds[names[p]] == "population"), -1),
        "around": {part: [_cut(one, cap) for one in pair] for part, pair in around.items()},
        "arms": [
            {"name": clean(arm), "calls": task.calls(arm), "glyph": looks[arm].glyph,
             "colour": variable(looks[arm].colour), "who": noun(kinds[arm])}
            for arm in names
        ],
        "rows": rows,
    }  # fmt: skip


def part_of(document: str) -> str:
    """The part of a pooled group that a document belongs to; empty for a task alone."""
    return document.rpartition(" ")[0]


def shared(task: JoinedTask) -> dict[str, tuple[str, str]]:
    """What all prompts of a part begin and end with: system prompt, examples, template."""
    prompts: dict[str, list[str]] = {}
    for document, question in zip(task.documents, next(iter(task.arms.values())), strict=True):
        prompts.setdefault(part_of(document), []).append(question.asked)
    return {part: _shared(of_part) for part, of_part in prompts.items()}


def own(asked: str, around: tuple[str, str]) -> str:
    """A prompt without what it shares with the others."""
    before, after = around
    return asked[len(before) : len(asked) - len(after)]


def as_json(value: Any) -> str:
    """JSON that may stand inside a script element, whatever it holds."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character, escape in (
        ("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"), ("\u2028", "\\u2028"),
        ("\u2029", "\\u2029"),
    ):  # fmt: skip
        text = text.replace(character, escape)
    return text


def _texts(arms: Any) -> Iterator[str]:
    for questions in arms:
        for question in questions:
            yield question.asked
            yield from {one.text for one in question.responses}


def _cap(texts: Iterator[str]) -> int:
    lengths = [len(text) for text in texts]
    fits = (cap for cap in CAPS if sum(min(length, cap) for length in lengths) <= BUDGET)
    return next(fits, CAPS[-1])


def _cut(text: str, cap: int) -> str:
    return clean(text if len(text) <= cap else text[:cap] + " […]")


def _shared(prompts: Sequence[str]) -> tuple[str, str]:
    """What all prompts begin and end with, in whole lines; nothing where one is all of it."""
    before = os.path.commonprefix(prompts)
    before = before[: before.rfind("\n") + 1]
    ends = [prompt[len(before) :][::-1] for prompt in prompts]
    after = os.path.commonprefix(ends)[::-1]
    mark = re.search(r"\n|<|\[/", after)  # where a line or a chat template's mark begins
    after = after[mark.start() :] if mark else ""
    if len(prompts) < 2 or any(len(before) + len(after) >= len(prompt) for prompt in prompts):
        return "", ""
    return before, after


def _responses(question: AnsweredQuestion, cap: int, votes: bool) -> dict[str, Any]:
    """An arm's responses to a question; equal texts are kept once.

    ``vote`` is what the vote of several scores where the task's answers vote, and what the only
    response scores; ``share`` and ``entropy`` are how sure the vote is.
    """
    responses = question.responses
    texts = list(dict.fromkeys(one.text for one in responses))
    number = {text: place for place, text in enumerate(texts)}
    scores = [one.score for one in responses]
    labels = [one.label for one in responses]
    known = [score for score in scores if score is not None]
    voted = votes and len(scores) > 1
    vote = scores[0] if len(scores) == 1 else None
    if voted and len(known) == len(scores):
        vote = maj_at_k(labels, known, len(known))
    return {
        "vote": vote,
        "share": confidence(labels).share if voted else None,
        "entropy": answer_entropy(labels) if voted else None,
        "right": sum(score == 1 for score in known),
        "texts": [_cut(text, cap) for text in texts],
        "all": [
            [number[one.text], one.member, one.label, one.score, _maybe(one.answer, cap),
             one.tokens, bool(one.truncated)]
            for one in responses
        ],
    }  # fmt: skip


def _maybe(answer: str | None, cap: int) -> str | None:
    return None if answer is None else _cut(answer, min(cap, 200))
