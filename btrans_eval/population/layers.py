"""What each layer's noise does alone, and scales under which all layers do the same."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping

from tqdm import tqdm

from btrans_eval.errors import UserError
from btrans_eval.population.divergence import Divergence, Yardstick
from btrans_eval.population.population import Population
from btrans_eval.population.search import search

EQUAL_KL = 0.05
"""Of every layer alone where 16-bit numbers are balanced: far above what rounding alone does."""
_LEAST = 1e-6  # sums of float32 give some 1e-8 where nothing changes


def by_layer(
    population: Population,
    yardstick: Yardstick,
    sigmas: Mapping[str, float],
    progress: bool = False,
) -> dict[str, Divergence]:
    """What each of these layers does alone, with noise of its sigma in it and in no other."""
    bar = tqdm(sigmas, desc="Each layer alone", disable=not progress)
    return {
        name: yardstick.measure(
            population.with_sigmas(
                [sigmas[name] * (each.name == name) for each in population.layers]
            )
        )
        for name in bar
    }


def equal(
    population: Population, yardstick: Yardstick, sigma: float, alone: Mapping[str, float]
) -> dict[str, float]:
    """Sigma of each layer at which it alone has `EQUAL_KL`, nats per token.

    In 16 bits any change of a sum rounds the rest anew, which has a KL of its own (some 0.0015 for
    bfloat16) and hides what a layer does at a small sigma. So each layer is measured where its KL
    is that of `EQUAL_KL`, within 5%; the rest is taken for a square of sigma.

    Args:
        sigma: at which ``alone`` was measured.
        alone: KL of each layer.

    A layer whose sigma would be so large that it has no influence by the measure of `balance`,
    beside the one that needs the smallest, gets 0.

    Raises:
        UserError: if another layer does not get there.
    """
    found: dict[str, float] = {}
    failed: dict[str, UserError] = {}

    def measure(name: str, own: float) -> Divergence:
        return by_layer(population, yardstick, {name: own})[name]

    for name in tqdm(alone, desc="Each layer at equal KL"):
        start = sigma * math.sqrt(EQUAL_KL / max(alone[name], _LEAST))
        try:
            own, seen, _ = search(functools.partial(measure, name), EQUAL_KL, start)
            found[name] = own * math.sqrt(EQUAL_KL / seen.mean_kl)
        except UserError as error:
            failed[name] = error
    most = min(found.values(), default=0.0) * math.sqrt(EQUAL_KL / _LEAST)
    for name, reason in failed.items():
        if not found or not measure(name, most).mean_kl <= EQUAL_KL:
            raise UserError(
                "prior: balanced needs the influence of every layer, but noise in "
                f"{name} alone: {reason}"
            )
    return {name: found[name] if found.get(name, most) < most else 0.0 for name in alone}


def balance(kls: Mapping[str, float]) -> dict[str, float]:
    """By layer, what sigma is multiplied by so that every layer alone has the same KL.

    1 / sqrt(KL) of each layer, divided by their geometric mean; 0 for a layer without influence.

    Args:
        kls: of each layer alone, all at one sigma.

    Raises:
        UserError: if a KL is no number, or no layer has an influence that could be measured.
    """
    for name, kl in kls.items():
        if math.isnan(kl):
            raise UserError(f"prior: balanced: noise in {name} alone gives no finite output")
    return centered({name: 1 / math.sqrt(kl) if kl > _LEAST else 0.0 for name, kl in kls.items()})


def centered(sigmas: Mapping[str, float]) -> dict[str, float]:
    """Sigmas divided by the geometric mean of those that are not 0.

    Raises:
        UserError: if all are.
    """
    logs = [math.log(each) for each in sigmas.values() if each]
    if not logs:
        raise UserError(
            "prior: balanced needs the influence of the layers, but noise in none of them alone "
            "changes anything that can be measured; use prior=isotropic"
        )
    center = math.fsum(logs) / len(logs)
    return {
        name: math.exp(math.log(each) - center) if each else 0.0 for name, each in sigmas.items()
    }
