"""Votes of groups whose rollouts come one at a time, each waiting for its siblings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from btrans_eval.answers.equivalence import Equality, classes
from btrans_eval.answers.extract import extract
from btrans_eval.answers.gold import gold_answer, kind_of_gold
from btrans_eval.errors import UserError
from btrans_eval.training.rewards import plurality_class

VOTES = "btrans_votes"
"""Field of a row: how many rollouts of its prompt vote; in training only."""

One = TypeVar("One")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Rewarded:
    """What a rollout earns.

    Attributes:
        reward: 1 where its answer is of the class with most votes; of an only rollout its score.
        score: 1 where its answer equals the gold answer.
        is_valid: whether it has an answer.
        majority: share of its group that the largest class has.
    """

    reward: float
    score: float
    is_valid: bool
    majority: float


def rewarded(texts: Sequence[str], gold: str, judge: Equality, by_vote: bool) -> list[Rewarded]:
    """What each response of a group earns; ties and groups without an answer earn nothing.

    Args:
        texts: the responses of one prompt.
        gold: its gold answer, whose form says what kind of answer is looked for; its value decides
            no vote.
        judge: compares answers.
        by_vote: whether the vote rewards, and not the score.
    """
    kind = kind_of_gold(gold, {})
    right = gold_answer({"gold": gold}, "gold", kind)
    answers = [extract(text, kind) for text in texts]
    labels = classes(answers, kind, judge).labels
    winner = plurality_class(labels)
    given = [answer for answer in answers if answer is not None]
    equal = iter(judge.equal_pairs([(answer, right, kind) for answer in given]))
    scores = [float(answer is not None and bool(next(equal))) for answer in answers]
    valid = [label for label in labels if label is not None]
    most = max((valid.count(label) for label in set(valid)), default=0) / len(texts)
    return [
        Rewarded(
            float(winner is not None and label == winner) if by_vote else score,
            score,
            label is not None,
            most,
        )
        for label, score in zip(labels, scores, strict=True)
    ]


@dataclass
class Groups(Generic[One, Found]):
    """Holds each rollout until its group is whole, and then judges the group once.

    Attributes:
        judge: of a group's rollouts in their order, one verdict for each; run in a thread.
        seconds: that a rollout waits at most.
    """

    judge: Callable[[Sequence[One]], Sequence[Found]]
    seconds: float
    _open: dict[str, tuple[dict[int, One], asyncio.Future[Mapping[int, Found]]]] = field(
        default_factory=dict, init=False
    )
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def verdict(self, group: str, place: int, count: int, rollout: One) -> Found:
        """The verdict on a rollout, once all ``count`` of its group have come.

        Raises:
            UserError: if a rollout comes twice, or its siblings do not come in time.
        """
        loop = asyncio.get_running_loop()
        rollouts, done = self._open.setdefault(group, ({}, loop.create_future()))
        if place in rollouts:
            raise UserError(
                f"vote: rollout {place} of group {group} came twice; group and number must be apart"
            )
        rollouts[place] = rollout
        if len(rollouts) == count:
            del self._open[group]
            await self._decide(rollouts, done)
        try:
            found = await asyncio.wait_for(asyncio.shield(done), self.seconds)
        except TimeoutError:
            self._open.pop(group, None)
            raise UserError(
                f"vote: {count} rollouts must come within {self.seconds:g} s of each other, but "
                f"group {group} has {len(rollouts)}: the others failed, or went to another worker; "
                "set reward.num_workers=1"
            ) from None
        return found[place]

    async def _decide(
        self, rollouts: Mapping[int, One], done: asyncio.Future[Mapping[int, Found]]
    ) -> None:
        places = sorted(rollouts)
        try:
            async with self._turn:  # a judge is one thread's
                found = await asyncio.to_thread(self.judge, [rollouts[each] for each in places])
        except Exception as error:
            done.set_exception(error)
        else:
            done.set_result(dict(zip(places, found, strict=True)))
