"""One filter pipeline of a task, run on each response alone: what a viewed task answers with."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

from btrans_eval.answers.extract import extract, normalize_text
from btrans_eval.answers.gold import kind_of_gold
from btrans_eval.errors import UserError
from btrans_eval.harness import record
from btrans_eval.harness.code_tasks import is_code_task, program_of
from btrans_eval.harness.diversity import Measures, diversity_columns
from btrans_eval.harness.executing import executed, programs_of, scores_of, words_of
from btrans_eval.harness.failures import zero_is_worst
from btrans_eval.harness.golds import gold_of
from btrans_eval.harness.judging import label
from btrans_eval.harness.pipelines import judge_of, kind_of_part, no_means, only
from btrans_eval.harness.scoring import ScoredRow, first_k, judged
from btrans_eval.harness.view_columns import columns_of, declare, metrics_of

logger = logging.getLogger(__name__)

WHOLE_TEXT = {
    "TakeFirstFilter",
    "LowercaseFilter",
    "UppercaseFilter",
    "WhitespaceFilter",
    "NoopFilter",
}
NOT_AN_ANSWER = "[invalid]"


@dataclass(frozen=True)
class Judged:
    """A question's responses, each filtered and scored alone.

    Attributes:
        filtered: what the pipeline made of each response.
        scores: by metric, the score of each response.
        labels: class of each answer; None where it is invalid.
        verdicts: what became of each program; empty where responses are none.
    """

    filtered: list[Any]
    scores: dict[str, list[float]]
    labels: Sequence[int | None]
    verdicts: Sequence[str] = ()


class View:
    """Stands in for one of a task's filter pipelines, and scores what it makes of each response.

    Args:
        task: the harness's task, whose ``process_results`` judges single responses.
        pipeline: the pipeline that it stands in for.
        k: responses per question.
        measures: which diversity columns.

    Attributes:
        runs_programs: whether responses are programs, which are run in place of the task's metric.
    """

    def __init__(self, task: Any, pipeline: Any, k: int, measures: Measures) -> None:
        self.name = pipeline.name
        self._pipeline, self._k, self._measures, self._task = pipeline, k, measures, task
        self._judge = judge_of(task, pipeline.name)  # the task's own, before it is replaced
        self._left_out = no_means(task)
        self._metrics = [name for name in task.aggregation() if name not in self._left_out]
        self.runs_programs = is_code_task(task)
        self._is_pass = _judge_one_at_a_time(task)
        self._is_whole_text = all(
            kind_of_part(part).__name__ in WHOLE_TEXT for part in pipeline.filters
        )

    def apply(self, instances: list[Any]) -> None:
        """Filter and score the responses of all questions; sets ``filtered_resps``."""
        rows = [first_k(instance.resps, self._k, place) for place, instance in enumerate(instances)]
        singles = [
            self._singles(instance, row) for instance, row in zip(instances, rows, strict=True)
        ]
        judge = self._executed if self.runs_programs else self._judged
        found_of = judge(singles, instances)
        kinds = [kind_of_gold(gold_of(self._task, one.doc), one.doc) for one in instances]
        can_vote = not (self.runs_programs or all(map(self._is_its_own_class, instances, kinds)))
        votes = can_vote and any(label is not None for each in found_of for label in each.labels)
        self._note_votes(kinds, can_vote, votes)
        diversity = diversity_columns(rows, self._measures)
        metrics = metrics_of(self._task, [each.scores for each in found_of], self._is_pass)
        for instance, row, one, of_texts in zip(instances, rows, found_of, diversity, strict=True):
            columns = columns_of(metrics, one.scores, one.labels if votes else None) | of_texts
            found = zip(one.filtered, one.labels, strict=True)
            answers = [None if label is None else str(each) for each, label in found]
            responses = judged(row, answers, one.labels, one.scores, one.verdicts)
            instance.filtered_resps[self.name] = ScoredRow(responses, columns)
        declare(self._task, self.name, instances[0].filtered_resps[self.name].columns)

    def _is_its_own_class(self, instance: Any, kind: str) -> bool:
        """Whether responses to the question have nothing in common that a vote could count.

        A gold text of several lines (tests of a program, a summary) is no answer that two
        responses would give alike; without a gold answer (IFEval) nothing says what one is.
        """
        gold = gold_of(self._task, instance.doc)
        several_lines = isinstance(gold, str) and "\n" in gold.strip()
        return gold is None or (kind == "text" and several_lines)

    def _note_votes(self, kinds: Sequence[str], can_vote: bool, votes: bool) -> None:
        """Say in the results what was voted on."""
        read = "our extractor for " if self._is_whole_text else "filtered answers, equal as "
        if votes:
            said = read + ", ".join(sorted(set(kinds)))
        elif can_vote:
            said = "no answer found: no maj@k"
        else:
            said = "every response is an answer of its own: no maj@k"
            logger.warning("%s: %s", self._task.config.task, said)
        record.current().note(f"votes:{self._task.config.task}:{self.name}", said)
        if self._left_out:
            record.current().note(f"left_out:{self._task.config.task}", self._left_out)

    def _singles(self, instance: Any, row: Sequence[str]) -> list[Any]:
        """The question once for each response, as if it had been the only one."""
        singles = []
        for text in row:
            single = copy(instance)
            single.resps, single.filtered_resps = [text], {}
            singles.append(single)
        return singles

    def _judged(self, singles: list[list[Any]], instances: Sequence[Any]) -> list[Judged]:
        """Every question filtered and scored; one that cannot be has no answers and scores 0."""
        judged = [
            self._attempt(place, row, instance.doc)
            for place, (row, instance) in enumerate(zip(singles, instances, strict=True))
        ]
        metrics = next((list(each.scores) for each in judged if each), self._metrics)
        none = Judged(
            [NOT_AN_ANSWER] * self._k, {m: [0.0] * self._k for m in metrics}, [None] * self._k
        )
        return [each or none for each in judged]

    def _executed(self, singles: list[list[Any]], instances: Sequence[Any]) -> list[Judged]:
        """Every question's programs, run; they have no vote."""
        rows = []
        for place, (row, instance) in enumerate(zip(singles, instances, strict=True)):
            self._pipeline.apply(row)
            made = [only(single.filtered_resps[self.name]) for single in row]
            of = functools.partial(program_of, self._task)
            rows.append(programs_of(made, instance.doc, of, place))
        metrics = ["pass@1"] if self._is_pass else self._metrics
        none, found = [None] * self._k, []
        for verdicts in executed(rows, f"{self._task.config.task}:{self.name}"):
            scores = [0.0] * self._k if verdicts is None else scores_of(verdicts)
            words = words_of(verdicts or ())
            found.append(Judged(none, dict.fromkeys(metrics, scores), none, words))
        return found

    def _attempt(self, place: int, singles: list[Any], doc: Any) -> Judged | None:
        try:
            self._pipeline.apply(singles)
            each = [self._judge(one, one.filtered_resps[self.name]) for one in singles]
            filtered = [only(one.filtered_resps[self.name]) for one in singles]
            metrics = [metric for metric in each[0] if metric not in self._left_out]
            scores = {metric: [float(one[metric]) for one in each] for metric in metrics}
            _check_scores(self._task.config.task, scores)
            kind = kind_of_gold(gold_of(self._task, doc), doc)
            labels = label([self._answer(one, kind) for one in filtered], kind)
        except UserError:
            raise
        except Exception as error:
            if not zero_is_worst(self._task, self._metrics):
                raise
            record.current().failures.note_position(place, error)
            return None
        return Judged(filtered, scores, labels)

    def _answer(self, filtered: Any, kind: str) -> str | None:
        text = filtered if isinstance(filtered, str) else str(filtered)
        if self._is_whole_text:
            return extract(text, kind)
        if text == NOT_AN_ANSWER:
            return None
        return extract(text, kind) or normalize_text(text)


