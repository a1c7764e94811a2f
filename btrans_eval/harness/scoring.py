"""Score all responses to a task's questions: answers, classes, and the columns of each question."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from lm_eval.api.filter import Filter

from btrans_eval.answers.gold import gold_answer
from btrans_eval.errors import UserError
from btrans_eval.execution.trial import Program
from btrans_eval.harness import record
from btrans_eval.harness.diversity import Columns, Measures, diversity_columns
from btrans_eval.harness.executing import executed, programs_of, scores_of, words_of
from btrans_eval.harness.judging import correct, label
from btrans_eval.harness.pipelines import kind_of_part, pipelines_of
from btrans_eval.harness.response import answer_in
from btrans_eval.harness.view_columns import declare
from btrans_eval.judged import JudgedResponse
from btrans_eval.scores.rows import check_row
from btrans_eval.scores.summary import question_columns


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
    {"score": 1.0}, "tokens": 5, "truncated": false, "mean_logprob": -0.25}``.
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
    verdicts: Sequence[str] = (),
) -> list[JudgedResponse]:
    """The responses to a question with what was found of each.

    Args:
        responses: what is known beside their text is of those that the engine counted.
        answers, labels: of each; empty where there are no answers.
        scores: by metric, of each.
        verdicts: what became of each where it is a program; empty where none is.
    """
    return [
        JudgedResponse(
            text,
            answers[place] if answers else None,
            labels[place] if labels else None,
            {metric: values[place] for metric, values in (scores or {}).items()},
            getattr(text, "tokens", None),
            getattr(text, "truncated", None),
            getattr(text, "mean_logprob", None),
            verdicts[place] if verdicts else None,
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
        program: the program of a response to a row, None where it has none; it is run against the
            row's tests. Programs have no vote. Goes without kind, answer and score.
        encoder, partition, reward, asked, by_quarter: which diversity columns (`Measures`).
        tolerance: relative, within which an answer is right where the gold is a measured number
            (``answers.tolerance``); with kind latex only.

    Raises:
        UserError: for k < 2, a tolerance outside (0, 1) or of another kind, a reward without what
            it needs, or a row without the gold answer's field.
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
        partition: str | None = None,
        reward: str | None = None,
        asked: str | None = None,
        by_quarter: bool = False,
        program: Callable[[Mapping[str, Any], str], Program | None] | None = None,
    ) -> None:
        is_share = isinstance(tolerance, float) and 0 < tolerance < 1  # YAML's 1e-4 is a string
        if tolerance is not None and not (is_share and kind == "latex" and score is None):
            raise UserError(
                "tolerance: must lie between 0 and 1 and goes with kind: latex and without score, "
                f"got {tolerance!r} with kind: {kind}; leave it out for exact scores"
            )
        if k < 2:
            raise UserError(f"repeats: a population needs at least 2 responses, got {k}")
        if program is not None and (kind, answer, score) != (None, None, None):
            raise UserError(
                f"program: goes without kind, answer and score, got kind: {kind!r}; a program's "
                "score is whether it passes the row's tests"
            )
        self.program = program
        self.k, self.kind, self.gold = k, kind, gold
        self.answer, self.score, self.tolerance = answer, score, tolerance
        self.measures = Measures(encoder, partition, reward, asked, by_quarter)

    def apply(self, resps: Any, docs: Any) -> list[ScoredRow]:
        """Score the responses of all questions; one row per question."""
        rows = [first_k(row, self.k, place) for place, row in enumerate(resps)]
        if self.tolerance is not None:
            record.current().note("relative_tolerance_of_measured_golds", self.tolerance)
        asked = self.measures.asked
        prompts = [str(doc[asked]) for doc in docs] if asked else ()
        diversity = diversity_columns(rows, self.measures, prompts)
        score = self._unscored if self.kind is None and self.answer is None else self._scored
        scored = (self._executed if self.program is not None else score)(rows, docs, diversity)
        if scored:
            self._declare(scored[0].columns)
        return scored

    def _declare(self, columns: Columns) -> None:
        """Tell the harness of columns that the task's file does not: best@k, and k of --repeats."""
        task = record.current().failures.filtering
        for pipeline in pipelines_of(task) if task is not None else ():
            if any(kind_of_part(part) is PopulationFilter for part in pipeline.filters):
                declare(task, pipeline.name, columns)

    def _note_votes(self) -> None:
        """Say in the results what was voted on, as a view does."""
        task, read = record.current().failures.filtering, None
        if self.answer is not None:
            read = f"answers that the task reads, equal as {self.kind or 'text'}"
        elif self.kind is not None:
            read = f"our extractor for {self.kind}"
        if task is not None and read is not None:
            record.current().note(f"votes:{task.config.task}:population", read)

    def _executed(
        self, rows: Sequence[list[str]], docs: Any, diversity: Sequence[Columns]
    ) -> list[ScoredRow]:
        task = record.current().failures.filtering
        programs = [programs_of(partial(self._programs, row, doc), place)
                    for place, (row, doc) in enumerate(zip(rows, docs, strict=True))]  # fmt: skip
        scored = []
        found = executed(programs, task.config.task if task is not None else "a task")
        for row, verdicts, of_texts in zip(rows, found, diversity, strict=True):
            scores = [0.0] * self.k if verdicts is None else scores_of(verdicts)
            words = words_of(verdicts or ())
            responses = judged(row, scores={"score": scores}, verdicts=words)
            scored.append(ScoredRow(responses, {**question_columns(scores, None), **of_texts}))
        return scored

    def _programs(self, row: Sequence[str], doc: Mapping[str, Any]) -> list[Program | None]:
        assert self.program is not None
        return [self.program(doc, text) for text in row]

    def _unscored(
        self, rows: Sequence[list[str]], docs: Any, diversity: Sequence[Columns]
    ) -> list[ScoredRow]:
        return [
            ScoredRow(judged(row), of_texts) for row, of_texts in zip(rows, diversity, strict=True)
        ]

    def _scored(
        self, rows: Sequence[list[str]], docs: Any, diversity: Sequence[Columns]
    ) -> list[ScoredRow]:
        self._note_votes()
        found = [
            self._attempt(place, row, doc)
            for place, (row, doc) in enumerate(zip(rows, docs, strict=True))
        ]
        # pass@k is about being right, and a share of a point is not
        binary = all(score in (0, 1) for _, scores, _ in found for score in scores)
        scored = []
        for row, (answers, scores, labels), of_texts in zip(rows, found, diversity, strict=True):
            columns = {**question_columns(scores, labels, binary=binary), **of_texts}
            scored.append(ScoredRow(judged(row, answers, labels, {"score": scores}), columns))
        return scored

    def _attempt(
        self, place: int, row: list[str], doc: Mapping[str, Any]
    ) -> tuple[list[str | None], list[float], list[int | None]]:
        """As `_judged`; a question that cannot be judged is invalid and wrong, and a failure."""
        try:
            return self._judged(row, doc)
        except UserError:
            raise
        except Exception as error:
            record.current().failures.note_position(place, error)
            return [None] * self.k, [0.0] * self.k, [None] * self.k

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
