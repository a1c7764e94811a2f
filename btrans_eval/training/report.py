"""The report of a training study: how each arm learned, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from btrans_eval.report.rendering import render
from btrans_eval.report.style import Look, Picture, figure, looks, picture
from btrans_eval.report.tables import Cell, Table
from btrans_eval.report.text import clean
from btrans_eval.training.analysis import FEW, sentence
from btrans_eval.training.steps import STEPS, lines

STUDY = "training.json"
_CURVES = (
    ("reward", "Reward", "mean over a step's rollouts; the task's own score, or the vote's"),
    ("ground_truth_ratio", "Right", "share of a step's votes that are right"),
    ("label_accuracy", "Label accuracy", "share of a step's prompts whose vote is right"),
    ("reward_accuracy", "Reward accuracy", "share of rollouts whose reward is their score"),
    ("majority_ratio", "Majority", "share of its group that the largest class has, mean"),
    ("rollout_tokens", "Length", "tokens of a rollout, mean over a step"),
    ("frac_reward_zero_std", "No contrast", "share of groups whose rollouts all have one reward"),
    ("entropy", "Entropy", "of the next token, nats, as updated"),
    ("answers/entropy", "Diversity", "entropy of a group's answers, nats, mean over groups"),
    ("answers/invalid", "Invalid", "share of rollouts without an answer"),
    ("kl", "KL", "to the model without the adapter, under the same noise; trl's estimate"),
    ("on_policy_difference", "On-policy check",
     "mean |difference| of log-probabilities, generated against updated"),
    ("importance_weight", "Importance weight", "mean over tokens, of clean updates"),
)  # fmt: skip


@dataclass(frozen=True)
class Named:
    """An arm, for its colours."""

    name: str
    kind: str


def write(folder: Path) -> Path:
    """Write ``report.html`` and pictures of a study that was evaluated; returns the page."""
    study = json.loads((folder / STUDY).read_text(encoding="utf-8"))
    arms = [Named(one["name"], one["kind"]) for one in study["arms"]]
    shown = looks(arms)
    steps = {
        (one["name"], run["seed"]): lines(folder / run["folder"] / STEPS)
        for one in study["arms"]
        for run in one["runs"]
    }
    curves = [found for curve in _CURVES if (found := _curve(*curve, steps, shown)) is not None]
    tables = [(task, scores(task, found), differences(task, found))
              for task, found in study["tasks"].items()]  # fmt: skip
    files = folder / "report"
    files.mkdir(exist_ok=True)
    for drawn in curves:
        (files / f"{drawn.name}.svg").write_text(drawn.svg, encoding="utf-8")
        (files / f"{drawn.name}.png").write_bytes(drawn.png)
    for _, *both in tables:
        for table in both:
            (files / f"{table.name}.md").write_text(table.markdown(), encoding="utf-8")
            (files / f"{table.name}.csv").write_text(table.csv(), encoding="utf-8")
    page = folder / "report.html"
    page.write_text(_render(study, shown, curves, tables), encoding="utf-8")
    return page


def _curve(
    name: str,
    title: str,
    caption: str,
    steps: Mapping[tuple[str, int], Sequence[Mapping[str, Any]]],
    shown: Mapping[str, Look],
) -> Picture | None:
    """One measure over steps: a thin line for each seed, a thick one for their mean."""
    found: dict[str, list[list[tuple[int, float]]]] = {}
    for (arm, _), of_run in steps.items():
        points = [
            (int(line["step"]), float(line[name])) for line in of_run if line.get(name) is not None
        ]
        if points:
            found.setdefault(arm, []).append(points)
    if not found:
        return None
    with figure(4.6, 3.0) as (drawn, axes):
        for arm, runs in found.items():
            look = shown[arm]
            for points in runs:
                axes.plot(*zip(*points, strict=True), color=look.colour, linewidth=0.6, alpha=0.35)
            shared = sorted(set.intersection(*({step for step, _ in points} for points in runs)))
            means = [np.mean([dict(points)[step] for points in runs]) for step in shared]
            marker = look.marker if len(shared) < 12 else None
            axes.plot(shared, means, color=look.colour, linestyle=look.line, linewidth=1.6,
                      marker=marker, markersize=4, label=clean(arm))  # fmt: skip
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("step")
        axes.set_ylabel(title)
        drawn.legend(loc="outside lower center", ncols=1)
        more = "thick: mean over seeds; thin: each seed"
        return picture(_file(f"train_{name}"), title, f"{caption} ({more})", drawn)


def _file(name: str) -> str:
    return name.replace("/", "_")


def scores(task: str, found: Mapping[str, Any]) -> Table:
    """What every arm scores, mean over seeds, with each seed beneath."""
    measures = list(found["untrained"])
    rows = [[Cell("untrained"), *(Cell(f"{100 * found['untrained'][m]:.1f}") for m in measures)]]
    records: list[dict[str, Any]] = [
        {"arm": "untrained", **{m: found["untrained"][m] for m in measures}}
    ]
    for arm, of_arm in found["arms"].items():
        cells = [
            Cell(f"{100 * of_arm[m]['mean']:.1f}",
                 ", ".join(f"{100 * run:.1f}" for run in of_arm[m]["runs"]))
            for m in measures
        ]  # fmt: skip
        rows.append([Cell(arm), *cells])
        records += [
            {"arm": arm, "seed": seed, **{m: of_arm[m]["runs"][place] for m in measures}}
            for place, seed in enumerate(found["seeds"])
        ]
    return Table(f"scores_{task}", ("arm, % right", *measures), rows, records)


def differences(task: str, found: Mapping[str, Any]) -> Table:
    """Each difference with its interval, its seeds, and what could have been found."""
    columns = ("arm", "against", "measure", "points", "each seed", "verdict", "detectable")
    rows = []
    for one in found["differences"]:
        interval = f"{100 * one['low']:+.1f} to {100 * one['high']:+.1f}"
        each = ", ".join(f"{100 * gap:+.1f}" for gap in one["per_seed"])
        least = "–" if one["detectable"] is None else f"{100 * one['detectable']:.1f}"
        rows.append([Cell(one["arm"]), Cell(one["against"]), Cell(one["measure"]),
                     Cell(f"{100 * one['difference']:+.1f}", interval), Cell(each),
                     Cell(one["verdict"]), Cell(least)])  # fmt: skip
    return Table(f"differences_{task}", columns, rows, [dict(one) for one in found["differences"]])


def _render(
    study: Mapping[str, Any],
    arms: Mapping[str, Look],
    curves: Sequence[Picture],
    tables: Sequence[tuple[str, Table, Table]],
) -> str:
    said = {
        task: [sentence(one) for one in found["differences"] if one["measure"] == "clean model"]
        for task, found in study["tasks"].items()
    }
    shown = {
        "study": study, "looks": arms, "curves": curves, "tables": tables, "said": said,
        "few": FEW, "resolved": study["plan"],
    }  # fmt: skip
    return render(Path(__file__).parent / "study.html", shown)
