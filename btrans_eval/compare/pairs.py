"""Differences of two arms on the same questions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from btrans_eval.compare.columns import Floats, as_dict, scores_by_member, scores_of
from btrans_eval.compare.join import Arm, JoinedTask
from btrans_eval.scores import intervals, stats

PRIMARY = ("mean", "maj", "pass")
_RANK = {"population": 0, "other": 1, "stock": 2}


def ordered(one: Arm, other: Arm) -> tuple[Arm, Arm]:
    """Population before stock, and a reference last: differences are first minus second."""
    first, second = sorted((one, other), key=lambda arm: (arm.is_reference, _RANK[arm.kind]))
    return first, second


def pairs_of(
    task: JoinedTask,
    a: Arm,
    b: Arm,
    values: Mapping[str, Mapping[str, Floats]],
    calls: Mapping[str, int],
) -> list[dict[str, Any]]:
    """The differences of two arms on one task; none where their K differ."""
    many, few = calls[a.name], calls[b.name]
    if many != few and few != 1:
        return []
    against_one = many != few
    found = []
    for kind in PRIMARY:
        name = _column(kind, many)
        other = "mean" if against_one else _column(kind, few)
        if name not in values[a.name] or other not in values[b.name]:
            continue
        if kind == "pass" and (against_one or many == 1):
            continue  # an oracle over K calls is no match for one call; over one it is the mean
        pair = paired(values[a.name][name], values[b.name][other])
        is_primary = (
            many == few > 1
            and a.run.results.get("model_name") == b.run.results.get("model_name")
            and (a.kind, a.is_sampled) == ("population", False)
            and (b.kind, b.is_sampled) == ("stock", True)
        )
        pair |= {
            "a": a.name,
            "b": b.name,
            "metric": name if kind != "mean" else f"mean@{many}",
            "label": _label(many, few, task.mixed[a.name], task.mixed[b.name]),
            "primary": is_primary,
        }
        if kind == "mean" and not against_one and many > 1:
            pair["two_way"] = _two_way_pair(task, a, b)
        found.append(pair)
    return found


def _label(many: int, few: int, mixed_a: int, mixed_b: int) -> str:
    """What each of the two spends on a question."""
    if max(mixed_a, mixed_b) > 1:
        return f"mean likelihood of {mixed_a} against {mixed_b}"
    if many != few:
        return f"{many} calls against 1"
    return "1 call each" if many == 1 else f"{many} calls each"


def _column(kind: str, calls: int) -> str:
    return "mean" if kind == "mean" else f"{kind}@{calls}"


def paired(a: Floats, b: Floats) -> dict[str, Any]:
    """Difference of two arms on the same questions.

    The interval is Student's t over the paired differences: BCa, which is given beside it,
    covers too little below some 100 questions (benchmarks/coverage.py).
    """
    rate = True if all(np.all((x >= 0) & (x <= 1)) for x in (a, b)) else None
    bca = as_dict(intervals.paired_interval(a, b, rate=rate))
    ends = bca
    if bca["method"] == "bca":
        ends = {**as_dict(intervals.mean_interval(a - b, rate=False)), "method": "paired t"}
        if rate:  # a difference of shares
            ends |= {"low": max(ends["low"], -1.0), "high": min(ends["high"], 1.0)}
    binary = bool(np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all())
    return {
        "difference": ends["estimate"],
        "low": ends["low"],
        "high": ends["high"],
        "method": ends["method"],
        "bca": [bca["low"], bca["high"]],
        "p": stats.permutation_test(a, b),
        "p_holm": None,
        "mcnemar": stats.mcnemar_exact(a, b)._asdict() if binary else None,
        "questions_needed": stats.questions_needed(a, b),
        "two_way": None,
    }


def _two_way_pair(task: JoinedTask, a: Arm, b: Arm) -> dict[str, Any] | None:
    """For fresh members too; None where neither arm has members that are told apart."""
    members = "".join(which for which, arm in (("a", a), ("b", b)) if arm.has_members)
    if not members:
        return None
    one, other = (
        (scores_by_member if arm.has_members else scores_of)(task.arms[arm.name]) for arm in (a, b)
    )
    if one is None or other is None or min(*one.shape, *other.shape) < 2:
        return None
    if members == "ab":
        same = one.shape == other.shape and _members_of(a) == _members_of(b)
        members = "shared" if same else "each"
    return as_dict(intervals.two_way_paired_interval(one, other, members))


def _members_of(arm: Arm) -> Any:
    used = arm.run.population or {}
    names = ("noise_sha256", "sigma", "mu", "prior", "noise", "norms", "seed")
    return [used.get(name) for name in names]
