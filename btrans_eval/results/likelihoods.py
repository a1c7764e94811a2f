"""Multiple-choice questions of a finished run, with the log-likelihood of each choice.

A population's are in its members file, one for each member; a single model's in its samples files.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from btrans_eval.errors import UserError
from btrans_eval.results.rows import digest
from btrans_eval.results.runs import opened, samples_of

logger = logging.getLogger(__name__)

Table = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class ChoiceQuestion:
    """One question.

    Attributes:
        document: SHA-256 of the row, our own; what runs are joined on.
        doc_id: number of the row.
        asked: each choice's prompt and continuation.
        gold: place of the right choice; None where several or none are.
        log_likelihoods: of each member (or of the one model) and choice, in nats.
    """

    document: str
    doc_id: int
    asked: tuple[tuple[str, str], ...]
    gold: int | None
    log_likelihoods: Table


@dataclass(frozen=True)
class ChoiceRun:
    """The multiple-choice tasks of a run.

    Attributes:
        path: as named.
        model: name of the model.
        members: how many have likelihoods; 1 of a single model.
        tasks: questions of each task, in the order of their rows.
    """

    path: Path
    model: str
    members: int
    tasks: Mapping[str, tuple[ChoiceQuestion, ...]]


def load_population(path: str | Path) -> ChoiceRun:
    """Read a population's run: the folder that was given as ``--output_path``, or its results file.

    Raises:
        UserError: if there is no run, no multiple-choice task, no members file, fewer than two
            members, or a members file of another run.
    """
    given = Path(path)
    file, results = opened(given)
    rows = _rows(given, file, results)
    log = _members_file(given, file, results)
    lines = _of_members(log)
    tasks = {task: _with_members(task, of_task, lines, log) for task, of_task in rows.items()}
    counts = {len(one.log_likelihoods) for of_task in tasks.values() for one in of_task}
    if len(counts) > 1 or min(counts) < 2:
        found = " and ".join(map(str, sorted(counts)))
        raise UserError(
            f"members: must be 2 or more, the same for all questions, got {found} in {log}; run "
            "lm_eval --model btrans-hf with members=8"
        )
    return ChoiceRun(given, str(results.get("model_name")), counts.pop(), tasks)


def load_single(path: str | Path) -> ChoiceRun:
    """Read the run of one model without noise, of any model type.

    Raises:
        UserError: if there is no run, no multiple-choice task, or it is a population's.
    """
    given = Path(path)
    file, results = opened(given)
    used = results["config"].get("btrans")
    if used is not None and (used["sigma"] != 0 or used["mu"] != 0):
        raise UserError(
            f"against: {given} is a population's run (sigma {used['sigma']}); name one of "
            "lm_eval --model hf, or of btrans-hf with sigma=0,members=1"
        )
    tasks = {
        task: _questions(task, of_task, [(_logged(row),) for row in of_task])
        for task, of_task in _rows(given, file, results).items()
    }
    return ChoiceRun(given, str(results.get("model_name")), 1, tasks)


def _rows(given: Path, file: Path, results: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Samples of each multiple-choice task, by their number; of several filters the first's."""
    found: dict[str, list[dict[str, Any]]] = {}
    for task, config in results["configs"].items():
        samples = samples_of(task, file)
        if config.get("output_type") == "multiple_choice" and samples.exists():
            with samples.open(encoding="utf-8") as lines:
                rows = [json.loads(line) for line in lines]
            first = [row for row in rows if row["filter"] == rows[0]["filter"]]
            if first:
                found[task] = sorted(first, key=lambda row: int(row["doc_id"]))
    if not found:
        raise UserError(
            f"results: {given} has no samples of a multiple_choice task (--log_samples), whose "
            "likelihoods this is about; for votes of responses run btrans-eval compare RUN_A RUN_B "
            "--output_path OUT, then btrans-eval abstain OUT"
        )
    return found


def _questions(
    task: str, rows: Sequence[Mapping[str, Any]], tables: Sequence[Table]
) -> tuple[ChoiceQuestion, ...]:
    golds = _golds(task, rows)
    return tuple(
        ChoiceQuestion(digest(row["doc"]), int(row["doc_id"]), _asked(row), gold, table)
        for row, gold, table in zip(rows, golds, tables, strict=True)
    )


