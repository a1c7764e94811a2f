"""What probabilities of choices are worth, and the temperature that calibrates them.

Probabilities are those of `doubt`: each member's softmax of its log-likelihoods, and their mean;
one model is a population of one. Here all questions are in one table, so that log-likelihoods can
be divided by a temperature T before the softmax (Guo et al. 2017, arXiv 1706.04599), one T for all
members, and questions can be drawn again many times.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from btrans_eval.errors import UserError
from btrans_eval.scores import counted
from btrans_eval.scores.folds import Ints
from btrans_eval.scores.questions import SAME

Floats = NDArray[np.float64]

LARGEST = 100.0
"""Temperatures are sought from 1/100 to 100."""
FEW = 50
"""Questions below which a temperature says little. Of calibrated answers to four choices, T fitted
to four fifths of 50 has a standard deviation of ln T of 0.2 to 0.3; of 20, of 0.35 to more than 1
(tests/scores/test_choices.py)."""
_STEPS = 240
_LOGS: Floats = np.linspace(-np.log(LARGEST), np.log(LARGEST), _STEPS + 1)
_CELLS = 1 << 20


class Choices(NamedTuple):
    """Log-likelihoods of the choices of all questions.

    Attributes:
        table: (questions, members, choices), in nats; -inf where a question has fewer choices.
        gold: place of the right choice, (questions,).
    """

    table: Floats
    gold: Ints


class Measured(NamedTuple):
    """What each question's mean probability says, every field of shape (questions,).

    Attributes:
        right: 1 where the most probable choice is the right one (the first of those that tie).
        sure: its probability.
        nll: -ln of the right choice's probability, nats; inf where it has no chance.
        brier: sum over choices of squared differences from what is right, 0 to 2.
        entropy: nats.
        epistemic: entropy less the members' mean entropy, nats, at least 0.
    """

    right: Floats
    sure: Floats
    nll: Floats
    brier: Floats
    entropy: Floats
    epistemic: Floats


def choices(tables: Sequence[ArrayLike], golds: Sequence[int]) -> Choices:
    """Of each question's table (members, choices), which `doubt` has found valid.

    Raises:
        UserError: on no question, or questions with other numbers of members.
    """
    given = [np.asarray(table, dtype=np.float64) for table in tables]
    if not given or len({len(table) for table in given}) > 1:
        raise UserError("tables: must be of one question or more, each with the same members")
    widest = max(table.shape[1] for table in given)
    whole = np.full((len(given), len(given[0]), widest), -np.inf)
    for row, table in zip(whole, given, strict=True):
        row[:, : table.shape[1]] = table
    return Choices(whole, np.array(golds, dtype=np.int64))


def member(given: Choices, place: int) -> Choices:
    """One member alone."""
    return Choices(given.table[:, place : place + 1], given.gold)


def measured(given: Choices, temperatures: Floats | float = 1.0) -> Measured:
    """Args: temperatures: of all questions, or of each, (questions,)."""
    logs = _log_shares(given.table, np.asarray(temperatures, dtype=np.float64))
    shares = np.exp(logs)
    mean = shares.mean(axis=1)
    chosen = mean.argmax(axis=1)
    is_gold = np.arange(mean.shape[1]) == given.gold[:, None]
    entropy = _entropy(mean)
    return Measured(
        right=(chosen == given.gold).astype(np.float64),
        sure=mean.max(axis=1),
        nll=_surprise(logs, given.gold),
        brier=((mean - is_gold) ** 2).sum(axis=1),
        entropy=entropy,
        epistemic=np.maximum(entropy - _entropy(shares).mean(axis=1), 0.0),
    )


def figures(found: Measured, rows: Ints, several: bool) -> dict[str, Floats]:
    """Figures of draws of the questions, by name, shape (draws,); NaN where one has no value.

    Args:
        rows: places of each draw's questions, (draws, questions).
        several: whether there are members to disagree.
    """
    calm = {"entropy": -found.entropy} | ({"epistemic": -found.epistemic} if several else {})
    # members that are the same do not disagree by rounding
    calm = {name: np.round(values, 12) for name, values in calm.items()}
    sure = np.round(found.sure, 12)
    parts: list[dict[str, Floats]] = []
    at_once = max(_CELLS // len(found.right), 1)
    for start in range(0, len(rows), at_once):
        some = rows[start : start + at_once]
        by_chance = counted.count(sure, found.right, some)
        part = {
            "accuracy": found.right[some].mean(axis=1),
            "nll": found.nll[some].mean(axis=1),
            "brier": found.brier[some].mean(axis=1),
            f"ece_{counted.BINS}": counted.ece(by_chance, counted.BINS),
            f"squared_error_{counted.BINS}": counted.squared_error(by_chance, counted.BINS)[0],
            "auroc_probability": counted.auroc(by_chance),
        }
        for name, values in calm.items():
            part[f"auroc_{name}"] = counted.auroc(counted.count(values, found.right, some))
        parts.append(part)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def figures_of_members(given: Choices, rows: Ints) -> dict[str, Floats]:
    """Means of the members' own `figures`; NaN or inf where one's is."""
    own = [
        figures(measured(member(given, place)), rows, several=False)
        for place in range(given.table.shape[1])
    ]
    return {name: np.mean([each[name] for each in own], axis=0) for name in own[0]}


def surprises(given: Choices) -> Floats:
    """NLL of each question at each temperature that is tried, (questions, temperatures).

    0 where the right choice has no chance at any temperature, which says nothing of which is best.
    """
    found = np.empty((len(given.gold), len(_LOGS)))
    for place, log in enumerate(_LOGS):
        found[:, place] = _surprise(_log_shares(given.table, np.exp(log)), given.gold)
    return np.where(np.isinf(found), 0.0, found)


def fitted(surprise: Floats, weights: Floats) -> Floats:
    """Temperature with the least NLL, of questions that count so often; NaN where none does.

    The best of 241 on a logarithmic scale from 1/100 to 100, then the lowest point of the parabola
    through it and its neighbours; of equally good ones the closest to 1.

    Args:
        surprise: of `surprises`, (questions, temperatures).
        weights: (draws, questions).

    Returns:
        Shape (draws,).
    """
    total = weights @ surprise
    nearest = np.argsort(np.abs(_LOGS), kind="stable")
    least = total.min(axis=1, keepdims=True)
    is_least = total <= least + SAME * np.maximum(np.abs(least), 1.0)
    place = nearest[is_least[:, nearest].argmax(axis=1)]
    inner = np.clip(place, 1, _STEPS - 1)
    draws = np.arange(len(total))
    before, at, after = (total[draws, inner + step] for step in (-1, 0, 1))
    bend = before - 2 * at + after
    is_curved = (place == inner) & (bend > SAME)
    shift = np.where(is_curved, (before - after) / (2 * np.where(is_curved, bend, 1.0)), 0.0)
    width = _LOGS[1] - _LOGS[0]
    logs = _LOGS[place] + np.clip(shift, -1.0, 1.0) * width
    return np.where(weights.sum(axis=1) > 0, np.exp(logs), np.nan)


def without_best(temperatures: Floats, fold: Ints, right: Floats) -> int:
    """In how many folds no temperature fits best: the smaller, or the larger, the better.

    It is then at an end of what is tried; or, where all answers of the other folds are right, so
    small that less changes nothing.

    Args:
        temperatures: of each fold, (folds,).
        fold: of each question, (questions,).
        right: whether its answer is, (questions,).
    """
    is_end = np.abs(np.log(temperatures)) >= np.log(LARGEST) - SAME
    are_right = [right[fold != each].all() for each in range(len(temperatures))]
    return int((is_end | np.array(are_right)).sum())


def cross_fitted(surprise: Floats, fold: Ints, copies: Ints) -> Floats:
    """For each draw and fold the temperature that fits the other folds, (draws, folds)."""
    weights = copies.astype(np.float64)
    columns = [
        fitted(surprise, np.where(fold == each, 0.0, weights)) for each in range(fold.max() + 1)
    ]
    return np.stack(columns, axis=1)


def scaled_figures(
    given: Choices, temperatures: Floats, fold: Ints, rows: Ints
) -> dict[str, Floats]:
    """`figures` of draws that have temperatures of their own; NaN in one without.

    Args:
        temperatures: of each draw and fold, (draws, folds).
        fold: of each question, (questions,).
        rows: (draws, questions).
    """
    several = given.table.shape[1] > 1
    parts = []
    for own, some in zip(temperatures, rows, strict=True):
        # a fold's questions that are drawn, while no other's are, have no temperature
        is_known = not np.isnan(own[fold[some]]).any()
        found = measured(given, np.where(np.isnan(own), 1.0, own)[fold])
        part = figures(found, some[None], several)
        none = np.full(1, np.nan)
        parts.append({name: values if is_known else none for name, values in part.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _log_shares(table: Floats, temperatures: Floats) -> Floats:
    """Log-softmax of each member's choices; -inf stays."""
    warm = (table - table.max(axis=2, keepdims=True)) / temperatures.reshape(-1, 1, 1)
    found: Floats = warm - np.log(np.exp(warm).sum(axis=2, keepdims=True))  # the largest is 0
    return found


def _surprise(logs: Floats, gold: Ints) -> Floats:
    own = np.take_along_axis(logs, gold[:, None, None], axis=2)[:, :, 0]
    # not by exp: a probability that a float cannot hold still has a logarithm
    top = own.max(axis=1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):  # no chance at all
        mean = np.log(np.exp(own - top).mean(axis=1)) + top[:, 0]
    found: Floats = np.maximum(-mean, 0.0)
    return found


def _entropy(shares: Floats) -> Floats:
    logs = np.log(np.where(shares > 0, shares, 1.0))
    found: Floats = -(shares * logs).sum(axis=-1)
    return np.maximum(found, 0.0)
