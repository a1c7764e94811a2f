"""Score all responses to a task's questions: answers, classes, and the columns of each question."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lm_eval.api.filter import Filter

from btrans_eval.answers.extract import extract
from btrans_eval.answers.gold import gold_answer
from btrans_eval.embeddings import DEFAULT, describe, embed
from btrans_eval.errors import UserError
from btrans_eval.harness import notes
from btrans_eval.harness.judging import correct, label
from btrans_eval.harness.response import Response
from btrans_eval.scores.diversity import cosine_distance, distinct_n, mean_words, vendi
from btrans_eval.scores.rows import check_row
from btrans_eval.scores.summary import answer_columns, score_columns, vote_columns

Columns = dict[str, float]


class ScoredRow(list[Any]):
    """What is logged for each response of a question, with the question's columns.

    Attributes:
        columns: every number of the question, for ``process_results`` to hand over.
    """

    def __init__(self, logged: Sequence[Any], columns: Columns) -> None:
        super().__init__(logged)
        self.columns = columns


class PopulationFilter(Filter):  # type: ignore[misc]
    """The harness's filter ``btrans_population``: score the first k responses of each question.

    Args:
        k: responses per question, as many as the task's ``repeats``.
        kind: what counts as an answer (letter, integer, number, latex or text); None where
            responses are not answers.
        gold: name of the row's field that holds the gold answer.
        answer: reads the answer from a response, in place of ``kind``.
        score: score of a response to a row, in place of comparing with the gold answer.
        encoder: sentence encoder for the diversity columns; None leaves out those that need one.

    Raises:
        UserError: for k < 2, or a row without the gold answer's field.
    """

    def __init__(
        self,
        k: int,
        kind: str | None = None,
        gold: str = "answer",
        answer: Callable[[str], str | None] | None = None,
        score: Callable[[Mapping[str, Any], str], float] | None = None,
        encoder: str | None = None,
    ) -> None:
        if k < 2:
            raise UserError(f"repeats: a population needs at least 2 responses, got {k}")
        self.k, self.kind, self.gold, self.encoder = k, kind, gold, encoder
        self.answer, self.score = answer, score

    def apply(self, resps: Any, docs: Any) -> list[ScoredRow]:
        """Score the responses of all questions; one row of answers (or texts) per question."""
        rows = [first_k(row, self.k, place) for place, row in enumerate(resps)]
        diversity = diversity_columns(rows, self.encoder)
        return [
            self._score(row, doc, of_texts)
            for row, doc, of_texts in zip(rows, docs, diversity, strict=True)
        ]

    def _score(self, row: list[str], doc: Mapping[str, Any], of_texts: Columns) -> ScoredRow:
        if self.kind is None and self.answer is None:
            return ScoredRow(row, of_texts)
        read = self.answer or (lambda text: extract(text, str(self.kind)))
        answers = [read(text) for text in row]
        kind = self.kind or "text"
        if self.score is None:
            gold = gold_answer(doc, self.gold, kind)
            scores = correct(answers, gold, kind)
        else:
            scores = [self.score(doc, text) for text in row]
        labels = label(answers, kind)
        return ScoredRow(
            answers,
            {
                **score_columns(scores),
                **vote_columns(labels, scores),
                **answer_columns(labels),
                **of_texts,
            },
        )


def first_k(row: Sequence[str], k: int, question: int) -> list[str]:
    """The first k responses; a launch on several processes may append more (harness.md, P5)."""
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
    notes.note("encoder", describe(name))
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
