"""A population's doubt about multiple-choice questions, beside that of the model without noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from btrans_eval.compare.columns import Floats, as_dict
from btrans_eval.errors import UserError
from btrans_eval.results.likelihoods import ChoiceQuestion, ChoiceRun
from btrans_eval.results.runs import by_document
from btrans_eval.scores import intervals, uncertainty
from btrans_eval.scores.choices import (
    FEW,
    LARGEST,
    Choices,
    choices,
    cross_fitted,
    figures,
    figures_of_members,
    measured,
    member,
    scaled_figures,
    surprises,
    without_best,
)
from btrans_eval.scores.doubt import doubt
from btrans_eval.scores.folds import DRAWS, Ints, copies, folds, resamples

SQUARED, ECE = "squared_error_20", "ece_20"
Drawn = dict[str, Floats]


@dataclass(frozen=True)
class Kept:
    """The questions of a task that have one right choice and likelihoods that are numbers.

    Attributes:
        documents: SHA-256 of each row; what follows a # numbers copies of one.
        questions: the population's, in the same order.
        population: log-likelihoods of the members.
        stock: those of the model without noise, of the same questions.
        left_out: how many questions are not among them, by the reason.
    """

    documents: tuple[str, ...]
    questions: tuple[ChoiceQuestion, ...]
    population: Choices
    stock: Choices | None
    left_out: Mapping[str, int]


@dataclass(frozen=True)
class _Arm:
    """Figures of all questions, those of the draws, and whether the choice is right."""

    once: Mapping[str, float | None]
    drawn: Drawn
    right: Floats
    temperatures: list[float] | None = None
    without_best: int = 0


def examine(
    population: ChoiceRun, stock: ChoiceRun | None, kept: Mapping[str, Kept]
) -> dict[str, Any]:
    """All figures of a run's multiple-choice tasks; see docs/uncertainty.md for the document.

    Args:
        kept: of `kept_of` the same runs.
    """
    found: dict[str, Any] = {
        "population": _facts(population),
        "stock": None if stock is None else _facts(stock),
        "draws": DRAWS,
    }
    found["tasks"] = [_task(name, of_task) for name, of_task in kept.items()]
    return found


def _facts(run: ChoiceRun) -> dict[str, Any]:
    return {"run": str(run.path), "model": run.model, "members": run.members}


def kept_of(population: ChoiceRun, stock: ChoiceRun | None = None) -> dict[str, Kept]:
    """The questions of each task that can be used.

    Raises:
        UserError: if the runs were not asked the same, or no question of a task can be used.
    """
    if stock is None:
        return {name: _kept(name, asked, None) for name, asked in population.tasks.items()}
    if missing := [each for each in population.tasks if each not in stock.tasks]:
        raise UserError(
            f"against: {stock.path} has no samples of {', '.join(missing)}; run both over the same "
            "tasks"
        )
    return {name: _kept(name, asked, stock.tasks[name]) for name, asked in population.tasks.items()}


def _kept(
    task: str, asked: Sequence[ChoiceQuestion], others: Sequence[ChoiceQuestion] | None
) -> Kept:
    population = by_document(asked)
    stock = None if others is None else by_document(others)
    if stock is not None:
        _refuse_other_questions(task, population, stock)
    kept: list[str] = []
    left_out: dict[str, int] = {}
    for document, question in population.items():
        rivals = [] if stock is None else [stock[document]]
        why = next((said for one in (question, *rivals) if (said := _useless(one))), None)
        if why is None:
            kept.append(document)
        else:
            left_out[why] = left_out.get(why, 0) + 1
    if not kept:
        said = "; ".join(f"{count} have {why}" for why, count in left_out.items())
        raise UserError(f"doubt: no question of {task} can be used ({said})")

    def table(of: Mapping[str, ChoiceQuestion]) -> Choices:
        some = [of[document] for document in kept]
        return choices([one.log_likelihoods for one in some], [int(one.gold or 0) for one in some])

    return Kept(
        documents=tuple(kept),
        questions=tuple(population[document] for document in kept),
        population=table(population),
        stock=None if stock is None else table(stock),
        left_out=left_out,
    )


def _refuse_other_questions(
    task: str, a: Mapping[str, ChoiceQuestion], b: Mapping[str, ChoiceQuestion]
) -> None:
    shared = a.keys() & b.keys()
    if len(shared) < max(len(a), len(b)):
        raise UserError(
            f"against: the runs answered different questions of {task} ({len(a)} and {len(b)}, "
            f"{len(shared)} shared); run both with the same --limit and data"
        )
    if any(a[each].asked != b[each].asked for each in shared):
        raise UserError(
            f"against: the runs were asked {task} in different words; run both with the same "
            "few-shot examples and chat template"
        )
    if any(a[each].gold != b[each].gold for each in shared):
        raise UserError(f"against: the runs have different right choices of {task}")


def _useless(question: ChoiceQuestion) -> str | None:
    """Why a question tells nothing; None where it does."""
    if question.gold is None:
        return "several right choices, or none"
    try:
        doubt(question.log_likelihoods, question.gold)
    except UserError:
        return "likelihoods that are no numbers, or a single choice"
    return None


def _task(name: str, kept: Kept) -> dict[str, Any]:
    count = len(kept.documents)
    rows = resamples(DRAWS, count)
    fold = folds([document.partition("#")[0] for document in kept.documents])
    arms = {"population": _arm(kept.population, rows), "member": _members(kept.population, rows)}
    if fold is not None:
        arms["population_scaled"] = _scaled(kept.population, fold, rows)
    if kept.stock is not None:
        arms["stock"] = _arm(kept.stock, rows)
        if fold is not None:
            arms["stock_scaled"] = _scaled(kept.stock, fold, rows)
    rivals = [each for each in ("stock", "stock_scaled") if each in arms]
    return {
        "name": name,
        "questions": count,
        "left_out": dict(kept.left_out),
        "folds": None if fold is None else int(fold.max()) + 1,
        "why": "a temperature needs two different questions or more" if fold is None else None,
        "warnings": _warnings(count, arms),
        "arms": {
            arm: {"temperatures": found.temperatures, "figures": _figures(found)}
            for arm, found in arms.items()
        },
        "differences": [
            {"a": arm, "b": rival, "figure": figure, **gap}
            for arm in arms
            for rival in rivals
            if arm not in ("stock", "stock_scaled") or (arm, rival) == ("stock_scaled", "stock")
            for figure, gap in _differences(arms[arm], arms[rival]).items()
        ],
    }


def _warnings(questions: int, arms: Mapping[str, _Arm]) -> list[str]:
    """Why figures under a temperature say little."""
    found = [
        f"{name}: in {arm.without_best} of {len(arm.temperatures)} folds no temperature from "
        f"{1 / LARGEST:g} to {LARGEST:g} fits best, as where all answers of the others are right"
        for name, arm in arms.items()
        if arm.temperatures and arm.without_best
    ]
    if questions < FEW and any(arm.temperatures for arm in arms.values()):
        found.append(f"{questions} questions are few to fit a temperature to; have {FEW} or more")
    return found


def _arm(given: Choices, rows: Ints) -> _Arm:
    found, several = measured(given), given.table.shape[1] > 1
    once = figures(found, np.arange(len(found.right))[None], several)
    return _Arm(_known(once), figures(found, rows, several), found.right)


def _members(given: Choices, rows: Ints) -> _Arm:
    """Mean of the members' own figures."""
    once = figures_of_members(given, np.arange(len(given.gold))[None])
    own = [measured(member(given, place)).right for place in range(given.table.shape[1])]
    return _Arm(_known(once), figures_of_members(given, rows), np.mean(own, axis=0))