def _asked(row: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Prompt and continuation of each choice; not those of acc_mutual_info, without the prompt."""
    given = [row["arguments"][f"gen_args_{place}"] for place in range(len(row["arguments"]))]
    count = len(given) // 2 if "acc_mutual_info" in row["metrics"] else len(given)
    return tuple((str(each["arg_0"]), str(each["arg_1"])) for each in given[:count])


def _logged(row: Mapping[str, Any]) -> tuple[float, ...]:
    """The log-likelihoods in a samples file, which holds numbers as text."""
    values = [float(value) for value, _ in row["filtered_resps"]]
    return tuple(values[: len(_asked(row))])


def _golds(task: str, rows: Sequence[Mapping[str, Any]]) -> list[int | None]:
    """Place of each row's right choice: a number, or the choice's own text.

    A samples file does not say which of the two a task means. It is the one that gives every row a
    place that agrees with the row's ``acc``, where that is there; of two, numbers, as the harness
    takes them. None where several are right, none is, or the choices are not continuations of one
    prompt.
    """
    read = [_readings(row) for row in rows]
    known = [each for each in read if each]
    agreed = [kind for kind in ("number", "text") if all(kind in each for each in known)]
    if len(agreed) > 1 and any(each["number"] != each["text"] for each in known):
        logger.warning(
            "%s: right choices may be meant as numbers or as texts; numbers are taken", task
        )
    return [
        each[agreed[0]] if agreed and each else next(iter(each.values()), None) for each in read
    ]


def _readings(row: Mapping[str, Any]) -> dict[str, int]:
    """Places that a row's target may mean, by how it is read."""
    asked = _asked(row)
    if len({prompt for prompt, _ in asked}) != 1:
        return {}
    target = str(row["target"]).strip()
    if target.startswith("[") and target.endswith("]"):
        inner = [each.strip() for each in target[1:-1].split(",")]
        target = inner[0].strip("'\"") if len(inner) == 1 else ""
    texts = [continuation.strip() for _, continuation in asked]
    places = {}
    if target.isdecimal() and int(target) < len(asked):
        places["number"] = int(target)
    if texts.count(target) == 1:
        places["text"] = texts.index(target)
    if "acc" not in row["metrics"]:
        return places
    values = _logged(row)
    is_right, likeliest = bool(float(row["acc"])), values.index(max(values))
    return {kind: place for kind, place in places.items() if (place == likeliest) == is_right}


def _members_file(given: Path, file: Path, results: Mapping[str, Any]) -> Path:
    """The one members file of the run: the one it names, else the one that lies there."""
    folder = given if given.is_dir() else file.parent
    pattern = "members*.jsonl"
    if given.is_dir():
        found = sorted(folder.rglob(pattern))
    else:  # the harness puts results into a folder named after the model
        found = sorted([*folder.glob(pattern), *folder.parent.glob(pattern)])
    arguments = results["config"].get("model_args")
    named = arguments.get("responses") if isinstance(arguments, dict) else None
    if named:
        path = Path(named)
        own = [each for each in found if each.name == path.name]
        found = own or ([path] if path.is_file() else [])
    if len(found) != 1:
        raise UserError(
            f"members: there is {'no' if not found else 'more than one'} members file in {folder}; "
            "it is written by lm_eval --model btrans-hf with --output_path and --log_samples"
        )
    return found[0]


Lines = dict[tuple[str, str], dict[int, dict[int, list[float]]]]


def _of_members(log: Path) -> Lines:
    """Scores of members by task and the harness's hash of the row, then its number and choice."""
    found: Lines = {}
    with log.open(encoding="utf-8") as lines:
        for text in lines:
            line = json.loads(text)
            if "idx" in line and "members" in line:
                of_row = found.setdefault((line["task"], line["doc_hash"]), {})
                values = [each[0] if isinstance(each, list) else each for each in line["members"]]
                of_row.setdefault(int(line["doc_id"]), {})[int(line["idx"])] = values
    return found


def _with_members(
    task: str, rows: Sequence[Mapping[str, Any]], lines: Lines, log: Path
) -> tuple[ChoiceQuestion, ...]:
    tables: list[Table] = []
    for row in rows:
        # equal rows in the order of their numbers
        copies = lines.get((task, row["doc_hash"]), {})
        choices = copies.pop(min(copies)) if copies else {}
        count = len(_asked(row))
        if any(place not in choices for place in range(count)):
            raise UserError(
                f"members: {log} lacks row {row['doc_id']} of {task}; it is not of this run"
            )
        tables.append(tuple(zip(*(choices[place] for place in range(count)), strict=True)))
    return _questions(task, rows, tables)
