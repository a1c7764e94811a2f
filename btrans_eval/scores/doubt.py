"""Two kinds of doubt about a multiple-choice question: the members' own, and that between them.

Member m gives choice c the probability p_m(c) = exp(l_mc) / sum over choices, l the log-likelihood
of the choice behind the question; the population's is their mean p. Its entropy is the mean entropy
of members (aleatoric: what each is unsure of) and the mutual information of choice and member
(epistemic: what they disagree on), BALD, Houlsby et al. 2011 (arXiv 1112.5745).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from btrans_eval.errors import UserError
from btrans_eval.scores import choices, counted
from btrans_eval.scores.rows import check_integer

Floats = NDArray[np.float64]


class Doubt(NamedTuple):
    """One question.

    Attributes:
        mean: probabilities of the choices, mean of the members', (choices,).
        members: each member's, (members, choices).
        entropy: of the mean, in nats.
        aleatoric: mean entropy of members.
        epistemic: entropy less that, at least 0.
        gold: place of the right choice.
        likeliest: choice with the largest mean likelihood, which the harness scores: not always
            the most probable one.
        log_likelihoods: as given, (members, choices).
    """

    mean: Floats
    members: Floats
    entropy: float
    aleatoric: float
    epistemic: float
    gold: int
    likeliest: int
    log_likelihoods: Floats


def doubt(log_likelihoods: ArrayLike, gold: int) -> Doubt:
    """Of the members' log-likelihoods of the choices, shape (members, choices), in nats.

    Raises:
        UserError: on NaN or +inf, fewer than two choices, a member to whom every choice is
            impossible, or a gold choice that is none.
    """
    table = np.asarray(log_likelihoods, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] < 1 or table.shape[1] < 2:
        raise UserError(
            "log_likelihoods: must have shape (members, choices), at least 1 and 2, got "
            f"{table.shape}"
        )
    if np.isnan(table).any() or np.isposinf(table).any():
        raise UserError("log_likelihoods: must be numbers below infinity, got NaN or inf")
    if np.isneginf(table).all(axis=1).any():
        raise UserError("log_likelihoods: a member gives every choice the likelihood 0")
    check_integer("gold", gold, 0, table.shape[1] - 1)
    weights = np.exp(table - table.max(axis=1, keepdims=True))
    members = weights / weights.sum(axis=1, keepdims=True)
    mean = members.mean(axis=0)
    whole, own = _entropy(mean), float(np.mean([_entropy(each) for each in members]))
    likeliest = int(np.exp(table - table.max()).mean(axis=0).argmax())
    return Doubt(mean, members, whole, own, max(whole - own, 0.0), int(gold), likeliest, table)


def _entropy(shares: Floats) -> float:
    positive = shares[shares > 0]
    return float(-(positive * np.log(positive)).sum())


def summary(questions: Sequence[Doubt]) -> dict[str, float | None]:
    """Figures over questions, each with as many members; None where one has no value.

    ``accuracy``, ``nll`` (nats; None where a right choice has no chance), ``brier`` (sum over
    choices) and ``ece_20`` of the mean probability; ``…_of_a_member``: the mean of members' own;
    ``accuracy_of_mean_likelihood``: of the choice that the harness scores; ``entropy``,
    ``aleatoric``, ``epistemic``: means; ``auroc_entropy``, ``auroc_epistemic``: how well less of
    it tells right answers of the mean from wrong ones. A tie for the most probable choice goes to
    the first, as the harness has it.

    Raises:
        UserError: on no question.
    """
    if not questions:
        raise UserError("questions: must be at least one, got none")
    given = choices.choices([q.log_likelihoods for q in questions], [q.gold for q in questions])
    whole, rows = choices.measured(given), np.arange(len(questions))[None]
    of_mean = choices.figures(whole, rows, several=True)
    of_members = choices.figures_of_members(given, rows)
    found = {
        "accuracy_of_mean_likelihood": np.mean([q.likeliest == q.gold for q in questions]),
        "entropy": whole.entropy.mean(),
        "aleatoric": np.mean([q.aleatoric for q in questions]),
        "epistemic": whole.epistemic.mean(),
        "auroc_entropy": of_mean["auroc_entropy"][0],
        "auroc_epistemic": of_mean["auroc_epistemic"][0],
    }
    for name in ("accuracy", "nll", "brier", f"ece_{counted.BINS}"):
        found[name], found[f"{name}_of_a_member"] = of_mean[name][0], of_members[name][0]
    return {name: float(value) if np.isfinite(value) else None for name, value in found.items()}
