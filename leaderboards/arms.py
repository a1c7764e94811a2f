"""Which two arms of a comparison are exported: a population, and its stock model at equal K."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from btrans_eval.errors import UserError
from btrans_eval.leaderboards.options import ExportOptions

Facts = Mapping[str, Any]
_OURS = {
    "sigma", "kl", "mu", "prior", "noise", "noise_from", "norms", "seed", "members", "aggregate",
    "extractor", "responses", "store", "batch_size", "max_batch_size", "device",
}  # fmt: skip
"""Model arguments that may differ between a population and its stock model."""


def population_arm(comparison: Facts, options: ExportOptions) -> Facts:
    """The population's arm: as named, else the only greedy one, else the only one."""
    arms: list[Facts] = comparison["arms"]
    found = [arm for arm in arms if arm["kind"] == "population"]
    if not found:
        raise UserError(
            "export: no arm of the comparison is a population; compare one (model_args sigma > 0) "
            "with its stock model"
        )
    if options.arm is not None:
        return _named("arm", options.arm, found)
    primary = [arm for arm in found if not arm["is_sampled"]] or found
    if len(primary) > 1:
        raise UserError(
            f"arm: the comparison has {len(primary)} populations ({_names(primary)}); choose one "
            "with --arm, before you know their scores"
        )
    return primary[0]


def stock_arm(
    comparison: Facts, population: Facts, tasks: Sequence[Facts], options: ExportOptions
) -> Facts:
    """The stock model's arm: the same model without noise, sampled as often."""
    calls = [task["arms"][population["name"]]["calls"] for task in tasks]
    for task, k in zip(tasks, calls, strict=True):
        if k < 2:  # such a response may be the winner of a vote
            raise UserError(
                f"{task['name']}: {population['name']} has one response per question, so its "
                "score is not known to be a single answer's; run a task with repeats, or "
                "btrans-eval run --repeats K"
            )
    arms: list[Facts] = comparison["arms"]
    others = [
        arm
        for arm in arms
        if arm["kind"] != "population" and checkpoint(arm) == checkpoint(population)
    ]
    if options.stock_arm is not None:
        return _at_equal_k(_named("stock-arm", options.stock_arm, others), tasks, calls)
    # a greedy model without noise says the same K times, whatever K its results state
    matching = [arm for arm in others if _calls(arm, tasks) == calls and arm["is_sampled"]]
    if population["is_sampled"]:
        matching = [arm for arm in matching if arm["temperature"] == population["temperature"]]
    if not matching:
        said = f" at temperature {population['temperature']:g}" if population["is_sampled"] else ""
        raise UserError(
            f"export: no arm is the stock model of {population['name']} with K = "
            f"{' and '.join(str(k) for k in sorted(set(calls)))} sampled responses{said}; a "
            "population is published beside its stock model at equal K: add stock@T to the "
            "comparison's --arms"
        )
    if len(matching) > 1:
        raise UserError(
            f"stock-arm: {len(matching)} arms are the stock model at equal K "
            f"({_names(matching)}); choose one with --stock-arm"
        )
    return matching[0]


def greedy_arms(comparison: Facts, population: Facts) -> list[Facts]:
    """The stock model's one greedy answer, where the comparison has it: what a vote must beat."""
    arms: list[Facts] = comparison["arms"]
    return [
        arm
        for arm in arms
        if arm["kind"] == "stock"
        and arm["is_reference"]
        and not arm["is_sampled"]
        and checkpoint(arm) == checkpoint(population)
    ][:1]


def checkpoint(arm: Facts) -> tuple[str, ...]:
    """What makes two arms the same model but for noise and sampling."""
    given = arm["model_args"]
    arguments = given if isinstance(given, Mapping) else _pairs(str(given or ""))
    kept = sorted(f"{name}={value}" for name, value in arguments.items() if name not in _OURS)
    return (str(arm["model"]), *kept)


def _pairs(text: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in text.split(",") if "=" in pair)


def _calls(arm: Facts, tasks: Sequence[Facts]) -> list[int]:
    return [task["arms"][arm["name"]]["calls"] for task in tasks]


def _at_equal_k(arm: Facts, tasks: Sequence[Facts], calls: Sequence[int]) -> Facts:
    if not arm["is_sampled"]:
        raise UserError(
            f"stock-arm: {arm['name']} is greedy, so its K responses are one; choose a sampled arm"
        )
    for task, own, k in zip(tasks, _calls(arm, tasks), calls, strict=True):
        if own != k:
            raise UserError(
                f"stock-arm: {arm['name']} answers {task['name']} {own} times and the population "
                f"{k} times; choose an arm at equal K"
            )
    return arm


def _named(option: str, name: str, arms: Sequence[Facts]) -> Facts:
    for arm in arms:
        if arm["name"] == name:
            return arm
    known = _names(arms) or "there is none"
    what = "population" if option == "arm" else "stock model of that population"
    raise UserError(f"{option}: no {what} is called {name!r}; choose from: {known}")


def _names(arms: Sequence[Facts]) -> str:
    return ", ".join(arm["name"] for arm in arms)
