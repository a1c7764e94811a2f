"""Read finished runs from disk: every response with its answer, class and score.

What is read is what the harness wrote with ``--output_path … --log_samples``, for any model type.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from btrans_eval.errors import UserError


@dataclass(frozen=True)
class Response:
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
    """

    text: str
    answer: str | None
    label: int | None
    score: float | None
    member: int
    sample: int
    tokens: int | None
    truncated: bool | None


@dataclass(frozen=True)
class Question:
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
    responses: tuple[Response, ...]
    columns: Mapping[str, float]


@dataclass(frozen=True)
class TaskRun:
    """One task (and filter pipeline) of a run.

    Attributes:
        name: the task; ``task:pipeline`` where it has several.
        task: name of the task in the harness.
        group: the group that it was run as part of and is pooled with, else the task itself.
        metric: the metric that scores single responses; None where they have no score.
        higher_is_better: whether a higher score of that metric is better.
        calls: how many responses each recorded one was chosen from: 1, or K for a vote's winner.
        settings: what must be equal for two runs to be comparable, in words.
        config: the harness's configuration of the task.
        questions: by document.
    """

    name: str
    task: str
    group: str
    metric: str | None
    higher_is_better: bool
    calls: int
    settings: Mapping[str, Any]
    config: Mapping[str, Any]
    questions: Mapping[str, Question]


@dataclass(frozen=True)
class Run:
    """One finished run: an arm of a comparison.

    Attributes:
        name: how it is called in tables.
        path: where it lies: the folder or the results file that was named.
        tasks: by name.
        results: the harness's results file, whole.
    """

    name: str
    path: Path
    tasks: Mapping[str, TaskRun]
    results: Mapping[str, Any]

    @property
    def config(self) -> Mapping[str, Any]:
        """The run's configuration as the harness wrote it."""
        config: Mapping[str, Any] = self.results["config"]
        return config

    @property
    def population(self) -> Mapping[str, Any] | None:
        """What our model type says that it was; None for other model types."""
        return self.config.get("btrans")

    @property
    def failed_questions(self) -> Mapping[str, int]:
        """How many questions of each task could not be scored."""
        failed: Mapping[str, int] = self.config.get("btrans_scores", {}).get("failed_questions", {})
        return failed


