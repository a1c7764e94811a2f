"""Embeddings of the responses to a few prompts, all arms in one plane (PCA)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from btrans_eval import embeddings
from btrans_eval.compare.join import JoinedTask
from btrans_eval.errors import UserError
from btrans_eval.report.curves import legend
from btrans_eval.report.questions import own, part_of, shared
from btrans_eval.report.style import PAPER, Look, Picture, figure, picture
from btrans_eval.report.text import clean, file_name, number, short
from btrans_eval.results import digest

PROMPTS = 4
RULE = (
    f"Chosen by rule, not by look: up to {PROMPTS} prompts, from each task in turn, in the order "
    "of the documents' hashes, that drew at least three different texts. What "
    "all prompts of a task share is left out."
)
_CAPTION = (
    "Each mark is one text; a larger mark is a text that the arm gave several times. All arms "
    "share one plane. Near texts are alike to the encoder; the axes have no meaning of their own."
)


@dataclass(frozen=True)
class Plane:
    """One prompt with its picture.

    Attributes:
        title: task and number of the question.
        asked: the prompt without what all prompts share.
        picture: of all arms' responses.
    """

    title: str
    asked: str
    picture: Picture


def choose(tasks: Sequence[JoinedTask]) -> list[tuple[JoinedTask, int]]:
    """The prompts to show, by RULE: task and place of the question in it."""
    queues = [
        [(task, place) for place in range(len(task.documents)) if len(_texts(task, place)) > 2]
        for task in tasks
    ]
    turns = [queue[turn] for turn in range(PROMPTS) for queue in queues if turn < len(queue)]
    return turns[:PROMPTS]


def _texts(task: JoinedTask, place: int) -> set[str]:
    return {one.text for of_arm in task.arms.values() for one in of_arm[place].responses}


def planes(
    tasks: Sequence[JoinedTask], looks: Mapping[str, Look], encoder: str | None
) -> tuple[list[Plane], str]:
    """The pictures, and why there are none where there are none.

    Args:
        tasks: of the comparison.
        looks: by arm.
        encoder: a name that sentence-transformers knows, "default", or None for no pictures.
    """
    chosen = choose(tasks)
    if encoder is None:
        return [], "Left out as asked: no encoder."
    if not chosen:
        return [], "Left out: no prompt drew three different texts."
    name = embeddings.DEFAULT if encoder == "default" else encoder
    try:
        drawn = [_plane(task, place, looks, name) for task, place in chosen]
    except UserError as error:
        return [], f"Left out: {error}."
    found = [one for one in drawn if one is not None]
    return found, "" if found else "Left out: to the encoder all texts are the same."


def _plane(task: JoinedTask, place: int, looks: Mapping[str, Look], encoder: str) -> Plane | None:
    """The picture of one prompt; None where all texts are one point."""
    texts = sorted(_texts(task, place))
    vectors = embeddings.embed(texts, encoder)
    if not np.ptp(vectors, axis=0).any():
        return None
    fitted = PCA(n_components=2, svd_solver="full")
    points = fitted.fit_transform(vectors)
    where = dict(zip(texts, points, strict=True))
    hints: dict[str, str] = {}
    with figure(4.6, 4.0) as (drawn, axes):
        for name, look in looks.items():
            responses = task.arms[name][place].responses
            counts = Counter(one.text for one in responses)
            for text, count in sorted(counts.items()):
                gid = f"point-{len(hints)}"
                hints[gid] = f"{short(name, 60)}, {count} of {len(responses)}: {short(text, 400)}"
                _mark(axes, where[text], look, count, gid)
            axes.plot([], [], look.marker, color=look.colour, label=look.label)
        shares = [number(float(share), percent=True) for share in fitted.explained_variance_ratio_]
        axes.set_xlabel(f"first component, {shares[0]} of the variance")
        axes.set_ylabel(f"second component, {shares[1]} of the variance")
        axes.margins(0.08)
        legend(drawn, axes)
        document, question = task.documents[place], task.arms[next(iter(looks))][place]
        file = file_name("plane", task.name, digest(document)[:8])
        title = clean(f"{task.name}, question {question.doc_id}")
        asked = clean(own(question.asked, shared(task)[part_of(document)]).strip())
        return Plane(title, asked, picture(file, title, _CAPTION, drawn, hints))


def _mark(axes: Axes, point: NDArray[np.float64], look: Look, count: int, gid: str) -> None:
    axes.scatter(
        point[:1], point[1:], s=34.0 * count, marker=look.marker, color=look.colour, alpha=0.75,
        linewidth=0.6, edgecolor=PAPER, gid=gid, zorder=3 + 1 / count,
    )  # fmt: skip
