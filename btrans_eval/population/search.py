"""Find the sigma at which noise has the KL that is wanted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from btrans_eval.errors import UserError
from btrans_eval.population.divergence import Divergence

TOLERANCE = 0.05
MOST_EVALUATIONS = 6
LARGEST_STEP = 100.0


def search(
    measure: Callable[[float], Divergence], budget: float, start: float
) -> tuple[float, Divergence, int]:
    """Sigma, what it gives, and the number of evaluations.

    The first step takes KL for a square of sigma; later ones interpolate log sigma in log KL
    through the nearest two or three points, inside those below and above the budget, or KL in the
    square of sigma where the curve bends.
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
        f"evaluations (KL was {said}); ask for another kl; a run also takes sigma=NUMBER"
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
    if above and math.isfinite(above[0][1]) and (_bends(below) or found >= above[0][0]):
        larger, more = above[0]
        part = (budget - kl) / (more - kl)
        found = math.sqrt(sigma**2 + part * (larger**2 - sigma**2))
    if above:  # stay well inside
        room = above[0][0] / sigma
        return float(sigma * min(max(found / sigma, room**0.05), room**0.95))
    return float(min(max(found, sigma * 1.05), sigma * LARGEST_STEP))


def _bends(below: Sequence[tuple[float, float]]) -> bool:
    """Whether KL grew less than sigma did: a layer saturates, and others have yet to begin."""
    if len(below) < 2:
        return False
    (smaller, less), (sigma, kl) = below[-2:]
    return kl / less < sigma / smaller


def _inverse(points: Sequence[tuple[float, float]], budget: float) -> float:
    """Where log KL is that of the budget: Lagrange's polynomial of log sigma in log KL."""
    places = [(math.log(kl / budget), math.log(sigma)) for sigma, kl in points]
    if any(later[0] <= sooner[0] for sooner, later in pairwise(places)):
        return points[-1][0] * math.sqrt(budget / points[-1][1])
    weights = [math.prod(y / (y - own) for y, _ in places if y != own) for own, _ in places]
    # next to equal points send it anywhere; what is too far is cut by the caller
    found = sum(weight * x for weight, (_, x) in zip(weights, places, strict=True))
    return math.exp(min(max(found, -500.0), 500.0))


def _rounded(sigma: float) -> float:
    return float(f"{sigma:.4g}")
