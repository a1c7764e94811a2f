"""Find the noise that fits a model: sigma from a KL budget, and how much each layer bears."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from btrans_eval.config import AUTO, DEFAULT_KL, PopulationConfig, check_kl
from btrans_eval.population import layers
from btrans_eval.population.divergence import MEMBERS, Divergence, Yardstick
from btrans_eval.population.measurements import SCHEME, is_half, key, once, weights_of
from btrans_eval.population.norms import survey
from btrans_eval.population.population import Population
from btrans_eval.population.search import TOLERANCE, search

NEXT_TO_NONE = 1e-3
"""Share of a sigma that changes nothing but how sums are rounded."""
START = {"isotropic": 0.01, "scaled": 0.03, "balanced": 0.01}
BALANCE_TOKENS = 256

HOW = {"scheme": SCHEME, "members": list(MEMBERS)}
LAYERS, EQUAL_LAYERS = {"layers": True}, {"layers": f"at KL {layers.EQUAL_KL}"}

logger = logging.getLogger(__name__)

Resolved = tuple[float | None, dict[str, float] | None, dict[str, Any] | None]


@dataclass(frozen=True)
class Calibration:
    """Sigma for a KL budget, and what was measured.

    Attributes:
        sigma: as found, of four significant digits, so that it can be typed.
        budget: KL(model || member) that was asked for, nats per token.
        kl: what members 0 to 3 have at ``sigma``, mean over tokens and members.
        stderr: standard error of ``kl`` over the members.
        evaluations: how often the four members were run over the text.
        tokens: of the text.
        rounding: KL of next to no noise, where numbers have 16 bits: that much of ``kl`` may be
            rounding; else None.
        scales: of a balanced prior, by layer; else None.
    """

    sigma: float
    budget: float
    kl: float
    stderr: float
    evaluations: int
    tokens: int
    rounding: float | None = None
    scales: Mapping[str, float] | None = None


def calibrate(
    model: nn.Module,
    tokenizer: Any,
    kl: float = DEFAULT_KL,
    *,
    prior: str = "isotropic",
    noise: str = "sequence",
    norms: str = "all",
    seed: int = 0,
    text: str | None = None,
) -> Calibration:
    """Find the sigma whose members have KL(model || member) within 5% of a budget.

    KL grows as sigma squared while it is small, so two or three evaluations find it. The same
    for a given model, seed and text; kept in the user's cache folder.

    Args:
        model: a decoder-only transformers model in evaluation mode.
        tokenizer: its own.
        kl: the budget in nats per token, above 0.
        prior, noise, norms, seed: as of `Population`; not a prior of a file.
        text: what KL is measured on, passages separated by lines of ``---``; None: what the
            package carries.

    Raises:
        UserError: on an argument outside its range, if no sigma reaches the budget within 6
            evaluations, or if the model's output is not finite.

    Example:
        >>> found = calibrate(model, tokenizer, kl=0.05)
        >>> 0.0475 <= found.kl <= 0.0525
        True
        >>> pop = Population(model, sigma=found.sigma)
    """
    kl = check_kl(kl)
    settings: dict[str, Any] = {"noise": noise, "norms": norms, "seed": seed}
    measured = None
    if prior == "balanced":
        measured = balanced_scales(model, tokenizer, text, **settings)

    def found() -> dict[str, Any]:
        one = Population(model, 1.0, prior=prior, scales=measured, **settings)
        yardstick = Yardstick(model, tokenizer, text)

        def at(sigma: float) -> Divergence:
            return yardstick.measure(one.with_sigmas([sigma * each for each in one.sigmas]))

        sigma, seen, evaluations = search(at, kl, START[prior])
        return {
            "sigma": sigma, "budget": kl, "kl": seen.mean_kl, "stderr": seen.stderr,
            "evaluations": evaluations, "tokens": seen.tokens,
            "rounding": at(sigma * NEXT_TO_NONE).mean_kl if is_half(model) else None,
        }  # fmt: skip

    facts = _facts(model, tokenizer, text, settings)
    result = Calibration(**once(facts, asked_of(prior, kl), found), scales=measured)
    if result.rounding is not None and result.rounding > TOLERANCE * kl:
        logger.warning(
            "kl=%g: up to %.2g of it is rounding of 16-bit numbers, so sigma=%g is smaller than in "
            "float32; a larger kl or dtype=float32 is not", kl, result.rounding, result.sigma,
        )  # fmt: skip
    return result


def layers_alone(
    model: nn.Module,
    tokenizer: Any,
    *,
    noise: str = "sequence",
    norms: str = "all",
    seed: int = 0,
    text: str | None = None,
) -> dict[str, float]:
    """KL of noise in each layer alone, by layer, nats per token; kept in the user's cache folder.

    At one sigma, at which all layers together have `DEFAULT_KL`, on up to 256 tokens of the text.
    """
    settings: dict[str, Any] = {"noise": noise, "norms": norms, "seed": seed}

    def found() -> dict[str, Any]:
        sigma = calibrate(model, tokenizer, DEFAULT_KL, text=text, **settings).sigma
        population = Population(model, sigma, **settings)
        yardstick = Yardstick(model, tokenizer, text, BALANCE_TOKENS)
        sigmas = {layer.name: sigma for layer in population.layers}
        alone = layers.by_layer(population, yardstick, sigmas, progress=True)
        return {name: one.mean_kl for name, one in alone.items()}

    return once(_facts(model, tokenizer, text, settings), LAYERS, found)


def balanced_scales(
    model: nn.Module, tokenizer: Any, text: str | None = None, **settings: Any
) -> dict[str, float]:
    """By layer, what sigma is multiplied by so that every layer alone has the same KL.

    Args:
        settings: noise, norms and seed, as of `Population`.

    Returns:
        by name; 0 for layers whose noise alone changes nothing that could be measured.

    Raises:
        UserError: if that is so of all layers.
    """
    alone = layers_alone(model, tokenizer, text=text, **settings)
    if not is_half(model):
        return layers.balance(alone)

    def found() -> dict[str, Any]:
        sigma = calibrate(model, tokenizer, DEFAULT_KL, text=text, **settings).sigma
        population = Population(model, sigma, **settings)
        yardstick = Yardstick(model, tokenizer, text, BALANCE_TOKENS)
        return layers.equal(population, yardstick, sigma, alone)

    facts = _facts(model, tokenizer, text, settings)
    return layers.centered(once(facts, EQUAL_LAYERS, found))


def asked_of(prior: str, kl: float) -> dict[str, Any]:
    """What a sigma is kept under, beside what it was measured with."""
    return {"prior": prior, "kl": float(kl)}


def resolve(model: nn.Module, tokenizer: Any, config: PopulationConfig) -> Resolved:
    """Sigma and scales as numbers, and what the results file says about how they were found."""
    settings: dict[str, Any] = {"noise": config.noise, "norms": config.norms, "seed": config.seed}
    if config.sigma == AUTO:
        assert config.kl is not None
        found = calibrate(model, tokenizer, config.kl, prior=config.prior, **settings)
        logger.warning(  # so that it is seen whatever the log level is
            "sigma=auto: sigma=%g has KL %.4f (standard error %.4f) nats per token, budget %g",
            found.sigma, found.kl, found.stderr, found.budget,
        )  # fmt: skip
        scales = None if found.scales is None else dict(found.scales)
        return found.sigma, scales, {**asdict(found), **HOW}
    assert not isinstance(config.sigma, str)
    if config.prior == "balanced" and config.sigma:
        scales = balanced_scales(model, tokenizer, **settings)
        return config.sigma, scales, {"scales": scales, **HOW}
    return config.sigma, None, None


def population_of(model: nn.Module, config: PopulationConfig, resolved: Resolved) -> Population:
    """The population that a configuration means, with what `resolve` found for it."""
    sigma, scales, _ = resolved
    return Population(
        model,
        sigma=sigma,
        mu=config.mu,
        prior=config.prior,
        noise=config.noise,
        noise_from=config.noise_from,
        norms=config.norms,
        seed=config.seed,
        scales=scales,
    )


def _facts(
    model: nn.Module, tokenizer: Any, text: str | None, settings: Mapping[str, Any]
) -> dict[str, Any] | None:
    """All that a measurement depends on; None where it is made each time."""
    weights = weights_of(model, tokenizer)
    if weights is None:
        return None
    return key(weights, text, settings, survey(model, settings.get("norms", "all")).unusual)
