"""Votes under way, on an engine that is none: what ends a vote does not depend on what is done."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest

from btrans_eval.answers.stopping import by_text
from btrans_eval.answers.vote import plurality
from btrans_eval.harness.asking import Asking
from btrans_eval.harness.batches import Row
from btrans_eval.harness.plan import Question
from btrans_eval.harness.turns import InOrder, Named


def questions(chosen, count, k):
    """Each with what its members would say, one answer oftener than the others."""
    found = []
    for place in range(count):
        words = chosen.choice(["aab", "aaaaab", "abcdefgh", "a", "ab"])
        texts = [chosen.choice([*words, None]) for _ in range(k)]
        request = SimpleNamespace(args=(str(place), {}), task_name="toy", doc_id=place)
        found.append((Question(request, [(m, 0) for m in range(k)], wants_all=False), texts))
    return found


def needed(question, texts, total):
    return by_text(texts, total)


def shortest(texts):
    """So many members decide, asked one by one."""
    return next(n for n in range(len(texts) + 1) if not by_text(texts[:n], len(texts)))


class Engine:
    """Rows in places, of which any may be the next to finish; memory may run out, too.

    Args:
        said: what each row's member says, by the question's number.
        held: (question, draw) that are in the store.
    """

    def __init__(self, chosen, said, places, held=(), starved=0.0, early=None):
        self.chosen, self.said, self.places = chosen, said, places
        self.held, self.starved, self.early = set(held), starved, early
        self.finished, self.given_up = [], []

    def name(self, row):
        return row.question.request.doc_id, row.draw

    def text(self, row):
        number, draw = self.name(row)
        return self.said[number][draw]

    def ask(self, asked, order):
        rows = [Row(each, draw) for each in asked for draw in range(len(each.draws))]
        self.chosen.shuffle(known := [row for row in rows if self.name(row) in self.held])
        for row in known:
            yield row, self.text(row)
        left = [row for row in rows if self.name(row) not in self.held]
        while left:
            turns, running = order(left), []
            while True:
                for row in [row for row in running if not turns.wants(row)]:
                    running.remove(row)
                    self.given_up.append(self.name(row))
                free = self.places - len(running)
                new = turns.take(free, free if self.early is None else self.early)
                assert len(new) <= free and not {*new} & {*running} and {*new} <= {*left}
                running += new
                if not running:
                    return
                if self.chosen.random() < self.starved:
                    break  # what runs is lost
                row = running.pop(self.chosen.randrange(len(running)))
                left.remove(row)
                self.finished.append(self.name(row))
                yield row, self.text(row)


@pytest.mark.parametrize("k", [1, 2, 3, 5, 8, 16])
@pytest.mark.parametrize("places", [1, 3, 32])
@pytest.mark.parametrize("starved", [0.0, 0.1])
def test_the_first_members_that_decide_are_voted_on_whatever_is_generated(k, places, starved):
    for seed in range(40):
        chosen = random.Random(f"{k} {places} {seed}")
        asked = questions(chosen, chosen.choice([0, 1, 2, 9]), k)
        said = [texts for _, texts in asked]
        everything = [(n, draw) for n in range(len(asked)) for draw in range(k)]
        held = chosen.sample(everything, chosen.choice([0, 0, len(everything) // 2]))
        held = chosen.choice([held, everything])
        engine = Engine(chosen, said, places, held, starved)
        asking = Asking([question for question, _ in asked], needed)
        found = {}
        for row, text in asking.answers(engine.ask):
            found.setdefault(row.question.request.doc_id, []).append((row.draw, text))
        for number, (question, texts) in enumerate(asked):
            enough = shortest(texts)
            assert found[number] == list(enumerate(texts[:enough]))
            assert len(question.draws) == enough and question.not_asked == k - enough
            if any(texts):
                chosen_of_all = plurality(texts).chosen
                assert plurality(texts[:enough]).chosen == chosen_of_all
            generated = [name for name in engine.finished if name[0] == number]
            assert asking.votes[number].generated == len(generated) == len(set(generated))
        assert not {*engine.finished} & {*held}


class Watched(Asking):
    """Notes whether all that votes needed was begun when somebody was asked early."""

    early, too_early = 0, 0

    def order(self, rows):
        turns = super().order(rows)
        take = turns.take

        def watched(most, early):
            new = take(most, early)
            count = sum(row.draw >= self._of[id(row.question)].asked for row in new)
            begun = all(
                {*range(vote.asked)} <= vote.begun or vote.is_decided for vote in self.votes
            )
            self.early += count
            self.too_early += 0 if begun else count
            return new

        turns.take = watched
        return turns


def test_nobody_is_asked_early_while_a_vote_needs_somebody():
    early = 0
    for seed in range(60):
        chosen = random.Random(seed)
        asked = questions(chosen, 6, 9)
        engine = Engine(chosen, [texts for _, texts in asked], places=4)
        asking = Watched([question for question, _ in asked], needed)
        assert {row.question.request.doc_id for row, _ in asking.answers(engine.ask)} == {*range(6)}
        assert not asking.too_early
        early += asking.early
    assert early


def test_without_early_ones_nobody_is_asked_for_nothing():
    chosen = random.Random(3)
    asked = questions(chosen, 9, 8)
    engine = Engine(chosen, [texts for _, texts in asked], places=72, early=0)
    asking = Asking([question for question, _ in asked], needed)
    assert len(list(asking.answers(engine.ask))) == len(engine.finished) < 72
    assert not engine.given_up
    assert [vote.generated for vote in asking.votes] == [vote.asked for vote in asking.votes]


def test_what_was_begun_early_is_given_up_when_the_vote_is_decided():
    (question, texts), *_ = asked = questions(random.Random(0), 1, 8)
    texts[:] = ["a"] * 8
    engine = Engine(random.Random(0), [texts], places=8)
    asking = Asking([question for question, _ in asked], needed)
    assert len(list(asking.answers(engine.ask))) == 4
    assert len(engine.finished) + len(engine.given_up) == 8 and engine.given_up
    assert asking.votes[0].generated == len(engine.finished) >= 4


def test_the_least_ahead_is_begun_first():
    asked = questions(random.Random(0), 3, 8)
    asking = Asking([question for question, _ in asked], needed)
    parts = [vote.part for vote in asking.votes]
    turns = asking.order([Row(part, draw) for part in parts for draw in range(8)])
    assert [row.draw for row in turns.take(12, 12)] == [*range(4)] * 3
    early = [(row.question.request.doc_id, row.draw) for row in turns.take(5, 5)]
    assert early == [(0, 4), (1, 4), (2, 4), (0, 5), (1, 5)]
    assert len(turns.take(9, 2)) == 2 and turns.take(9, 0) == []
    assert len(turns.take(9, 9)) == 5 and turns.take(9, 9) == []


def test_what_lies_beyond_a_gap_is_not_needed():
    """Draws 1 and 3 of the first four are in the store: 0 and 2 are needed, 4 is not."""
    asked = questions(random.Random(0), 1, 8)
    (vote,) = (asking := Asking([question for question, _ in asked], needed)).votes
    for draw in (1, 3):
        vote.add(draw, "a")
    turns = asking.order([Row(vote.part, draw) for draw in (7, 6, 5, 4, 2, 0)])
    assert [row.draw for row in turns.take(9, 0)] == [0, 2] and turns.take(9, 0) == []
    assert [row.draw for row in turns.take(9, 1)] == [4]
    vote.add(0, "a")
    vote.add(2, "b")
    assert not vote.is_decided and vote.asked == 5 and vote.generated == 2
    assert turns.take(9, 0) == []
    vote.add(4, "a")
    assert vote.is_decided and vote.generated == 3 and turns.take(9, 9) == []


def test_turns_in_order_and_under_other_names():
    rows = [Row(question, 0) for question, _ in questions(random.Random(0), 5, 1)]
    names = [object() for _ in rows]
    turns = Named(InOrder, list(zip(rows, names, strict=True)))
    assert turns.take(2, 0) == names[:2] and turns.wants(names[4])
    assert turns.take(9, 9) == names[2:] and turns.take(1, 1) == []
