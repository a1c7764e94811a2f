"""The reward of a rollout: the task's own score of its response, or the vote of its group."""

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
        by_vote: whether the group's vote rewards, and not the score, which is then only logged.
        extra: tokens of the votes that are not trained on, by prompt; empty where all are.
    """

    task: TrainingTask
    docs: Sequence[Doc]
    group: int
    response: Callable[[list[int]], Response]
    write: Callable[[list[dict[str, Any]]], None]
    by_vote: bool = False
    extra: Callable[[], Sequence[Sequence[list[int]]]] = tuple

    @property
    def __name__(self) -> str:
        """What trl calls it."""
        return "vote" if self.by_vote else "score"

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
        extra = self.extra() or [[]] * len(pieces)
        untrained = [[self.response(one) for one in votes] for votes in extra]
        judged = self.task.judge(
            [self.docs[row[places[0]]] for places in pieces],
            [
                _filled([texts[place] for place in places], self.group) + more
                for places, more in zip(pieces, untrained, strict=True)
            ],
        )
        found: dict[int, Judged] = {}
        votes: list[list[Judged]] = []
        rewards: dict[int, float] = {}
        for places, of_group in zip(pieces, judged, strict=True):
            found.update(zip(places, of_group, strict=False))
            votes.append([*of_group[: len(places)], *of_group[self.group :]])
            winner = plurality_class([each.response.label for each in votes[-1]])
            for place in places:
                label = found[place].response.label
                voted = float(winner is not None and label == winner)
                rewards[place] = voted if self.by_vote else found[place].score
        for name, value in measures(votes).items():
            log_metric(name, value)
        agreed = [rewards[place] == found[place].score for place in range(len(texts))]
        log_metric("reward_accuracy", sum(agreed) / len(texts))
        log_metric("answers/truncated", sum(bool(text.truncated) for text in texts) / len(texts))
        self.write(
            [
                {"row": row[place], "text": str(texts[place]), "tokens": texts[place].tokens,
                 "truncated": texts[place].truncated, "answer": found[place].response.answer,
                 "score": found[place].score, "reward": rewards[place]}
                for place in range(len(texts))
            ]
        )  # fmt: skip
        return [rewards[place] for place in range(len(texts))]


def plurality_class(labels: Sequence[int | None]) -> int | None:
    """The class with most votes; None where it is tied, or nobody has an answer."""
    counts = Counter(label for label in labels if label is not None).most_common(2)
    if not counts or (len(counts) == 2 and counts[0][1] == counts[1][1]):
        return None
    return counts[0][0]


def _filled(texts: list[Response], count: int) -> list[Response]:
    """As many texts as the task's filter counts; processes may share a prompt's."""
    return texts + [texts[-1]] * (count - len(texts))


def measures(groups: Sequence[Sequence[Judged]]) -> dict[str, float]:
    """What is logged of the votes of groups; means over groups, or over votes.

    ``label_accuracy``: share of groups whose vote has the right answer (a tie or no answer has
    none); ``ground_truth_ratio``: share of votes that are right; ``majority_ratio``: share of its
    group that the largest class has. The last two and ``reward_accuracy`` are TTRL's (arXiv
    2504.16084).
    """
    labels = [[each.response.label for each in group] for group in groups]
    counts = [Counter(label for label in group if label is not None) for group in labels]
    votes = sum(map(len, labels))
    winners = [plurality_class(group) for group in labels]
    right = [
        next((each.score for each in group if each.response.label == winner), 0.0)
        if winner is not None
        else 0.0
        for group, winner in zip(groups, winners, strict=True)
    ]
    sizes = [max(count.values(), default=0) for count in counts]
    of_groups: dict[str, Sequence[float]] = {
        "answers/distinct": [len(count) for count in counts],
        "answers/entropy": [_entropy(count) for count in counts],
        "majority_ratio": [n / len(g) for n, g in zip(sizes, labels, strict=True)],
        "label_accuracy": right,
        "vote/none": [not count for count in counts],
        "vote/tied": [w is None and bool(c) for w, c in zip(winners, counts, strict=True)],
    }
    return {
        "answers/invalid": sum(each is None for group in labels for each in group) / votes,
        "ground_truth_ratio": sum(each.score for group in groups for each in group) / votes,
        **{name: sum(values) / len(groups) for name, values in of_groups.items()},
    }


def _entropy(counts: Counter[Any]) -> float:
    """Of the classes of valid answers, in nats; 0 where there is none."""
    whole = sum(counts.values())
    return sum(n / whole * math.log(whole / n) for n in counts.values())
