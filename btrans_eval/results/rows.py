"""One row of a samples file: a question, and what was said and scored."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from btrans_eval.judged import JudgedResponse, from_sample


@dataclass(frozen=True)
class ScoredResponse:
    """One response to a question.

    Attributes:
        text: the response.
        answer: what was read from it; None where it is invalid, or where nothing was read.
        label: class of the answer among the question's answers; None where it is invalid.
        score: what the task's metric gives this response alone; None where it has none.
        member: the member that gave it; 0 for a model that is no population.
        sample: which of this member's responses it is, from 0.
        tokens: generated tokens, where the engine counted.
        truncated: whether the limit cut it, where the engine knows.
        mean_logprob: of its tokens under the member's own distribution, nats, where it is known.
    """

    text: str
    answer: str | None
    label: int | None
    score: float | None
    member: int
    sample: int
    tokens: int | None
    truncated: bool | None
    mean_logprob: float | None = None


@dataclass(frozen=True)
class AnsweredQuestion:
    """One row of a benchmark, and all that a run said to it.

    Attributes:
        document: SHA-256 of the row, our own; what runs are joined on.
        target: SHA-256 of the gold answer as text.
        prompt: SHA-256 of the prompt.
        doc_id: number of the row, for people.
        asked: the prompt.
        gold: the gold answer as text.
        responses: in order of r = 0 … K−1.
        columns: the question's numbers, by column.
    """

    document: str
    target: str
    prompt: str
    doc_id: int
    asked: str
    gold: str
    responses: tuple[ScoredResponse, ...]
    columns: Mapping[str, float]


def digest(value: Any) -> str:
    """SHA-256 of a value as canonical JSON, in hex."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def metric_of(row: Mapping[str, Any], config: Mapping[str, Any]) -> str | None:
    """The metric of single responses: of a population task its own, else the first.

    Only one that the task takes the mean of: a row of `perplexity` holds a loglikelihood.
    """
    if (scored := _scored(row)) is not None:
        return next(iter(scored[0].scores), None)
    declared = config.get("metric_list") or ()
    others = {each["metric"] for each in declared if each.get("aggregation", "mean") != "mean"}
    return next(
        (
            name
            for name in row["metrics"]
            if name not in others and (isinstance(row.get(name), bool) or _is_number(row.get(name)))
        ),
        None,
    )


def _scored(row: Mapping[str, Any]) -> list[JudgedResponse] | None:
    """What we logged for each response; None for a task that is not viewed as a population's."""
    (filtered,) = row["filtered_resps"] if len(row["filtered_resps"]) == 1 else ([],)
    if not isinstance(filtered, list) or not filtered:
        return None
    texts = [text for texts in row["resps"] for text in texts]
    found = [from_sample(text, item) for text, item in zip(texts, filtered, strict=False)]
    ours = [one for one in found if one is not None]
    return ours if len(ours) == len(found) else None


def question_of(
    row: Mapping[str, Any], metric: str | None, members: int | None
) -> AnsweredQuestion:
    texts = [text for texts in row["resps"] for text in texts]
    scored = _scored(row)
    if scored is None:  # one response, scored by the task's own metric
        score = row.get(metric) if metric else None
        value = None if score is None else float(score)
        responses = [ScoredResponse(str(texts[0]), None, None, value, 0, 0, None, None)]
    else:
        responses = [
            ScoredResponse(
                text=one.text,
                answer=one.answer,
                label=one.label,
                score=one.scores.get(metric) if metric else None,
                member=place % (members or 1),
                sample=place // (members or 1),
                tokens=one.tokens,
                truncated=one.truncated,
                mean_logprob=one.mean_logprob,
            )
            for place, one in enumerate(scored)
        ]
    prompt = next(iter(next(iter(row["arguments"].values())).values()))
    columns = {name: float(row[name]) for name in row["metrics"] if _is_number(row.get(name))}
    return AnsweredQuestion(
        document=digest(row["doc"]),
        target=digest(str(row["target"])),
        prompt=digest(str(prompt)),
        doc_id=int(row["doc_id"]),
        asked=str(prompt),
        gold=str(row["target"]),
        responses=tuple(responses),
        columns=columns,
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def chosen_from(row: Mapping[str, Any], config: Mapping[str, Any], used: Mapping[str, Any]) -> int:
    """How many responses stand behind a row's score: of a vote, ours or the harness's, or a metric.

    A metric of its own takes all that the filters leave: pass@k of `humaneval_64`.
    """
    if used.get("returned") == "vote":
        return int(used.get("members", 1))
    chosen = len([text for texts in row["resps"] for text in texts])
    steps: list[Mapping[str, Any]] = []
    if _scored(row) is None:
        for pipeline in config.get("filter_list") or ():
            steps += pipeline.get("filter", ()) if pipeline.get("name") == row["filter"] else ()
    for step in steps:
        if step.get("function") == "take_first_k":
            chosen = min(chosen, int(step.get("k", chosen)))
        if step.get("function") == "majority_vote":
            return chosen
    left = row["filtered_resps"][0] if len(row["filtered_resps"]) == 1 else None
    if chosen > 1 and isinstance(left, list) and _scored(row) is None:
        return len(left)
    return 1
