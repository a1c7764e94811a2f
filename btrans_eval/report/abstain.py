"""``btrans-eval abstain``: what a population would leave unanswered, and what that buys."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from btrans_eval.compare.columns import Floats, have_votes
from btrans_eval.compare.confidence import votes_of
from btrans_eval.compare.doubt import kept_of
from btrans_eval.errors import UserError
from btrans_eval.report.study import ReportedTask, Study, read
from btrans_eval.results.likelihoods import load_population
from btrans_eval.scores.choices import measured

KINDS = ("share", "of_valid", "certainty")
"""Of votes: surest where large."""
DOUBTS = ("entropy", "epistemic", "probability")
"""Of likelihoods: of the choices' mean probability; surest where small, but for the last."""


def lines(
    folder: Path, coverage: float, kind: str | None = None, arm: str | None = None
) -> list[str]:
    """A JSON line for each question of each arm that votes, and one that sums them up before.

    Answered are the ``coverage`` of the questions that are surest, rounded up; of those that are
    equally sure at the boundary the ones that come first.

    Args:
        folder: of a comparison, or of a population's run over multiple choice.
        coverage: share of the questions to answer, above 0 and at most 1.
        kind: of a comparison one of KINDS: share of votes (None), of the valid ones, or 1 less the
            answers' entropy; of a run one of DOUBTS: entropy (None) of the choices' mean
            probability, its epistemic part, or the largest probability.
        arm: its name; None: all that vote. A run is one arm.

    Raises:
        UserError: if there is no such comparison, run or arm, or nothing votes.
    """
    if not 0 < coverage <= 1:
        raise UserError(
            f"coverage: must be above 0 and at most 1, got {coverage:g}; 0.8 answers four in five"
        )
    if kind is not None and kind not in (*KINDS, *DOUBTS):
        raise UserError(f"by: must be one of {', '.join((*KINDS, *DOUBTS))}, got {kind}")
    is_run = kind in DOUBTS or (kind is None and not (folder / "comparison.json").exists())
    told = _of_run if is_run else _of_comparison
    return [json.dumps(line, ensure_ascii=False) for line in told(folder, coverage, kind, arm)]


def _of_comparison(
    folder: Path, coverage: float, kind: str | None, arm: str | None
) -> list[dict[str, Any]]:
    study = read(folder)
    names = [each.name for each in study.arms]
    if arm is not None and arm not in names:
        raise UserError(f"arm: must be one of {', '.join(names)}, got {arm}")
    found = list(_lines(study, coverage, kind or "share", names if arm is None else [arm]))
    if not found:
        raise UserError(
            "abstain: no arm has several responses with answers that vote; compare with --repeats"
        )
    return found


def _lines(study: Study, coverage: float, kind: str, arms: list[str]) -> Iterator[dict[str, Any]]:
    for task in study.tasks:
        everything = [one for of_arm in task.joined.arms.values() for one in of_arm]
        if have_votes(everything, task.joined.higher_is_better):
            for arm in arms:
                if task.calls(arm) > 1:
                    yield from _of_arm(task, arm, coverage, kind)


def _of_arm(task: ReportedTask, arm: str, coverage: float, kind: str) -> Iterator[dict[str, Any]]:
    questions = task.joined.arms[arm]
    votes = votes_of(questions)
    values = {each: getattr(votes, each) for each in KINDS}
    which = [(one.doc_id, one.document) for one in questions]
    head = {"task": task.name, "arm": arm}
    yield from _told(head, which, values, kind, votes.credit, coverage)


def _of_run(
    folder: Path, coverage: float, kind: str | None, arm: str | None
) -> Iterator[dict[str, Any]]:
    if (folder / "comparison.json").exists():
        raise UserError(
            f"by: {kind} is of likelihoods, and {folder} is a comparison; name a run of multiple "
            f"choice, or one of {', '.join(KINDS)}"
        )
    if arm is not None:
        raise UserError(f"arm: {folder} is a run, not a comparison; leave --arm out")
    run = load_population(folder)
    for task, kept in kept_of(run).items():
        found = measured(kept.population)
        values = {
            "entropy": found.entropy, "epistemic": found.epistemic, "probability": found.sure,
        }  # fmt: skip
        which = [(one.doc_id, one.document) for one in kept.questions]
        head = {"task": task, "arm": folder.name, "left_out": sum(kept.left_out.values())}
        yield from _told(head, which, values, kind or "entropy", found.right, coverage)


def _told(
    head: dict[str, Any],
    which: Sequence[tuple[int, str]],
    values: Mapping[str, Floats],
    kind: str,
    credit: Floats,
    coverage: float,
) -> Iterator[dict[str, Any]]:
    """The line that sums up, and the questions, the least sure first."""
    count = len(which)
    # doubts that differ by rounding are equal
    sure = np.round(values[kind] if kind in (*KINDS, "probability") else -values[kind], 12)
    kept = ceil(coverage * count - 1e-9)
    order = np.argsort(-sure, kind="stable")
    answered = np.zeros(count, dtype=bool)
    answered[order[:kept]] = True
    last = order[kept - 1]
    yield {
        **head,
        "by": kind,
        "questions": count,
        "answered": kept,
        "right_of_all": float(credit.mean()),
        "right_of_answered": float(credit[answered].mean()),
        "least_sure_answered": float(values[kind][last]),
        "as_sure_and_not_answered": int(((sure == sure[last]) & ~answered).sum()),
    }
    for place in np.argsort(sure, kind="stable"):
        doc_id, document = which[place]
        yield {
            "task": head["task"],
            "arm": head["arm"],
            "doc_id": doc_id,
            "document": document,
            "answered": bool(answered[place]),
            **{name: float(of_all[place]) for name, of_all in values.items()},
            "right": float(credit[place]),
        }
