"""What `calibrate` measured before, for engines that cannot measure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from btrans_eval.config import AUTO, PopulationConfig
from btrans_eval.population import cache_folder, layers
from btrans_eval.population.calibrate import EQUAL_LAYERS, HOW, LAYERS, Resolved, asked_of
from btrans_eval.population.measurements import Weights, key


def needs_measuring(config: PopulationConfig) -> bool:
    """Whether `resolve` runs the model, unless that was done before."""
    return config.sigma == AUTO or (config.prior == "balanced" and bool(config.sigma))


def recall(
    weights: Weights, config: PopulationConfig, unusual: Mapping[str, list[str]]
) -> Resolved | None:
    """What `resolve` gives from what was measured before, without the model; None: nothing was.

    Args:
        unusual: of the `norms.Survey` of the model or its outline.
    """
    settings: dict[str, Any] = {"noise": config.noise, "norms": config.norms, "seed": config.seed}
    facts, scales = key(weights, None, settings, unusual), None
    if config.prior == "balanced":
        measured = cache_folder.read({**facts, **(EQUAL_LAYERS if weights.is_half else LAYERS)})
        if measured is None:
            return None
        scales = layers.centered(measured) if weights.is_half else layers.balance(measured)
    if config.sigma != AUTO:
        assert not isinstance(config.sigma, str)
        return config.sigma, scales, {"scales": scales, **HOW}
    assert config.kl is not None
    found = cache_folder.read({**facts, **asked_of(config.prior, config.kl)})
    if found is None:
        return None
    return found["sigma"], scales, {**found, "scales": scales, **HOW}
