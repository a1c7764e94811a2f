"""What is exported: a population's numbers and its stock model's, checked against the responses."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

from btrans_eval import results
from btrans_eval.compare import join
from btrans_eval.compare.analysis import SCHEME
from btrans_eval.compare.columns import columns_of
from btrans_eval.compare.join import Arm, JoinedTask
from btrans_eval.errors import UserError
from btrans_eval.leaderboards import refusals
from btrans_eval.leaderboards.arms import greedy_arms, population_arm, stock_arm
from btrans_eval.leaderboards.calibration import calibration_of
from btrans_eval.leaderboards.numbers import CALIBRATION, ESTIMATES, Number
from btrans_eval.leaderboards.options import ExportOptions
from btrans_eval.results import AnsweredQuestion, Run

Columns = tuple[Mapping[str, float], ...]


@dataclass(frozen=True)
class Side:
    """One model's part in a task.

    Attributes:
        arm: the model, and how it was run.
        questions: in the order of the task's documents.
        columns: every number of each question.
        numbers: by kind (mean, maj, pass), those that both sides have.
        calibration: how sure the vote is, by kind (brier, ece); none where answers do not vote.
        rates: other columns' means, such as ``invalid_rate``.
    """

    arm: Arm
    questions: tuple[AnsweredQuestion, ...]
    columns: Columns
    numbers: Mapping[str, Number]
    calibration: Mapping[str, Number]
    rates: Mapping[str, float]

    @property
    def published(self) -> Mapping[str, Number]:
        """Numbers and calibration by kind."""
        return {**self.numbers, **self.calibration}

    @property
    def is_population(self) -> bool:
        """Whether it is the population; else its stock model."""
        return self.arm.kind == "population"


@dataclass(frozen=True)
class TaskEvidence:
    """One scored task (or pooled group), answered K times by the population and its stock model.

    Attributes:
        name: of the task or group.
        joined: the questions that both answered.
        calls: responses per question, K.
        binary: whether every response is right or wrong.
        population: the population's part.
        stock: the stock model's part, at the same K.
        greedy: the stock model's one greedy answer, where the comparison has it.
        differences: by kind, the comparison's difference population − stock, where it has one.
    """

    name: str
    joined: JoinedTask
    calls: int
    binary: bool
    population: Side
    stock: Side
    greedy: Side | None
    differences: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Evidence:
    """What an export is made from.

    Attributes:
        tasks: to export, at least one.
        arms: names of all arms of the comparison, so that readers know what was tried.
        left_out: tasks that are not exported, each with the reason.
        on_trust: where the results do not name the model as the hub does, a line that says so.
    """

    tasks: tuple[TaskEvidence, ...]
    arms: tuple[str, ...]
    left_out: tuple[str, ...]
    on_trust: str | None


def gather(folder: Path, options: ExportOptions) -> Evidence:
    """Read a comparison and check that it may be published.

    Tasks without scores, or whose scores are no shares in [0, 1], are left out.

    Raises:
        UserError: on no comparison; arms that were not asked the same; no population or no stock
            arm at equal K; a run with a limit, failed questions or missing scores; numbers that
            the responses do not bear out; a population under its stock model's id.
    """
    comparison = read(folder)
    refusals.refuse_insisted(comparison)
    tasks = _chosen(comparison, options.tasks)
    facts = population_arm(comparison, options)
    left_out = [f"{task['name']}: its responses have no score" for task in tasks
                if task["metric"] is None]  # fmt: skip
    tasks = [task for task in tasks if task["metric"] is not None]
    if not tasks:
        raise UserError(f"export: nothing can be exported ({'; '.join(left_out)})")
    other = stock_arm(comparison, facts, tasks, options)
    runs = [_run(folder, one) for one in (facts, other, *greedy_arms(comparison, facts))]
    arms = [join.as_arm(run) for run in runs]
    refusals.refuse_ids(arms[0], options)
    for arm in arms:
        refusals.refuse_run(arm)
    joined = {one.name: one for one in join.join(arms)}
    shares = []
    for task in tasks:
        if refusals.is_share(arms, _both(task, joined, arms)):
            shares.append(_task(task, joined[task["name"]], arms))
        else:
            left_out.append(f"{task['name']}: scores are no shares in [0, 1], higher is better")
    if not shares:
        raise UserError(f"export: nothing can be exported ({'; '.join(left_out)})")
    names = tuple(arm["name"] for arm in comparison["arms"])
    return Evidence(tuple(shares), names, tuple(left_out), refusals.on_trust(arms[0], options))


def read(folder: Path) -> dict[str, Any]:
    """``comparison.json`` of a folder."""
    file = folder / "comparison.json"
    try:
        comparison = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"export: {file} cannot be read ({error}); name the folder of btrans-eval compare"
        ) from None
    if not isinstance(comparison, dict) or comparison.get("scheme") != SCHEME:
        raise UserError(f"export: {file} is of another release; run btrans-eval compare again")
    return comparison


def _chosen(comparison: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    tasks = {task["name"]: task for task in comparison["tasks"]}
    if unknown := [name for name in names if name not in tasks]:
        raise UserError(f"tasks: no task {unknown[0]} in the comparison; it has {', '.join(tasks)}")
    return [tasks[name] for name in dict.fromkeys(names or tasks)]


def _run(folder: Path, facts: Mapping[str, Any]) -> Run:
    """The arm's run, which must be the one that the comparison was made from."""
    for place in (folder / facts["folder"], Path(facts["folder"])):
        for file in [place] if place.is_file() else sorted(place.rglob("results_*.json")):
            run = results.load(file, facts["name"])
            if run.results.get("date") == facts["date"]:
                return run
    raise UserError(
        f"export: the run of {facts['name']} is no more in {facts['folder']}; run btrans-eval "
        "compare again"
    )