def _scaled(given: Choices, fold: Ints, rows: Ints) -> _Arm:
    surprise = surprises(given)
    all_once = np.arange(len(fold))[None]
    own = cross_fitted(surprise, fold, np.ones_like(all_once))
    once = scaled_figures(given, own, fold, all_once)
    drawn = scaled_figures(given, cross_fitted(surprise, fold, copies(rows)), fold, rows)
    right = measured(given, own[0][fold]).right
    worthless = without_best(own[0], fold, right)
    return _Arm(_known(once), drawn, right, own[0].tolist(), worthless)


def _known(once: Drawn) -> dict[str, float | None]:
    return {
        name: float(values[0]) if np.isfinite(values[0]) else None
        for name, values in once.items()
    }  # fmt: skip


def _figures(arm: _Arm) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, value in arm.once.items():
        if name == "accuracy":
            told = as_dict(intervals.mean_interval(arm.right, rate=True))
            found[name] = {each: told[each] for each in ("estimate", "low", "high")}
            continue
        drawn = arm.drawn[name]
        low, high = _ends(name, value, drawn, len(arm.right))
        found[name] = {"estimate": value, "low": low, "high": high}
        if value is None:
            found[name]["why"] = _why(name, arm)
    return found


def _differences(a: _Arm, b: _Arm) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name in a.once:
        if name == ECE or name not in b.once:
            continue
        one, other = a.once[name], b.once[name]
        gap = None if one is None or other is None else one - other
        if name == "accuracy":
            told = as_dict(intervals.paired_interval(a.right, b.right, rate=True))
            found[name] = {"difference": gap, "low": told["low"], "high": told["high"]}
            continue
        low, high = _ends(name, gap, a.drawn[name] - b.drawn[name], len(a.right))
        found[name] = {"difference": gap, "low": low, "high": high}
    return found


def _ends(
    name: str, value: float | None, drawn: Floats, questions: int
) -> tuple[float | None, float | None]:
    """95% percentiles; of the squared error without what drawing adds on average.

    None for the calibration error, to which drawing adds too much, and of one question.
    """
    if name == ECE or questions < 2:
        return None, None
    return uncertainty.interval(value, drawn, centred=name == SQUARED)


def _why(name: str, arm: _Arm) -> str:
    """Why a figure has no value."""
    if name == "nll":
        return "a right choice has no chance"
    if name == SQUARED:
        return "no bin holds two questions"
    if not np.isin(arm.right, (0.0, 1.0)).all():
        return "all answers of some member are right, or all wrong"
    return "all answers are right" if arm.right.all() else "no answer is right"
