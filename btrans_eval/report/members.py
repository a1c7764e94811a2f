"""Each member alone, each pair of members, and who carries the vote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from btrans_eval.report.study import ReportedTask
from btrans_eval.report.style import FAINT, INK, Look, Picture, figure, picture
from btrans_eval.report.text import file_name, number
from btrans_eval.results import AnsweredQuestion
from btrans_eval.scores.intervals import mean_interval

MOST_NUMBERS = 8
"""Members up to which the matrix holds numbers."""


@dataclass(frozen=True)
class Member:
    """One member of an arm: interval of its score, responses, share of votes it was part of."""

    member: int
    score: Mapping[str, Any]
    responses: int
    in_winner: float | None


def members(task: ReportedTask, arm: str) -> list[Member]:
    """The members of an arm; none where one response answers a question."""
    recorded = task.numbers["arms"][arm]["members"]
    questions = task.joined.arms[arm]
    voted = any(one.label is not None for each in questions for one in each.responses)
    found = []
    for one in recorded if len(recorded) > 1 else ():
        member = one["member"]
        # a question's responses by one member are one observation
        scores = [np.mean(_scores(question, member)) for question in questions]
        interval = mean_interval(scores, rate=True if task.is_share else None)
        ends = {**interval._asdict(), "estimate": one["mean"]}
        share = _in_winner(questions, member) if voted else None
        found.append(Member(member, ends, one["responses"], share))
    return found


def _scores(question: AnsweredQuestion, member: int) -> list[float]:
    return [one.score or 0.0 for one in question.responses if one.member == member]


def _in_winner(questions: Sequence[AnsweredQuestion], member: int) -> float:
    """Share of questions where a response of the member is of a winning class; ties share it."""
    hits = 0.0
    for question in questions:
        winners = winning_classes(question)
        labels = {one.label for one in question.responses if one.member == member}
        hits += len(winners & labels) / max(len(winners), 1)
    return hits / len(questions)


def winning_classes(question: AnsweredQuestion) -> set[int]:
    """The classes with most votes; none without votes."""
    labels = [one.label for one in question.responses if one.label is not None]
    most = max(map(labels.count, labels), default=0)
    return {label for label in labels if labels.count(label) == most}


def agreement(task: ReportedTask, arm: str) -> NDArray[np.float64] | None:
    """Share of questions where two members give the same answer, shape (members, members).

    Of each member its first response; no answer agrees with none. The diagonal is NaN. None where
    nothing was read from the responses.
    """
    questions = task.joined.arms[arm]
    rows = [
        [-1 if one.label is None else one.label for one in question.responses if not one.sample]
        for question in questions
    ]
    labels = np.array(rows)
    if labels.ndim != 2 or labels.shape[1] < 2 or (labels < 0).all():
        return None
    same = labels[:, :, None] == labels[:, None, :]
    shares = (same & (labels >= 0)[:, :, None]).mean(axis=0)
    np.fill_diagonal(shares, np.nan)
    return np.asarray(shares, dtype=np.float64)


def pictures(task: ReportedTask, arm: str, kind: str, look: Look) -> list[Picture]:
    """Scores of the arm's members, and their agreement."""
    found = members(task, arm)
    return [*_dots(task, arm, kind, look, found), *_matrix(task, arm, kind)] if found else []


def noun(kind: str) -> str:
    """Who gives an arm's responses: members, or calls of one model."""
    return "member" if kind == "population" else "call"


def _dots(
    task: ReportedTask, arm: str, kind: str, look: Look, found: Sequence[Member]
) -> list[Picture]:  # fmt: skip
    height = max(2.2, 0.9 + 0.17 * len(found))
    with figure(4.4, height) as (drawn, axes):
        for one in found:
            ends = [one.score["estimate"] if e is None else e for e in _ends(one)]
            axes.plot(ends, [one.member] * 2, color=look.colour, linewidth=1.1)
            axes.plot(one.score["estimate"], one.member, look.marker, color=look.colour)
        mean = task.metrics(arm)["mean"]["estimate"]
        axes.axvline(mean, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.invert_yaxis()
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=16))
        axes.grid(axis="y", visible=False)
        if task.is_share:
            axes.set_xlim(-0.02, 1.02)
            axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.set_xlabel("share of responses that are right" if task.is_share else "mean score")
        axes.set_ylabel(noun(kind))
        control = "" if kind == "population" else (
            " These calls are of one model and differ by chance alone: a measure for the spread of "
            "members."
        )  # fmt: skip
        caption = (
            "95% intervals over questions (Wilson's for right or wrong); dashed: mean of all."
            + control
        )
        name = file_name("members", "score", task.name, arm)
        return [picture(name, f"Each {noun(kind)} alone", caption, drawn)]


def _ends(one: Member) -> tuple[float | None, float | None]:
    return one.score["low"], one.score["high"]


def _matrix(task: ReportedTask, arm: str, kind: str) -> list[Picture]:
    shares = agreement(task, arm)
    if shares is None:
        return []
    with figure(4.4, 3.6) as (drawn, axes):
        axes.grid(visible=False)
        axes.set_facecolor(FAINT)
        shown = axes.imshow(shares, cmap="cividis", vmin=0, vmax=1, interpolation="nearest")
        bar = drawn.colorbar(shown, ax=axes, format=PercentFormatter(1))
        bar.set_label("share of questions with the same answer")
        bar.outline.set_visible(False)  # type: ignore[operator]  # stubs
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True, nbins=16))
        axes.set(xlabel=noun(kind), ylabel=noun(kind))
        if len(shares) <= MOST_NUMBERS:
            for (row, column), share in np.ndenumerate(shares):
                if row != column:
                    colour = "#000000" if share > 0.55 else "#ffffff"
                    axes.text(column, row, f"{100 * share:.0f}", color=colour, ha="center",
                              va="center", fontsize=7.5)  # fmt: skip
        mean = number(float(np.nanmean(shares)), percent=True)
        caption = f"Two {noun(kind)}s agree on {mean} of the questions on average. A "
        caption += "response without an answer agrees with none."
        name = file_name("members", "agreement", task.name, arm)
        title = f"How often two {noun(kind)}s agree"
        return [picture(name, title, caption, drawn)]
