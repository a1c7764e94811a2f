"""How alike the responses of an arm are to one another, and to those of the other arms.

Both numbers of Artificial Hivemind (arXiv 2510.22954), with the encoder of the arms' own runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

from btrans_eval import embeddings
from btrans_eval.compare.columns import Floats, as_dict
from btrans_eval.compare.join import Arm, JoinedTask
from btrans_eval.errors import UserError
from btrans_eval.scores import intervals
from btrans_eval.scores.diversity import cosine_distance, cross_similarity


def of_task(task: JoinedTask, arms: Sequence[Arm]) -> dict[str, Any]:
    """``similarity`` of a task, where its runs embedded the responses; else nothing.

    Per question: within an arm (a = b) the mean cosine over its pairs of responses, which is
    1 - ``cosine_distance`` and needs two; between arms the mean over all pairs of a response of
    one and a response of the other.
    """
    used = [_encoder(task, arm) for arm in arms]
    named = [one for one in used if one is not None]
    if not named:
        return {}
    if any(one != named[0] for one in used):
        said = "; ".join(f"{arm.name}: {_words(one)}" for arm, one in zip(arms, used, strict=True))
        return _left_out(f"the arms were embedded differently ({said})")
    try:
        embedded = _embedded(task, str(named[0]["encoder"]))
    except UserError as error:
        return _left_out(str(error))
    pairs = [
        {
            "a": a.name,
            "b": b.name,
            "same_model": _model(a) == _model(b),
            **as_dict(intervals.mean_interval(values, rate=False)),
        }
        for a, b in combinations_with_replacement(arms, 2)
        if (values := _values(embedded[a.name], embedded[b.name], a is b)) is not None
    ]
    return {"similarity": {**named[0], "pairs": pairs}}


def _left_out(why: str) -> dict[str, Any]:
    return {"similarity": {"left_out": why, "pairs": []}}


def _encoder(task: JoinedTask, arm: Arm) -> dict[str, Any] | None:
    """What embedded the arm's responses to this task: its name, and where it cuts a text."""
    found: dict[str, Any] | None = arm.run.config.get("btrans_scores", {}).get("encoder")
    recorded = all("cosine_distance" in question.columns for question in task.arms[arm.name])
    return found if recorded else None


def _words(encoder: dict[str, Any] | None) -> str:
    return "not at all" if encoder is None else f"{encoder['encoder']}, {encoder['max_length']}"


def _model(arm: Arm) -> Any:
    return arm.run.results.get("model_name")


def _embedded(task: JoinedTask, encoder: str) -> dict[str, list[Floats]]:
    """By arm, for each question the embeddings of its responses; each text is embedded once."""
    texts = sorted(
        {one.text for of_arm in task.arms.values() for each in of_arm for one in each.responses}
    )
    vectors = dict(zip(texts, embeddings.embed(texts, encoder), strict=True))
    return {
        name: [np.stack([vectors[one.text] for one in each.responses]) for each in of_arm]
        for name, of_arm in task.arms.items()
    }


def _values(one: list[Floats], other: list[Floats], is_same: bool) -> Floats | None:
    """Of each question; None within an arm of single responses."""
    if not is_same:
        return np.array([cross_similarity(a, b) for a, b in zip(one, other, strict=True)])
    if len(one[0]) < 2:
        return None
    return np.array([1 - cosine_distance(rows) for rows in one])