def _judge_one_at_a_time(task: Any) -> bool:
    """Ask metrics that want k of their own (HumanEval's pass@k) for k = 1, a response at a time.

    Returns:
        Whether there is such a metric.
    """
    asked = getattr(task, "_metric_fn_kwargs", {})
    wanting = [name for name, kwargs in asked.items() if "pass" in name and _is_k(kwargs.get("k"))]
    for name in wanting:
        k = asked[name]["k"]
        asked[name] = {**asked[name], "k": [1] if isinstance(k, list) else 1}
    return bool(wanting)


def _is_k(k: Any) -> bool:
    each = k if isinstance(k, list) else [k]
    return bool(each) and all(isinstance(one, int) and not isinstance(one, bool) for one in each)


def _check_scores(task: str, scores: Mapping[str, Sequence[float]]) -> None:
    """Refuse a metric that gives a single response no score, or one that is no number.

    Raises:
        UserError: without any score, since none of the task's questions will have one.
        ValueError: on a score that is not finite, which is this question's failure.
    """
    if not scores:
        raise UserError(
            f"repeats: {task} cannot be viewed as a population task: its metric gives a single "
            "response no score"
        )
    for metric, values in scores.items():
        if not all(map(math.isfinite, values)):
            raise ValueError(f"{metric} of a response is not a finite number")
