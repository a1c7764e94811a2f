"""Votes under way: who must be asked, who is asked early to fill a batch, and who no more.

A vote takes its members in order and ends at the first place where it is decided. So how much was
generated beyond that, or was in the store before, changes no result.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from btrans_eval.harness.batches import Row
from btrans_eval.harness.plan import Question
from btrans_eval.harness.response import Response
from btrans_eval.harness.turns import Order

Needed = Callable[[Question, Sequence[Response], int], int]
"""Of a question, its first responses and how many there may be: how many more at least."""
Ask = Callable[[Sequence[Question], Order], Iterator[tuple[Row, Response]]]
"""The responses to questions: those that are known, then others as their turns come."""


class Vote:
    """The vote on one question.

    Args:
        question: with all of its draws.
        needed: tells when it is decided.

    Attributes:
        part: the question as it is asked; its draws stay, also where the vote needs fewer.
        asked: it takes so many draws, or more while it is not decided.
        is_decided: whether it needs no more.
        begun: the draws that were begun in this run.
        generated: how many of them are finished.
    """

    def __init__(self, question: Question, needed: Needed) -> None:
        self.part = replace(question)
        self.asked, self.is_decided = 0, False
        self.begun: set[int] = set()
        self.generated = 0
        self._question, self._needed = question, needed
        self._texts: dict[int, Response] = {}
        self._held = 0
        self._go_on()

    def add(self, draw: int, text: Response) -> None:
        """A response is there; it counts if it turns out to be one of those that decide."""
        self.generated += draw in self.begun
        self._texts[draw] = text
        self._go_on()

    def _go_on(self) -> None:
        """As far as the responses reach that are there without a gap."""
        while self._held in self._texts:
            self._held += 1
        while not self.is_decided and self._held >= self.asked:
            first = [self._texts[draw] for draw in range(self.asked)]
            more = self._needed(self.part, first, len(self.part.draws))
            self.asked += more
            self.is_decided = not more

    def close(self) -> Iterator[tuple[Row, Response]]:
        """The responses that decide; the question's draws are cut to them."""
        question = self._question
        question.prompt = self.part.prompt
        question.not_asked = len(question.draws) - self.asked
        question.draws = question.draws[: self.asked]
        for draw in range(self.asked):
            yield Row(question, draw), self._texts[draw]


class Asking:
    """Asks for the responses that votes need.

    Args:
        questions: those that are voted on.
        needed: tells when a vote is decided.
    """

    def __init__(self, questions: Sequence[Question], needed: Needed) -> None:
        self.votes = [Vote(question, needed) for question in questions]
        self._of = {id(vote.part): vote for vote in self.votes}

    def answers(self, ask: Ask) -> Iterator[tuple[Row, Response]]:
        """Each question's responses together, when its vote is decided."""
        for row, text in ask([vote.part for vote in self.votes], self.order):
            vote = self._of[id(row.question)]
            was_decided = vote.is_decided
            vote.add(row.draw, text)
            if vote.is_decided and not was_decided:
                yield from vote.close()

    def order(self, rows: Sequence[Row]) -> VotersFirst:
        """Turns over rows of the questions, none of which is being generated."""
        return VotersFirst(self._of, rows)


class VotersFirst:
    """Rows that votes need, those of earlier questions first; then some that they may need.

    Args:
        votes: by the id of their parts.
        rows: those that are not there.
    """

    def __init__(self, votes: Mapping[int, Vote], rows: Sequence[Row]) -> None:
        waiting: dict[int, list[Row]] = {}
        for row in rows:
            waiting.setdefault(id(row.question), []).append(row)
        self._votes = votes
        self._new = deque(
            (votes[key], deque(sorted(own, key=lambda row: row.draw)))
            for key, own in waiting.items()
        )
        self._begun: list[tuple[Vote, deque[Row]]] = []

    def take(self, most: int, early: int) -> list[Row]:
        """As `btrans_eval.harness.turns.Turns.take`."""
        found: list[Row] = []
        self._begun = [(vote, rows) for vote, rows in self._begun if rows and not vote.is_decided]
        for vote, rows in self._begun:
            found += _begin(vote, rows, most - len(found))
        while self._new and len(found) < most:
            vote, rows = self._new.popleft()
            if not vote.is_decided:
                self._begun.append((vote, rows))
                found += _begin(vote, rows, most - len(found))
        # all votes have begun if there is room left; the least ahead goes first
        ahead = [
            (rows[0].draw - vote.asked, n) for n, (vote, rows) in enumerate(self._begun) if rows
        ]
        heapq.heapify(ahead)
        while ahead and len(found) < early:
            _, n = heapq.heappop(ahead)
            vote, rows = self._begun[n]
            found += _begin(vote, rows, 1, is_early=True)
            if rows:
                heapq.heappush(ahead, (rows[0].draw - vote.asked, n))
        return found

    def wants(self, item: Row) -> bool:
        """As `btrans_eval.harness.turns.Turns.wants`: while the vote is not decided."""
        return not self._votes[id(item.question)].is_decided


def _begin(vote: Vote, rows: deque[Row], most: int, is_early: bool = False) -> list[Row]:
    """The next rows that the vote needs; early: also such as it may need."""
    found: list[Row] = []
    while rows and len(found) < most and (is_early or rows[0].draw < vote.asked):
        found.append(rows.popleft())
    vote.begun.update(row.draw for row in found)
    return found
