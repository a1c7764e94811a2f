"""What `calibrate` measured before, for engines that cannot measure."""

from __future__ import annotations

from typing import Any

from btrans_eval.config import AUTO, PopulationConfig
from btrans_eval.population import cache
from btrans_eval.population.calibrate import HOW, Resolved, Weights, balance, key


def needs_measuring(config: PopulationConfig) -> bool:
    """Whether `resolve` runs the model, unless that was done before."""
    return config.sigma == AUTO or (config.prior == "balanced" and bool(config.sigma))


def recall(weights: Weights, config: PopulationConfig) -> Resolved | None:
    """What `resolve` gives from what was measured before, without the model; None: nothing was."""
    settings: dict[str, Any] = {"noise": config.noise, "norms": config.norms, "seed": config.seed}
    facts, scales = key(weights, None, settings), None
    if config.prior == "balanced":
        alone = cache.read({**facts, "layers": True})
        if alone is None:
            return None
        scales = balance(alone)
    if config.sigma != AUTO:
        assert not isinstance(config.sigma, str)
        return config.sigma, scales, None
    found = cache.read({**facts, "prior": config.prior, "kl": config.kl})
    return None if found is None else (found["sigma"], scales, {**found, **HOW})
