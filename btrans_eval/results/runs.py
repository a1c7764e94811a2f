"""Finished runs: every task with its questions, and what decides whether runs can be compared."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from btrans_eval.demo import HUB_ID, is_demo
from btrans_eval.errors import UserError
from btrans_eval.results.rows import AnsweredQuestion, chosen_from, metric_of, question_of

_SHOWN = 5
"""Tasks that a run is printed with."""


@dataclass(frozen=True, repr=False)
class TaskRun:
    """One task (and filter pipeline) of a run.

    Attributes:
        name: the task; ``task:pipeline`` where it has several.
        task: name of the task in the harness.
        group: the group that it was run as part of and is pooled with, else the task itself.
        metric: the metric that scores single responses; None where they have no score.
        higher_is_better: whether a higher score of that metric is better.
        calls: how many responses each recorded one was chosen from: 1, or K for a vote's winner.
        mixed: how many members' likelihoods each recorded answer is the mean of; else 1.
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
    mixed: int
    settings: Mapping[str, Any]
    config: Mapping[str, Any]
    questions: Mapping[str, AnsweredQuestion]

    def __repr__(self) -> str:
        return f"<TaskRun {self.counted()}>"

    def counted(self) -> str:
        """The task with its number of questions, and how many calls each of them took."""
        each = {len(one.responses) * self.calls * self.mixed for one in self.questions.values()}
        calls = " to ".join(
            str(end) for end in sorted({min(each, default=0), max(each, default=0)})
        )
        asked = len(self.questions)
        return (
            f"{self.name}, {asked} question{'' if asked == 1 else 's'}, "
            f"{calls} call{'' if calls == '1' else 's'} each"
        )


@dataclass(frozen=True, repr=False)
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

    def __repr__(self) -> str:
        shown = [task.counted() for task in list(self.tasks.values())[:_SHOWN]]
        more = len(self.tasks) - len(shown)
        told = "; ".join(shown) + (f"; and {more} more tasks" if more else "")
        return f"<Run {self.name} ({self.path}): {told}>"

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


def load(path: str | Path, name: str | None = None) -> Run:
    """Read one run.

    Args:
        path: the folder that was given as ``--output_path``, with one run in it, or its
            ``results_*.json``.
        name: how the run is called; by default the folder.

    Raises:
        UserError: if there is no run, or more than one, or no samples.

    Example:
        >>> run = load_run("out/population")
        >>> question = next(iter(run.tasks["sums"].questions.values()))
        >>> question.gold, [response.answer for response in question.responses]
        ('0', ['0', None, None, '2'])
    """
    given = Path(path)
    file, results = opened(given)
    tasks: dict[str, TaskRun] = {}
    for task in results["configs"]:
        samples = samples_of(task, file)
        if samples.exists():
            tasks |= {one.name: one for one in _tasks(task, samples, results)}
    if not tasks:
        raise UserError(
            f"results: {file} has no samples beside it; run again with --log_samples (with a "
            "store nothing is generated twice)"
        )
    return Run(name or (given.parent if given is file else given).name, given, tasks, results)


def opened(given: Path) -> tuple[Path, dict[str, Any]]:
    """The results file of a run, and what it holds; UserError if there is none, or several."""
    file = given if given.suffix == ".json" else _results_file(given)
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"results: {file} cannot be read ({error})") from None
    if not isinstance(results, dict) or not {"results", "configs", "config"} <= set(results):
        raise UserError(f"results: {file} is no results file of lm_eval")
    _name_model(results)
    return file, results


def _name_model(results: dict[str, Any]) -> None:
    """The demo model by its own name: the harness calls it by a new random one in each run."""
    config = results["config"]
    given = config.get("model_args") or ""  # none also where a model of any kind was given loaded
    is_named = any(each in given for each in ("pretrained", "peft", "delta"))
    is_changed = "peft_sha" in config or "delta_sha" in config
    if not is_named and not is_changed and is_demo(config.get("btrans", {}).get("model")):
        results["model_name"] = HUB_ID


def samples_of(task: str, file: Path) -> Path:
    """Where the samples of a task lie, beside the results file."""
    return file.with_name(f"samples_{task}_{file.stem.removeprefix('results_')}.jsonl")


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
        metric = metric_of(of_pipeline[0], config)
        questions = [question_of(row, metric, used.get("members")) for row in of_pipeline]
        yield TaskRun(
            name=task if len(rows) == 1 else f"{task}:{pipeline}",
            task=task,
            group=_group(task, results),
            metric=metric,
            # a viewed task's metric is declared by its columns
            higher_is_better=ups.get(metric, ups.get(f"{metric}:mean", True)) is not False,
            calls=chosen_from(of_pipeline[0], config, used),
            mixed=used.get("members", 1) if used.get("returned") == "mean likelihood" else 1,
            settings=_settings(task, results),
            config=config,
            questions=by_document(questions),
        )


class Row(Protocol):
    """What questions are told apart by."""

    @property
    def document(self) -> str: ...

    @property
    def doc_id(self) -> int: ...


Asked = TypeVar("Asked", bound=Row)


def by_document(questions: Sequence[Asked]) -> dict[str, Asked]:
    """Questions by document; rows that are equal are told apart by a number."""
    found: dict[str, Asked] = {}
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
