"""What a training study shows: differences matched by seed, over seeds and questions alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from btrans_eval.scores.intervals import Interval, paired_interval, two_way_paired_interval
from btrans_eval.scores.stats import seed_spread
from btrans_eval.training.evaluation import UNTRAINED, Evaluated

Values = NDArray[np.float64]
FEW = 3
"""Seeds below which a difference is called that of one run, or of two."""
_POWER = float(1 + ndtri(0.8) / ndtri(0.975))
"""Times half an interval of 95%: what is found in 4 of 5 studies (normal approximation)."""


def analyse(
    found: Mapping[tuple[str, int], Evaluated], arms: Sequence[str], baseline: str | None
) -> dict[str, Any]:
    """All numbers of one task.

    Args:
        found: what each run scores, and the untrained model.
        arms: names, in their order.
        baseline: the arm that the others are compared with; None: there is none.
    """
    seeds = [seed for arm, seed in found if arm == arms[0]]
    start = found[UNTRAINED, 0].measures
    tables = {
        arm: {
            measure: np.stack([found[arm, seed].measures[measure] for seed in seeds], axis=1)
            for measure in start
        }
        for arm in arms
    }  # each (questions, seeds)
    untrained = {name: np.repeat(v[:, None], len(seeds), axis=1) for name, v in start.items()}
    others = [(arm, baseline) for arm in arms if baseline is not None and arm != baseline]
    return {
        "seeds": seeds,
        "questions": len(next(iter(start.values()))),
        "untrained": {measure: float(values.mean()) for measure, values in start.items()},
        "arms": {
            arm: {measure: _spread(table) for measure, table in of_arm.items()}
            for arm, of_arm in tables.items()
        },
        "differences": [
            difference(arm, against, measure, tables[arm][measure], other[measure])
            for against, pairs, in ((UNTRAINED, arms), (baseline, [a for a, _ in others]))
            for arm in pairs
            for other in [untrained if against == UNTRAINED else tables[str(against)]]
            for measure in start
        ],
    }  # fmt: skip


def _spread(table: Values) -> dict[str, Any]:
    """Of a measure, over seeds."""
    runs = table.mean(axis=0)
    spread = seed_spread(runs)
    return {"mean": spread.mean, "sd": spread.sd, "runs": [float(one) for one in runs]}


def difference(arm: str, against: str | None, measure: str, a: Values, b: Values) -> dict[str, Any]:
    """One arm less another, seed by seed.

    "Better" (or worse) needs one sign in all of at least three seeds, and an interval for fresh
    seeds and fresh questions (`two_way_paired_interval`) that excludes 0.

    Args:
        a, b: shape (questions, seeds), in the same order.
    """
    per_seed = (a - b).mean(axis=0)
    interval = _interval(a, b)
    one_sign = bool((per_seed > 0).all() or (per_seed < 0).all())
    excludes = interval.low > 0 or interval.high < 0
    if a.shape[1] < FEW:
        verdict = "one run" if a.shape[1] == 1 else "two runs"
    elif one_sign and excludes:
        verdict = "better" if per_seed.mean() > 0 else "worse"
    else:
        verdict = "no difference shown"
    half = (interval.high - interval.low) / 2
    return {
        "arm": arm,
        "against": against,
        "measure": measure,
        "difference": float(per_seed.mean()),
        "low": interval.low,
        "high": interval.high,
        "method": interval.method,
        "per_seed": [float(one) for one in per_seed],
        "detectable": half * _POWER if np.isfinite(half) else None,
        "verdict": verdict,
    }


def _interval(a: Values, b: Values) -> Interval:
    if a.shape[1] == 1 or len(a) == 1:
        return paired_interval(a.mean(axis=1), b.mean(axis=1))
    return two_way_paired_interval(a, b, "shared")


def sentence(one: Mapping[str, Any]) -> str:
    """A difference in words, in points of a hundred."""
    points, low, high = (100 * one[name] for name in ("difference", "low", "high"))
    said = (
        f"{one['arm']} against {one['against']}, {one['measure']}: {points:+.1f} points "
        f"({low:+.1f} to {high:+.1f}): {one['verdict']}"
    )
    if one["detectable"] is not None:
        said += f"; this study would have found {100 * one['detectable']:.1f} in 4 of 5 tries"
    return said
