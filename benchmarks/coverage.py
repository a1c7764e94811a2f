"""How often the intervals hold the truth, and how often the tests reject a true null.

    python benchmarks/coverage.py              # the whole table, some minutes on one core

Part 1, over questions: a question's rate is Beta distributed, its 8 responses are drawn with that
rate; scores are mean@8 or the first response alone (0/1). Two arms answer the same questions with
equal rates p, or the second with p + 0.2 (1 - p). Part 2, fresh members too: responses are drawn
with logit 0.3 + question + member + both together, normal, of sd 1.5, the one printed, and 0.5.

The nominal coverage is 95%; with 2,000 studies a printed share has a standard error of 0.5 points.
Inside the simulation 2,000 resamples and flips are used (`--draws`); the functions are the
library's own; `paired t`, which comparisons use, is written out here.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, stdtrit

from btrans_eval.scores.intervals import (
    Interval,
    mean_interval,
    paired_interval,
    two_way_interval,
    two_way_paired_interval,
)
from btrans_eval.scores.stats import mcnemar_exact, permutation_test

Floats = NDArray[np.float64]
K = 8
QUESTION_SD, BOTH_SD, LOGIT = 1.5, 0.5, 0.3


def holds(interval: Interval | tuple[float, float], truth: float) -> bool:
    low, high = interval[1:3] if isinstance(interval, Interval) else interval
    return bool(low - 1e-12 <= truth <= high + 1e-12)


def over_questions(
    mean: float, n: int, strength: float, studies: int, draws: int
) -> dict[str, float]:
    """Shares over the studies; question rates are Beta(strength mean, strength (1 - mean))."""
    generator = np.random.default_rng([1, n, round(mean * 1000), round(strength * 1000)])
    found: dict[str, list[bool]] = defaultdict(list)
    for study in range(studies):
        rates = generator.beta(strength * mean, strength * (1 - mean), size=(n, 1))
        lifted = rates + 0.2 * (1 - rates)
        arms = [(generator.random((n, K)) < p).astype(float) for p in (rates, rates, lifted)]
        for kind, (a, b, c) in {
            "mean@8": [arm.mean(axis=1) for arm in arms],
            "0/1": [arm[:, 0] for arm in arms],
        }.items():
            found[f"{kind} arm"].append(holds(mean_interval(a), mean))
            equal = paired_interval(a, b, study, draws)
            shifted = paired_interval(c, a, study, draws)
            found[f"{kind} equal"].append(holds(equal, 0))
            found[f"{kind} shifted"].append(holds(shifted, 0.2 * (1 - mean)))
            found[f"{kind} paired t, equal"].append(holds(paired_t(a, b), 0))
            found[f"{kind} paired t, shifted"].append(holds(paired_t(c, a), 0.2 * (1 - mean)))
            p = permutation_test(a, b, study, draws)
            found[f"{kind} permutation"].append(p <= 0.05)
        found["0/1 McNemar"].append(mcnemar_exact(a, b).p <= 0.05)
    return {name: float(np.mean(hits)) for name, hits in found.items()}


def paired_t(a: Floats, b: Floats) -> tuple[float, float]:
    gaps, n = a - b, len(a)
    half = stdtrit(n - 1, 0.975) * gaps.std(ddof=1) / n**0.5
    return gaps.mean() - half, gaps.mean() + half


def responses(n: int, member_sd: float, arms: str, generator: np.random.Generator) -> list[Floats]:
    """Two arms' 0/1 responses, (n, K) each, of equal means: two populations, two populations of
    the same members, or a population and a stock model whose every response is drawn afresh."""
    question = generator.normal(0, QUESTION_SD, (n, 1))
    shapes = {"separate": (1, K), "shared": (1, K), "stock": (n, K)}
    first = generator.normal(0, member_sd, (1, K))
    second = first if arms == "shared" else generator.normal(0, member_sd, shapes[arms])
    both = generator.normal(0, BOTH_SD, (2, n, K))
    logits = LOGIT + question + np.stack([first + both[0], second + both[1]])
    return [(generator.random((n, K)) < expit(logit)).astype(float) for logit in logits]


def fresh_members(
    n: int, member_sd: float, arms: str, studies: int, draws: int
) -> dict[str, tuple[float, float]]:
    """Coverage and mean width of two intervals, of one arm or of the difference of two."""
    generator = np.random.default_rng([2, n, round(member_sd * 1000), len(arms)])
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    sd = (QUESTION_SD**2 + member_sd**2 + BOTH_SD**2) ** 0.5
    truth = float(expit(LOGIT + sd * nodes) @ weights / weights.sum()) if arms == "one" else 0.0
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for study in range(studies):
        a, b = responses(n, member_sd, "separate" if arms == "one" else arms, generator)
        if arms == "one":
            found["questions only"].append(mean_interval(a.mean(axis=1))[1:3])
            found["two-way"].append(two_way_interval(a)[1:3])
        else:
            members = {"separate": "each", "shared": "shared", "stock": "a"}[arms]
            found["questions only"].append(
                paired_interval(a.mean(axis=1), b.mean(axis=1), study, draws)[1:3]
            )
            found["two-way"].append(two_way_paired_interval(a, b, members)[1:3])
    return {
        name: (
            float(np.mean([holds(end, truth) for end in ends])),
            float(np.mean([high - low for low, high in ends])),
        )
        for name, ends in found.items()
    }


def print_table(title: str, head: list[str], rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    print(f"\n{title}\n")
    for row in (head, ["-" * width for width in widths], *rows):
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    print(flush=True)


def part_one(strengths: list[float], studies: int, draws: int) -> None:
    for strength in strengths:
        cells = {
            (mean, n): over_questions(mean, n, strength, studies, draws)
            for mean in (0.05, 0.5, 0.9)
            for n in (30, 100, 500)
        }
        for kind in ("mean@8", "0/1"):
            names = [name for name in cells[0.5, 30] if name.startswith(kind)]
            rows = [
                [f"{mean:g}", str(n), *(f"{100 * shares[name]:.1f}" for name in names)]
                for (mean, n), shares in cells.items()
            ]
            head = ["mean", "n", *(name.removeprefix(f"{kind} ") for name in names)]
            title = f"{kind}, rates Beta({strength:g} m, {strength:g} (1 - m)): coverage of the "
            title += "arm, BCa paired and t intervals, rejections of a true null at 5%; in %"
            print_table(title, head, rows)


def part_two(studies: int, draws: int) -> None:
    settings = [("one", n, sd) for n in (100, 500) for sd in (0.0, 0.1, 0.3, 0.6)]
    settings += [
        (arms, n, sd)
        for arms in ("separate", "shared", "stock")
        for n in (100, 500)
        for sd in (0.0, 0.3)
    ]
    rows = []
    for arms, n, sd in settings:
        shares = fresh_members(n, sd, arms, studies, draws)
        cells = [f"{100 * share:.1f} ({width:.3f})" for share, width in shares.values()]
        rows.append([arms, str(n), f"{sd:g}", *cells])
    head = ["arms", "n", "member sd", "questions only", "two-way"]
    print_table("Fresh members: coverage in % (mean width)", head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--draws", type=int, default=2000, help="resamples and flips per study")
    parser.add_argument("--strengths", type=float, nargs="+", default=[2.0])
    parser.add_argument("--part", type=int, choices=[1, 2], help="only this part")
    options = parser.parse_args()
    start = time.perf_counter()
    print(f"{options.studies} studies, {options.draws} draws")
    if options.part != 2:
        part_one(options.strengths, options.studies, options.draws)
    if options.part != 1:
        part_two(options.studies, options.draws)
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
