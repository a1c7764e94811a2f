"""Find the noise that fits a model: sigma from a KL budget, and how much each layer bears."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from torch import nn
from tqdm import tqdm

from btrans_eval.config import AUTO, DEFAULT_KL, PopulationConfig, check_kl
from btrans_eval.errors import UserError
from btrans_eval.population import cache, fingerprint
from btrans_eval.population.divergence import MEMBERS, Divergence, Yardstick, shipped_text
from btrans_eval.population.noise import SCHEME as NOISE_SCHEME
from btrans_eval.population.population import Population

SCHEME = 1
"""Number of the method below. Any change of the sigmas it finds needs a new number."""
TOLERANCE = 0.05
MOST_EVALUATIONS = 6
LARGEST_STEP = 100.0
START = {"isotropic": 0.01, "scaled": 0.03, "balanced": 0.01}
BALANCE_TOKENS = 256

HOW = {"scheme": SCHEME, "members": list(MEMBERS)}

logger = logging.getLogger(__name__)

Resolved = tuple[float | None, dict[str, float] | None, dict[str, Any] | None]


@dataclass(frozen=True)
class Weights:
    """What a measurement was made with.

    Attributes:
        model, tokenizer: their fingerprints.
        dtype: of the model's first parameter, as torch names it.
    """

    model: str
    dtype: str
    tokenizer: str


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
        scales: of a balanced prior, by layer; else None.
    """

    sigma: float
    budget: float
    kl: float
    stderr: float
    evaluations: int
    tokens: int
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
    """
    check_kl(kl)
    settings: dict[str, Any] = {"noise": noise, "norms": norms, "seed": seed}
    measured = None
    if prior == "balanced":
        measured = balance(layers_alone(model, tokenizer, **settings, text=text))

    def found() -> dict[str, Any]:
        one = Population(model, 1.0, prior=prior, scales=measured, **settings)
        yardstick = Yardstick(model, tokenizer, text)

        def at(sigma: float) -> Divergence:
            return yardstick.measure(one.with_sigmas([sigma * each for each in one.sigmas]))

        sigma, seen, evaluations = search(at, kl, START[prior])
        return {
            "sigma": sigma, "budget": kl, "kl": seen.mean_kl, "stderr": seen.stderr,
            "evaluations": evaluations, "tokens": seen.tokens,
        }  # fmt: skip

    facts = _facts(model, tokenizer, text, settings)
    return Calibration(**_once(facts, {"prior": prior, "kl": kl}, found), scales=measured)


def search(
    measure: Callable[[float], Divergence], budget: float, start: float
) -> tuple[float, Divergence, int]:
    """Sigma, what it gives, and the number of evaluations.

    The first step takes KL for a square of sigma; later ones interpolate log sigma in log KL
    through the nearest two or three points, inside those below and above the budget.
    """
    tried: list[tuple[float, float]] = []
    sigma = _rounded(start)
    for evaluation in range(1, MOST_EVALUATIONS + 1):
        found = measure(sigma)
        kl = found.mean_kl
        if abs(kl - budget) <= TOLERANCE * budget:
            return sigma, found, evaluation
        tried.append((sigma, kl if math.isfinite(kl) else math.inf))
        sigma = _rounded(_next(sorted(tried), budget))
    said = ", ".join(f"{kl:.3g} at {sigma:g}" for sigma, kl in sorted(tried))
    raise UserError(
        f"sigma: none was found with KL {budget:g} nats per token in {MOST_EVALUATIONS} "
        f"evaluations (KL was {said}); ask for another kl=, or give sigma=NUMBER"
    )


def _next(tried: Sequence[tuple[float, float]], budget: float) -> float:
    below = [point for point in tried if 0 < point[1] < budget]
    above = [point for point in tried if point[1] > budget]
    if not below:
        sigma, kl = above[0] if above else tried[-1]
        step = math.sqrt(budget / kl) if kl > 0 else math.inf  # rounding may leave KL below 0
        return sigma * min(max(step, 1 / LARGEST_STEP), LARGEST_STEP)
    sigma, kl = below[-1]
    near = [point for point in (*below[-2:], *above[:1]) if math.isfinite(point[1])]
    found = _inverse(near, budget) if len(near) > 1 else sigma * math.sqrt(budget / kl)
    if above:  # stay well inside
        room = above[0][0] / sigma
        return float(sigma * min(max(found / sigma, room**0.05), room**0.95))
    return float(min(max(found, sigma * 1.05), sigma * LARGEST_STEP))


def _inverse(points: Sequence[tuple[float, float]], budget: float) -> float:
    """Where log KL is that of the budget: Lagrange's polynomial of log sigma in log KL."""
    places = [(math.log(kl / budget), math.log(sigma)) for sigma, kl in points]
    if any(later[0] <= sooner[0] for sooner, later in pairwise(places)):
        return points[-1][0] * math.sqrt(budget / points[-1][1])
    weights = [math.prod(y / (y - own) for y, _ in places if y != own) for own, _ in places]
    return math.exp(sum(weight * x for weight, (_, x) in zip(weights, places, strict=True)))


