"""Votes that stop when they are decided: what decides them, and what they took."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from btrans_eval.answers import stopping
from btrans_eval.answers.equivalence import Judge
from btrans_eval.answers.normalize import normalize
from btrans_eval.config import PopulationConfig
from btrans_eval.errors import UserError
from btrans_eval.harness.asking import Ask, Asking
from btrans_eval.harness.batches import Row
from btrans_eval.harness.judging import label
from btrans_eval.harness.plan import Question
from btrans_eval.harness.response import Response, answer_in
from btrans_eval.harness.turns import InOrder
from btrans_eval.harness.verdict import answer_kind

logger = logging.getLogger(__name__)


class Stopping:
    """When the vote over one question needs no more members.

    Args:
        rule: ``exact``, or a probability.
        extractor: what counts as an answer; None: the gold answer's kind.
        judge: compares answers.
    """

    def __init__(self, rule: str | float, extractor: str | None, judge: Judge) -> None:
        self._rule, self._extractor, self._judge = rule, extractor, judge

    def needed(self, question: Question, texts: Sequence[Response], total: int) -> int:
        """How many more of ``total`` members must be asked at least; 0: the vote is decided.

        Of a question that cannot be judged all are asked: its vote will say why, as without a stop.
        """
        try:
            return self._needed(question, texts, total)
        except UserError:
            raise
        except Exception as error:
            logger.debug("stop: row %s cannot be judged: %s", question.request.doc_id, error)
            return total - len(texts)

    def _needed(self, question: Question, texts: Sequence[Response], total: int) -> int:
        kind = answer_kind(question, self._extractor)
        answers = [answer_in(text, kind) for text in texts]
        if isinstance(self._rule, float):
            labels = label(answers, kind, is_counted=False, judge=self._judge)
            return stopping.by_probability(labels, total, self._rule)
        read = [None if each is None else normalize(each, kind) or None for each in answers]
        if kind != "latex":
            return stopping.by_text(read, total)
        return stopping.by_spelling(read, total, self._may_equal)

    def asked(self, question: Question, texts: Sequence[Response]) -> int:
        """How many of the members whose responses are known would have been asked."""
        count = 0
        while more := self.needed(question, texts[:count], len(texts)):
            count += more
        return count

    def _may_equal(self, one: object, other: object) -> bool:
        """Whether two formulas are equal, or nobody knows."""
        return self._judge.equal_pairs([(str(one), str(other), "latex")])[0] is not False


class Votes:
    """The votes of one call of the harness, and how many members they took.

    Args:
        questions: those that members vote on.
        config: whether votes stop, and what is voted on.
        judge: compares answers.
    """

    def __init__(
        self, questions: Sequence[Question], config: PopulationConfig, judge: Judge
    ) -> None:
        self.questions = list(questions)
        self._stop, self._extractor = config.stop, config.extractor
        rule = "exact" if config.stop == "none" else config.stop
        self._stopping = Stopping(rule, config.extractor, judge)
        self._members = {id(question): len(question.draws) for question in questions}
        self._asked: dict[str, Counter[int]] = {}
        self._asking: Asking | None = None

    def answers(
        self, questions: Sequence[Question], ask: Ask, processes: int, is_static: bool
    ) -> Iterator[tuple[Row, Response]]:
        """The responses of all questions, those of votes up to where they stop."""
        if self._stop != "none" and len(self.questions) < len(questions):
            logger.warning(
                "stop: off for %d of %d questions, which members do not vote on",
                len(questions) - len(self.questions), len(questions),
            )  # fmt: skip
        if self._extractor is not None and any(each.wants_all for each in questions):
            logger.warning(
                "extractor: off for %d of %d questions, whose answers their task reads itself",
                sum(each.wants_all for each in questions), len(questions),
            )  # fmt: skip
        if self._stop == "none" or not self.questions:
            return ask(questions, InOrder)
        if processes > 1 or is_static:
            why = "batches are static" if is_static else "several processes share the work"
            logger.warning("stop: off, because %s; all members are asked", why)
            return ask(questions, InOrder)
        rest = [question for question in questions if id(question) not in self._members]
        self._asking = Asking(self.questions, self._stopping.needed)
        return chain(ask(rest, InOrder) if rest else (), self._asking.answers(ask))

    def count(self, question: Question, done: Mapping[int, Response]) -> None:
        """A question was answered: count its members, or, where none stopped, who was enough."""
        if id(question) not in self._members:
            return
        asked = len(done)
        if self._stop == "none":
            asked = self._stopping.asked(question, [done[draw] for draw in range(len(done))])
        of_task = self._asked.setdefault(str(question.request.task_name), Counter())
        of_task[asked] += 1

    def tell(self, processes: int) -> None:
        """One line: how many responses were asked for, or how many would have been enough."""
        if not self._asked or processes > 1:
            return
        asked = sum(count * times for each in self._asked.values() for count, times in each.items())
        said = "exact would have asked" if self._stop == "none" else f"{self._stop} asked"
        made = sum(vote.generated for vote in self._asking.votes) if self._asking else 0
        logger.warning(
            "stop: %s for %d responses of %d%s", said, asked, sum(self._members.values()),
            f", and {made} were generated" if self._asking else "",
        )  # fmt: skip

    def told(self) -> dict[str, dict[str, Any]]:
        """By task, how many members a question took, and how many responses were generated for it.

        Nothing where votes do not stop. A response that was in the store was not generated; one
        that was begun early and never voted on was.
        """
        if self._stop == "none":
            return {}
        told: dict[str, dict[str, Any]] = {
            task: {"asked": _tally(each)} for task, each in self._asked.items()
        }
        made: dict[str, Counter[int]] = {}
        for vote in self._asking.votes if self._asking else ():
            made.setdefault(str(vote.part.request.task_name), Counter())[vote.generated] += 1
        for task, each in made.items():
            told[task]["generated"] = _tally(each)
        return told


def _tally(counted: Counter[int]) -> dict[str, Any]:
    """The mean of a count over questions, and how many questions have which."""
    return {
        "mean": sum(count * times for count, times in counted.items()) / counted.total(),
        "questions": {str(count): times for count, times in sorted(counted.items())},
    }