def digest(value: Any) -> str:
    """SHA-256 of a value as canonical JSON, in hex."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def load(path: str | Path, name: str | None = None) -> Run:
    """Read one run.

    Args:
        path: the folder that was given as ``--output_path``, with one run in it, or its
            ``results_*.json``.
        name: how the run is called; by default the folder.

    Raises:
        UserError: if there is no run, or more than one, or no samples.
    """
    given = Path(path)
    file = given if given.suffix == ".json" else _results_file(given)
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"results: {file} cannot be read ({error})") from None
    if not isinstance(results, dict) or not {"results", "configs", "config"} <= set(results):
        raise UserError(f"results: {file} is no results file of lm_eval")
    stamp = file.stem.removeprefix("results_")
    tasks: dict[str, TaskRun] = {}
    for task in results["configs"]:
        samples = file.with_name(f"samples_{task}_{stamp}.jsonl")
        if samples.exists():
            tasks |= {one.name: one for one in _tasks(task, samples, results)}
    if not tasks:
        raise UserError(
            f"results: {file} has no samples beside it; run again with --log_samples (with a "
            "store nothing is generated twice)"
        )
    return Run(name or (given.parent if given is file else given).name, given, tasks, results)


def _results_file(folder: Path) -> Path:
    found = sorted(folder.rglob("results_*.json"))
    if not found:
        raise UserError(
            f"results: there is no results_*.json in {folder}; name the folder that was given as "
            "--output_path"
        )
    if len(found) > 1:
        raise UserError(
            f"results: {folder} holds {len(found)} runs; name one file, such as {found[0]}"
        )
    return found[0]


def _tasks(task: str, samples: Path, results: Mapping[str, Any]) -> Iterator[TaskRun]:
    """The task once for each of its filter pipelines."""
    rows: dict[str, list[dict[str, Any]]] = {}
    with samples.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            rows.setdefault(row["filter"], []).append(row)
    config = results["configs"][task]
    used = (results["config"].get("btrans") or {}).get("tasks", {}).get(task, {})
    ups = results.get("higher_is_better", {}).get(task, {})
    for pipeline, of_pipeline in rows.items():
        metric = _metric(of_pipeline[0])
        questions = [_question(row, metric, used.get("members")) for row in of_pipeline]
        yield TaskRun(
            name=task if len(rows) == 1 else f"{task}:{pipeline}",
            task=task,
            group=_group(task, results),
            metric=metric,
            # a viewed task's metric is declared by its columns
            higher_is_better=ups.get(metric, ups.get(f"{metric}:mean", True)) is not False,
            calls=used.get("members", 1) if used.get("returned") == "vote" else 1,
            settings=_settings(task, results),
            config=config,
            questions=_by_document(questions),
        )


def _by_document(questions: Sequence[Question]) -> dict[str, Question]:
    """Questions by document; rows that are equal are told apart by a number."""
    found: dict[str, Question] = {}
    for question in sorted(questions, key=lambda one: one.doc_id):
        name, number = question.document, 1
        while name in found:
            number += 1
            name = f"{question.document}#{number}"
        found[name] = question
    return found


def _group(task: str, results: Mapping[str, Any]) -> str:
    """The largest group that pools the task's questions with others', else the task."""
    pooled = results.get("groups", {})
    listed = results.get("group_subtasks", {}).items()
    return next((group for group, parts in listed if task in parts and group in pooled), task)


def _settings(task: str, results: Mapping[str, Any]) -> dict[str, Any]:
    config = results["configs"][task]
    generation = config.get("generation_kwargs") or {}
    return {
        "task version": results.get("versions", {}).get(task),
        "prompt template (doc_to_text)": config.get("doc_to_text"),
        "few-shot examples": results.get("n-shot", {}).get(task),
        "target (doc_to_target)": config.get("doc_to_target"),
        "limit": results.get("n-samples", {}).get(task, {}).get("effective"),
        "generation limit": generation.get("max_gen_toks"),
        "stop strings": generation.get("until"),
    }


def _metric(row: Mapping[str, Any]) -> str | None:
    """The metric of single responses: of a population task its own, else the first."""
    if (scored := _scored(row)) is not None:
        return next(iter(scored[0]["scores"]), None)
    return next((name for name in row["metrics"] if _is_number(row.get(name))), None)


def _scored(row: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """What we logged for each response; None for a task that is not viewed as a population's."""
    (filtered,) = row["filtered_resps"] if len(row["filtered_resps"]) == 1 else ([],)
    if not isinstance(filtered, list) or not filtered:
        return None
    try:
        found = [json.loads(one) for one in filtered]
    except ValueError:
        return None
    ours = all(isinstance(one, dict) and {"answer", "scores"} <= set(one) for one in found)
    return found if ours else None


def _question(row: Mapping[str, Any], metric: str | None, members: int | None) -> Question:
    texts = [text for texts in row["resps"] for text in texts]
    scored = _scored(row)
    if scored is None:  # one response, scored by the task's own metric
        score = row.get(metric) if metric else None
        value = None if score is None else float(score)
        responses = [Response(str(texts[0]), None, None, value, 0, 0, None, None)]
    else:
        responses = [
            Response(
                text=text,
                answer=one["answer"],
                label=one["class"],
                score=one["scores"].get(metric),
                member=place % (members or 1),
                sample=place // (members or 1),
                tokens=one["tokens"],
                truncated=one["truncated"],
            )
            for place, (text, one) in enumerate(zip(texts, scored, strict=False))
        ]
    prompt = next(iter(next(iter(row["arguments"].values())).values()))
    columns = {name: float(row[name]) for name in row["metrics"] if _is_number(row.get(name))}
    return Question(
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