def _both(
    task: Mapping[str, Any], joined: Mapping[str, JoinedTask], arms: Sequence[Arm]
) -> JoinedTask:  # fmt: skip
    """The task as both arms answered it: whole, alike, and with a score for every response."""
    name = task["name"]
    if name not in joined:
        raise UserError(f"{name}: is no more in the arms' results; run btrans-eval compare again")
    both = joined[name]
    refusals.refuse_partial(both, arms, int(task["questions"]))
    for arm in arms:
        refusals.refuse_unscored(name, arm.name, both.arms[arm.name])
        if not _has(task, arm, "mean"):
            raise UserError(
                f"{name}: comparison.json has no mean of {arm.name}; run btrans-eval compare again"
            )
    return both


def _task(task: Mapping[str, Any], both: JoinedTask, arms: Sequence[Arm]) -> TaskEvidence:
    population, stock, *greedy = arms
    kinds = [
        kind for kind in ESTIMATES if all(_has(task, arm, kind) for arm in (population, stock))
    ]
    a, b = population.name, stock.name
    return TaskEvidence(
        name=str(task["name"]),
        joined=both,
        calls=len(both.arms[a][0].responses),
        binary=bool(task["binary"]),
        population=_side(task, both, population, kinds),
        stock=_side(task, both, stock, kinds),
        greedy=_side(task, both, greedy[0], ["mean"]) if greedy else None,
        differences={
            kind: pair for kind, pair in _differences(task) if (pair["a"], pair["b"]) == (a, b)
        },
    )


def _differences(task: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All differences of arms by kind."""
    kinds = {figure: kind for kind, figure in CALIBRATION.items()}
    for pair in task["pairs"]:
        yield pair["metric"].partition("@")[0], pair
    for pair in task.get("confidence_pairs", ()):
        if pair["figure"] in kinds:
            yield kinds[pair["figure"]], pair


def _column(kind: str, calls: int) -> str:
    return "mean" if kind == "mean" else f"{kind}@{calls}"


def _has(task: Mapping[str, Any], arm: Arm, kind: str) -> bool:
    entry = task["arms"][arm.name]
    return _column(kind, entry["calls"]) in entry["metrics"]


def _side(
    task: Mapping[str, Any], joined: JoinedTask, arm: Arm, kinds: Sequence[str]
) -> Side:  # fmt: skip
    questions, what = joined.arms[arm.name], f"{task['name']}, {arm.name}"
    metrics, calls = task["arms"][arm.name]["metrics"], len(questions[0].responses)
    votes = _column("maj", calls) in metrics
    columns = tuple(columns_of(question, votes, bool(task["binary"])) for question in questions)
    numbers = {}
    for kind in kinds:
        column = _column(kind, calls)
        values = np.array([row[column] for row in columns])
        refusals.refuse_other(f"{what}, {column}", metrics[column], float(values.mean()))
        spread = float(values.std(ddof=1)) if len(values) > 1 else None
        numbers[kind] = Number(
            kind=kind,
            n=calls,
            value=float(metrics[column]["estimate"]),
            low=metrics[column]["low"],
            high=metrics[column]["high"],
            method=str(metrics[column]["method"]),
            stderr=None if spread is None else spread / sqrt(len(values)),
            deviation=spread,
            questions=len(values),
            binary=bool(task["binary"]),
        )
    rates = {
        name: float(metrics[name]["estimate"])
        for name in ("invalid_rate", "tie_rate", "truncated_rate", "mean_tokens")
        if name in metrics
    }
    calibration = calibration_of(what, task["arms"][arm.name], questions)
    return Side(arm, questions, columns, numbers, calibration, rates)
