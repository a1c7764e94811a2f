"""Score all responses to a task's questions: answers, classes, and the columns of each question."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lm_eval.api.filter import Filter

from btrans_eval.answers.gold import gold_answer
from btrans_eval.embeddings import DEFAULT, describe, embed
from btrans_eval.errors import UserError
from btrans_eval.harness import record
from btrans_eval.harness.judging import correct, label
from btrans_eval.harness.response import Response, answer_in
from btrans_eval.judged import JudgedResponse
from btrans_eval.scores.diversity import cosine_distance, distinct_n, mean_words, vendi
from btrans_eval.scores.rows import check_row
from btrans_eval.scores.summary import question_columns

Columns = dict[str, float]


class Logged(str):
    """What is logged for a response.

    Attributes:
        columns: every number of its question: lm_eval 0.5 hands over the items of a row alone.
    """

    columns: Columns


class ScoredRow(list[Logged]):
    """What is logged for each response of a question, with the question's columns.

    Args:
        responses: of the question, judged.
        columns: every number of the question, for ``process_results`` to hand over.

    The items are JSON, because the harness logs text: ``{"answer": "7", "class": 0, "scores":
    {"score": 1.0}, "tokens": 5, "truncated": false}``.
    """

    def __init__(self, responses: Sequence[JudgedResponse], columns: Columns) -> None:
        super().__init__(Logged(response.sample()) for response in responses)
        self.responses, self.columns = responses, columns
        for logged in self:
            logged.columns = columns


def judged(
    responses: Sequence[str],
    answers: Sequence[str | None] = (),
    labels: Sequence[int | None] = (),
    scores: Mapping[str, Sequence[float]] | None = None,
) -> list[JudgedResponse]:
    """The responses to a question with what was found of each.

    Args:
        responses: tokens and truncation are known of those that the engine counted.
        answers, labels: of each; empty where there are no answers.
        scores: by metric, of each.
    """
    return [
        JudgedResponse(
            text,
            answers[place] if answers else None,
            labels[place] if labels else None,
            {metric: values[place] for metric, values in (scores or {}).items()},
            getattr(text, "tokens", None),
            getattr(text, "truncated", None),
        )
        for place, text in enumerate(responses)
    ]


class PopulationFilter(Filter):
    """The harness's filter ``btrans_population``: score the first k responses of each question.

    Args:
        k: responses per question, as many as the task's ``repeats``.
        kind: what counts as an answer (letter, integer, number, latex or text); None where
            responses are not answers.
        gold: name of the row's field that holds the gold answer.
        answer: reads the answer from a response, in place of ``kind``.
        score: score of a response to a row, in place of comparing with the gold answer.
        encoder: sentence encoder for the diversity columns; None leaves out those that need one.
        tolerance: relative, within which an answer is right where the gold is a measured number
            (``answers.tolerance``); with kind latex only.

    Raises:
        UserError: for k < 2, a tolerance outside (0, 1) or of another kind, or a row without the
            gold answer's field.
    """

    def __init__(
        self,
        k: int,
        kind: str | None = None,
        gold: str = "answer",
        answer: Callable[[str], str | None] | None = None,
        score: Callable[[Mapping[str, Any], str], float] | None = None,
        encoder: str | None = None,
        tolerance: float | None = None,
    ) -> None:
        is_share = isinstance(tolerance, float) and 0 < tolerance < 1  # YAML's 1e-4 is a string
        if tolerance is not None and not (is_share and kind == "latex" and score is None):
            raise UserError(
                "tolerance: must lie between 0 and 1 and goes with kind: latex and without score, "
                f"got {tolerance!r} with kind: {kind}; leave it out for exact scores"
            )
        if k < 2:
            raise UserError(f"repeats: a population needs at least 2 responses, got {k}")
        self.k, self.kind, self.gold, self.encoder = k, kind, gold, encoder
        self.answer, self.score, self.tolerance = answer, score, tolerance

    def apply(self, resps: Any, docs: Any) -> list[ScoredRow]:
        """Score the responses of all questions; one row per question."""
        rows = [first_k(row, self.k, place) for place, row in enumerate(resps)]
        if self.tolerance is not None:
            record.current().note("relative_tolerance_of_measured_golds", self.tolerance)
        diversity = diversity_columns(rows, self.encoder)
        return [
            self._scored(place, row, doc, of_texts)
            for place, (row, doc, of_texts) in enumerate(zip(rows, docs, diversity, strict=True))
        ]

    def _scored(
        self, place: int, row: list[str], doc: Mapping[str, Any], of_texts: Columns
    ) -> ScoredRow:
        if self.kind is None and self.answer is None:
            return ScoredRow(judged(row), of_texts)
        answers: Sequence[str | None]
        labels: Sequence[int | None]
        try:
            answers, scores, labels = self._judged(row, doc)
        except UserError:
            raise
        except Exception as error:
            record.current().failures.note_position(place, error)
            answers, scores, labels = [None] * self.k, [0.0] * self.k, [None] * self.k
        columns = {**question_columns(scores, labels), **of_texts}
        return ScoredRow(judged(row, answers, labels, {"score": scores}), columns)

    def _judged(
        self, row: list[str], doc: Mapping[str, Any]
    ) -> tuple[list[str | None], list[float], list[int | None]]:
        """Answer, score and answer class of each response."""
        kind = self.kind or "text"
        answers = [answer_in(text, kind) if self.answer is None else self.answer(text)
                   for text in row]  # fmt: skip
        if self.score is None:
            gold = gold_answer(doc, self.gold, kind)
            scores = correct(answers, gold, kind, self.tolerance)
        else:
            scores = [self.score(doc, text) for text in row]
        return answers, scores, label(answers, kind)


def first_k(row: Sequence[str], k: int, question: int) -> list[str]:
    """The first k responses; a launch on several processes may append more (docs/lm-eval.md)."""
    taken = list(row)[:k]
    check_row(taken, k, f"number {question}")
    return taken


def diversity_columns(rows: Sequence[Sequence[str]], encoder: str | None) -> list[Columns]:
    """Diversity of each question's responses, all embedded together.

    ``mean_tokens`` and ``truncated_rate`` only where the engine counted: never guessed.
    """
    columns: list[Columns] = [
        {"distinct_1": distinct_n(row, 1), "distinct_2": distinct_n(row, 2),
         "mean_words": mean_words(row), **count_columns(row)}
        for row in rows
    ]  # fmt: skip
    if encoder is None:
        return columns
    name = encoder_name(encoder)
    record.current().note("encoder", describe(name))
    vectors = embed([text for row in rows for text in row], name)
    start = 0
    for row, of_question in zip(rows, columns, strict=True):
        own = vectors[start : start + len(row)]
        start += len(row)
        of_question |= {"cosine_distance": cosine_distance(own), "vendi": vendi(own)}
    return columns


def encoder_name(encoder: str) -> str:
    """The encoder that a task file calls ``default``, or the one that it names."""
    return DEFAULT if encoder == "default" else encoder


def count_columns(row: Sequence[str]) -> Columns:
    """Mean number of tokens and share of truncated responses, where the engine counted them."""
    tokens = [text.tokens for text in row if isinstance(text, Response) and text.tokens is not None]
    if len(tokens) < len(row):
        return {}
    return {
        "mean_tokens": sum(tokens) / len(row),
        "truncated_rate": sum(bool(getattr(text, "truncated", False)) for text in row) / len(row),
    }
