"""``.eval_results/*.yaml``: entries on a benchmark's leaderboard on the model hub.

An entry is a bare value with free notes, so the notes are written by us and are not optional.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
from huggingface_hub import parse_eval_result_entries as parse

from btrans_eval.errors import UserError
from btrans_eval.leaderboards import facts
from btrans_eval.leaderboards.evidence import Evidence, TaskEvidence
from btrans_eval.leaderboards.numbers import Number
from btrans_eval.leaderboards.options import SCALES, ExportOptions, is_hub_id

FOLDER = ".eval_results"
_KEYS = {"dataset", "value", "date", "source", "notes"}  # verifyToken is not ours to write
_DATASET_KEYS = {"id", "task_id", "revision"}
_SOURCE_KEYS = {"url", "name"}


def files(evidence: Evidence, options: ExportOptions) -> dict[str, str]:
    """The file of mean@K and, where asked for, that of the vote; never one of pass@K."""
    if len(evidence.tasks) > 1:
        names = ", ".join(task.name for task in evidence.tasks)
        raise UserError(
            f"tasks: --dataset-id and --task-id name one benchmark, and the comparison has scores "
            f"on {names}; choose one with --tasks"
        )
    (task,) = evidence.tasks
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", task.name)
    found = {f"{FOLDER}/{name}.yaml": _file(task, "mean", options)}
    if options.with_maj:
        if "maj" not in task.population.numbers:
            raise UserError(f"with-maj: no answers were read in {task.name}, so there is no vote")
        found[f"{FOLDER}/{name}_maj{task.calls}.yaml"] = _file(task, "maj", options)
    return found


def _file(task: TaskEvidence, kind: str, options: ExportOptions) -> str:
    scale = SCALES[str(options.scale)]
    number = task.population.numbers[kind]
    entry = EvalResultEntry(
        dataset_id=str(options.dataset_id),
        task_id=str(options.task_id),
        value=_scaled(number.value, scale),
        dataset_revision=options.dataset_revision,
        date=facts.day(task.population),
        source_url=options.source_url,
        source_name="btrans-eval results" if options.source_url else None,
        notes=notes(task, number, options),
    )
    text: str = yaml.safe_dump(
        eval_result_entries_to_yaml([entry]), sort_keys=False, allow_unicode=True, width=100
    )
    if found := problems(text, scale):
        raise AssertionError(f"{task.name}: {found[0]}")
    if parse(yaml.safe_load(text)) != [entry]:
        raise AssertionError(f"{task.name}: the entry does not survive being written")
    return text


def notes(task: TaskEvidence, number: Number, options: ExportOptions) -> str:
    """What stands beside the value on the leaderboard; it begins with what the value is."""
    scale = SCALES[str(options.scale)]
    head = {
        "mean": number.of_one,
        "maj": f"maj@{number.n}: vote of {number.n} responses, {number.n} model calls per answer, "
        "not a single answer; " + facts.TIES,
    }[number.kind]
    other = task.stock.numbers[number.kind]
    mean = task.population.numbers["mean"]
    single = f" {mean.of_one} of the same responses: {_said(mean, scale)}."
    return (
        f"{head}. Population drawn around {options.base_model_id}: "
        f"{facts.population_sentence(task, task.population)}. "
        f"k={number.k}, n={number.n}, {number.questions} questions, {_error(number, scale)}; "
        f"estimator: {number.estimator}.{single if number.kind == 'maj' else ''} "
        f"Without noise, {facts.source(task, task.stock)}: {_said(other, scale)} on the same "
        f"questions and the same measure{_greedy(task, scale)}. "
        f"In votes {facts.TIES}; {facts.INVALID}. "
        f"Self-reported; {facts.version_sentence(task, task.population)}."
    )


def _greedy(task: TaskEvidence, scale: float) -> str:
    if task.greedy is None:
        return ""
    return f"; greedy, 1 call: {_said(task.greedy.numbers['mean'], scale)}"


def _said(number: Number, scale: float) -> str:
    return f"{_scaled(number.value, scale):g} ({_error(number, scale)})"


def _error(number: Number, scale: float) -> str:
    if number.stderr is None:
        return "one question, no standard error"
    return f"standard error over questions {scale * number.stderr:.2g}"


def _scaled(value: float, scale: float) -> float:
    return round(value * scale, 4)


def problems(text: str, scale: float) -> list[str]:
    """What the hub's helpers let through: odd values, unquoted dates, unknown keys, no notes."""
    entries: Any = yaml.safe_load(text)
    if not isinstance(entries, list) or not entries:
        return ["the file must be a list of entries"]
    return [problem for entry in entries for problem in _problems_of(entry, scale)]


def _problems_of(entry: Mapping[str, Any], scale: float) -> Iterator[str]:
    dataset, value = entry.get("dataset", {}), entry.get("value")
    for given, keys in (
        (entry, _KEYS),
        (dataset, _DATASET_KEYS),
        (entry.get("source", {}), _SOURCE_KEYS),
    ):
        if unknown := set(given) - keys:
            yield f"keys that the format does not know: {sorted(unknown)}"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        yield f"value must be a number, got {value!r}"
    elif not (isfinite(value) and 0 <= value <= scale):
        yield f"value must lie between 0 and {scale:g}, got {value}"
    if not isinstance(entry.get("date"), str):
        yield "date must be quoted"
    if not is_hub_id(str(dataset.get("id"))) or not isinstance(dataset.get("task_id"), str):
        yield "dataset must have an id ORG/NAME and a task_id that is text"
    if not isinstance(entry.get("notes"), str) or not entry["notes"].strip():
        yield "notes must say what the value is"
