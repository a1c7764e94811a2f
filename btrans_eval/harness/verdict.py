"""What a population answered to one question: each response's answer, and the vote."""

from __future__ import annotations

import json
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from lm_eval.utils import handle_non_serializable, hash_string

from btrans_eval.answers.equivalence import Judge
from btrans_eval.answers.gold import kind_of_document
from btrans_eval.answers.vote import Vote, plurality
from btrans_eval.harness.judging import label
from btrans_eval.harness.plan import Question
from btrans_eval.harness.response import Response, answer_in
from btrans_eval.judged import JudgedResponse


@dataclass(frozen=True)
class Verdict:
    """The responses to one question, judged.

    Attributes:
        kind: what counts as an answer: letter, integer, number, latex or text.
        answers: the answer of each response; None where it is invalid.
        labels: the class of each answer: equal answers may be written in different ways.
        vote: the vote over them.
    """

    question: Question
    texts: list[Response]
    kind: str
    answers: list[str | None]
    labels: list[int | None]
    vote: Vote

    def line(self) -> dict[str, Any]:
        """The verdict as one JSON line."""
        return {
            **_which(self.question.request),
            "kind": self.kind,
            "responses": [
                JudgedResponse(
                    text, answer, label, {}, text.tokens, text.truncated, text.mean_logprob
                ).of_member(member, sample)
                for (member, sample), text, answer, label in zip(
                    self.question.draws, self.texts, self.answers, self.labels, strict=True
                )
            ],
            "votes": {self._name(one): n for one, n in self.vote.counts.items()},
            "tied": self.vote.tied,
            **({"not_asked": self.question.not_asked} if self.question.not_asked else {}),
            "returned": self.vote.chosen,
        }

    def _name(self, one: Hashable) -> str:
        """How the first response of a class wrote its answer."""
        return str(self.answers[self.labels.index(one)])  # type: ignore[arg-type]  # a label


def judge(
    question: Question, texts: list[Response], extractor: str | None, equality: Judge
) -> Verdict:
    """Extract every answer and vote."""
    kind = answer_kind(question, extractor)
    answers = [answer_in(text, kind) for text in texts]
    labels = label(answers, kind, judge=equality)
    return Verdict(question, texts, kind, answers, labels, plurality(labels))


def no_verdict(question: Question, texts: list[Response]) -> Verdict:
    """The verdict on responses that could not be judged: none of them holds an answer."""
    none: list[None] = [None] * len(texts)
    return Verdict(question, texts, "text", [*none], [*none], plurality(none))


def all_line(question: Question, texts: list[Response]) -> dict[str, Any]:
    """Responses that the task gets all of, as one JSON line: it reads them in a way of its own."""
    return {
        **_which(question.request),
        "responses": [
            JudgedResponse(
                text, tokens=text.tokens, truncated=text.truncated, mean_logprob=text.mean_logprob
            ).of_member(member, sample, is_read=False)
            for (member, sample), text in zip(question.draws, texts, strict=True)
        ],
        "returned": "all",
    }


def answer_kind(question: Question, extractor: str | None) -> str:
    """What counts as an answer: ``extractor`` if given, else the form of the gold answer."""
    return extractor or kind_of_document(question.request.doc)


def likelihood_line(request: Any, scores: list[Any]) -> dict[str, Any]:
    """The members' scores of one request as one JSON line."""
    return {**_which(request), "idx": request.idx, "members": scores}


def _which(request: Any) -> dict[str, Any]:
    document = json.dumps(
        request.doc, indent=2, default=handle_non_serializable, ensure_ascii=False
    )
    return {
        "task": request.task_name,
        "doc_id": request.doc_id,
        "doc_hash": hash_string(document),
        "prompt_hash": hash_string(request.args[0]),
    }
