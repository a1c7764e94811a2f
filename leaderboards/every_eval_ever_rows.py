"""The rows beside a log of Every Eval Ever: per question and number, all K responses."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from btrans_eval.leaderboards.evidence import Side, TaskEvidence
from btrans_eval.leaderboards.numbers import Number
from btrans_eval.results import AnsweredQuestion, ScoredResponse
from btrans_eval.scores.uncertainty import confidence

Row = dict[str, Any]


def rows(task: TaskEvidence, side: Side, model: str, evaluation_id: str, version: str) -> list[Row]:
    """One row per number and question, as the format asks; each holds all K responses."""
    return [
        {
            "schema_version": version,
            "evaluation_id": evaluation_id,
            "model_id": model,
            "evaluation_name": f"{task.name}, {number.title}",
            "evaluation_result_id": result_id(task, number),
            **_row(task, side, number, place),
        }
        for number in side.numbers.values()
        for place in range(len(side.questions))
    ]


def result_id(task: TaskEvidence, number: Number) -> str:
    """What joins a row to its number."""
    return f"{task.name}:{number.name}"


def _row(task: TaskEvidence, side: Side, number: Number, place: int) -> Row:
    question = side.questions[place]
    column = "mean" if number.kind == "mean" else number.name
    score = side.columns[place][column]
    asked, reference = _unicode(question.asked), [_unicode(question.gold)]
    scores = [one.score for one in question.responses]
    correct = score == 1 if number.kind == "maj" else all(one == 1 for one in scores)
    return {
        "sample_id": _sample_id(task, place, question),
        "sample_hash": _hash({"raw": asked, "reference": reference}),
        "interaction_type": "single_turn",
        "input": {"raw": asked, "reference": reference},
        "output": {"raw": [_unicode(one.text) for one in question.responses]},
        "messages": None,
        "answer_attribution": _attribution(number, question),
        # an oracle has no answer, so it cannot be correct by luck: see is_correct_rule
        "evaluation": {"score": score, "is_correct": correct},
        "metadata": {
            "metric": number.title,
            **_confidence(number, question),
            "is_correct_means": number.is_correct_rule,
            "score_of_each_response": json.dumps(scores),
            "answer_class_of_each_response": _each(question, "label"),
            "member_of_each_response": _each(question, "member"),
            "sample_of_each_response": _each(question, "sample"),
            "tokens_of_each_response": _each(question, "tokens"),
            "truncated_of_each_response": _each(question, "truncated"),
            "document_sha256": question.document,
        },
    }


def _confidence(number: Number, question: AnsweredQuestion) -> Row:
    """The share of votes of a vote's winner, from which anyone can count its calibration."""
    if number.kind != "maj":
        return {}
    return {"vote_share": json.dumps(confidence([one.label for one in question.responses]).share)}


def _attribution(number: Number, question: AnsweredQuestion) -> list[Row]:
    """What was read from each response and, of a vote, which answers won."""
    found = [
        {
            "turn_idx": 0,
            "source": f"output.raw[{place}]",
            "extracted_value": _unicode(one.answer or ""),
            "extraction_method": "task's extractor" if one.label is not None else "no answer found",
            "is_terminal": number.kind == "mean",
        }
        for place, one in enumerate(question.responses)
    ]
    if number.kind != "maj":
        return found
    return found + [
        {
            "turn_idx": 0,
            "source": "output.raw",
            "extracted_value": _unicode(one.answer or ""),
            "extraction_method": f"plurality vote of {number.n} responses",
            "is_terminal": True,
        }
        for one in _winners(question)
    ]


def _winners(question: AnsweredQuestion) -> list[ScoredResponse]:
    """The first response of each answer class with most votes."""
    labels = [one.label for one in question.responses if one.label is not None]
    most = max((labels.count(label) for label in labels), default=0)
    winning = [label for label in dict.fromkeys(labels) if labels.count(label) == most]
    return [next(one for one in question.responses if one.label == label) for label in winning]


def _sample_id(task: TaskEvidence, place: int, question: AnsweredQuestion) -> str:
    """Number of the row; in a pooled group with its task."""
    if len(task.joined.parts) == 1:
        return str(question.doc_id)
    part = task.joined.documents[place].partition(" ")[0]
    return f"{part}/{question.doc_id}"


def _each(question: AnsweredQuestion, name: str) -> str:
    return json.dumps([getattr(one, name) for one in question.responses])


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _unicode(text: str) -> str:
    """Half a surrogate pair, which a cut response may end in, is no text and becomes U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
