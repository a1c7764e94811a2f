"""The reward of a rollout: the task's own score of its response."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from btrans_eval.harness.response import Response
from btrans_eval.training.task import Doc, Judged, TrainingTask


@dataclass
class Rewards:
    """A reward function of trl.

    Attributes:
        task: scores.
        docs: the rows that are trained on; the column ``row`` numbers them.
        group: rollouts of a prompt.
        response: text of a rollout's tokens, as the harness would have it.
        write: is told of every rollout that is rewarded, as one JSON object.
    """

    task: TrainingTask
    docs: Sequence[Doc]
    group: int
    response: Callable[[list[int]], Response]
    write: Callable[[list[dict[str, Any]]], None]
    __name__ = "score"

    def __call__(
        self,
        prompts: Sequence[str],
        completions: Sequence[Any],
        completion_ids: Sequence[list[int]],
        row: Sequence[int],
        log_metric: Callable[[str, float], None],
        **others: Any,
    ) -> list[float]:
        """Score of each rollout; rollouts stand prompt by prompt."""
        texts = [self.response(tokens) for tokens in completion_ids]
        groups = [list(places) for _, places in groupby(range(len(row)), lambda place: row[place])]
        pieces = [
            places[start : start + self.group]  # a row may come twice, one after the other
            for places in groups
            for start in range(0, len(places), self.group)
        ]
        judged = self.task.judge(
            [self.docs[row[places[0]]] for places in pieces],
            [_filled([texts[place] for place in places], self.group) for places in pieces],
        )
        found: dict[int, Judged] = {}
        for places, of_group in zip(pieces, judged, strict=True):
            found.update(zip(places, of_group, strict=False))
        for name, value in _measures([[found[p] for p in places] for places in pieces]).items():
            log_metric(name, value)
        log_metric("answers/truncated", sum(bool(text.truncated) for text in texts) / len(texts))
        self.write(
            [
                {"row": row[place], "text": str(texts[place]), "tokens": texts[place].tokens,
                 "truncated": texts[place].truncated, "answer": found[place].response.answer,
                 "score": found[place].score}
                for place in range(len(texts))
            ]
        )  # fmt: skip
        return [found[place].score for place in range(len(texts))]


def _filled(texts: list[Response], count: int) -> list[Response]:
    """As many texts as the task's filter counts; processes may share a prompt's."""
    return texts + [texts[-1]] * (count - len(texts))


def _measures(groups: Sequence[Sequence[Judged]]) -> dict[str, float]:
    """What is logged of the answers of groups, means over groups."""
    labels = [[each.response.label for each in group] for group in groups]
    counts = [Counter(label for label in group if label is not None) for group in labels]
    rollouts = sum(map(len, labels))
    invalid = sum(label is None for group in labels for label in group)
    return {
        "answers/invalid": invalid / rollouts,
        "answers/distinct": sum(map(len, counts)) / len(counts),
        "answers/entropy": sum(map(_entropy, counts)) / len(counts),
        "answers/majority": sum(
            max(count.values(), default=0) / len(group)
            for count, group in zip(counts, labels, strict=True)
        )
        / len(counts),
        "label_accuracy": sum(each.score for group in groups for each in group) / rollouts,
    }


def _entropy(counts: Counter[Any]) -> float:
    """Of the classes of valid answers, in nats; 0 where there is none."""
    whole = sum(counts.values())
    return -sum(n / whole * math.log(n / whole) for n in counts.values()) if whole else 0.0
