"""What a population answered to one question: each response's answer, and the vote."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from lm_eval.utils import handle_non_serializable, hash_string

from btrans_eval.answers.extract import extract
from btrans_eval.answers.gold import kind_of_document
from btrans_eval.answers.vote import Vote, plurality
from btrans_eval.harness.plan import Question


@dataclass(frozen=True)
class Verdict:
    """The responses to one question, judged.

    Attributes:
        kind: what counts as an answer: letter, integer, number, latex or text.
        answers: the answer of each response; None where it is invalid.
        vote: the vote over them.
    """

    question: Question
    texts: list[str]
    kind: str
    answers: list[str | None]
    vote: Vote

    def line(self) -> dict[str, Any]:
        """The verdict as one JSON line."""
        return {
            **_which(self.question.request),
            "kind": self.kind,
            "responses": [
                {"member": member, "sample": sample, "text": text, "answer": answer}
                for (member, sample), text, answer in zip(
                    self.question.draws, self.texts, self.answers, strict=True
                )
            ],
            "votes": self.vote.counts,
            "tied": self.vote.tied,
            "returned": "all" if self.question.wants_all else self.vote.chosen,
        }


def judge(question: Question, texts: list[str], extractor: str | None) -> Verdict:
    """Extract every answer and vote."""
    kind = answer_kind(question, extractor)
    answers = [extract(text, kind) for text in texts]
    return Verdict(question, texts, kind, answers, plurality(answers))


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