def _rounded(sigma: float) -> float:
    return float(f"{sigma:.4g}")


def by_layer(
    population: Population, yardstick: Yardstick, sigma: float, progress: bool = False
) -> dict[str, Divergence]:
    """What each layer does alone: noise of one sigma in that layer and in no other."""
    layers = population.layers
    bar = tqdm(layers, desc="Each layer alone", disable=not progress)
    return {
        layer.name: yardstick.measure(
            population.with_sigmas([sigma * (each is layer) for each in layers])
        )
        for layer in bar
    }


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
        whole = calibrate(model, tokenizer, DEFAULT_KL, text=text, **settings)
        population = Population(model, whole.sigma, **settings)
        yardstick = Yardstick(model, tokenizer, text, BALANCE_TOKENS)
        alone = by_layer(population, yardstick, whole.sigma, progress=True)
        return {name: one.mean_kl for name, one in alone.items()}

    return _once(_facts(model, tokenizer, text, settings), {"layers": True}, found)


def _once(
    facts: Mapping[str, Any], asked: Mapping[str, Any], measure: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """What was measured before under these facts, else what is measured now, which is kept."""
    if not facts:
        return measure()
    found = cache.read({**facts, **asked})
    if found is None:
        found = measure()
        cache.write({**facts, **asked}, found)
    return found


def balance(kls: Mapping[str, float]) -> dict[str, float]:
    """By layer, what sigma is multiplied by so that every layer alone has the same KL.

    1 / sqrt(KL) of each layer, divided by their geometric mean.

    Raises:
        UserError: if a layer has no influence that could be measured.
    """
    for name, kl in kls.items():
        if not kl > 1e-9:
            raise UserError(
                f"prior: balanced needs the influence of every layer, but noise in {name} alone "
                f"changes nothing that can be measured (KL {kl:.1g}); leave it out with norms="
            )
    logs = {name: -0.5 * math.log(kl) for name, kl in kls.items()}
    center = math.fsum(logs.values()) / len(logs)
    return {name: math.exp(each - center) for name, each in logs.items()}


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
        said = {name: value for name, value in asdict(found).items() if name != "scales"}
        scales_ = None if found.scales is None else dict(found.scales)
        return found.sigma, scales_, {**said, **HOW}
    assert not isinstance(config.sigma, str)
    if config.prior == "balanced" and config.sigma:
        return config.sigma, balance(layers_alone(model, tokenizer, **settings)), None
    return config.sigma, None, None


def _facts(
    model: nn.Module, tokenizer: Any, text: str | None, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """All that a calibration depends on; empty where the model has no fingerprint."""
    try:
        digest = fingerprint.of_model(model)
    except UserError:  # offloaded weights: it is measured each time
        return {}
    dtype = str(next(model.parameters()).dtype)
    return key(Weights(digest, dtype, fingerprint.of_tokenizer(tokenizer)), text, settings)


def key(weights: Weights, text: str | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a measurement is kept under in the user's cache folder."""
    whole = shipped_text() if text is None else text
    return {
        "scheme": [SCHEME, NOISE_SCHEME],
        **asdict(weights),
        "text": hashlib.sha256(whole.encode()).hexdigest(),
        **settings,
    }
