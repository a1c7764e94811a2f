"""The vote of the members that were best on other questions, against any of them and all of them.

Selecting m of K members is what methods do that search among noisy copies of a model. It is judged
by cross-fitting: the m members whose own answers earn most on the other folds vote on a fold's
questions. Members that earn alike are taken by their number, the lowest first: numbers know nothing
of questions. A question's credit is the expected one under ties, as in maj@K, and 0 where no
answer of the m is valid; a class scores the mean of all its K responses, so that the mean over all
sets of m members is maj@m, exactly.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from btrans_eval.errors import UserError
from btrans_eval.scores.estimators import maj_at_k
from btrans_eval.scores.folds import Ints
from btrans_eval.scores.rows import check_integer

Floats = NDArray[np.float64]

_CELLS = 1 << 22


class Answers(NamedTuple):
    """Answers of K members to every question.

    Attributes:
        labels: class of each answer, from 0; -1 where it is invalid, (questions, members).
        credits: what each class scores, (questions, classes); 0 where a question has fewer.
        own: what each member's own answer scores, 0 where it is invalid, (questions, members).
    """

    labels: Ints
    credits: Floats
    own: Floats


def answers(
    classes: Sequence[Sequence[Hashable | None]], scores: Sequence[Sequence[float]]
) -> Answers:
    """Of each question's answers in the order of members: classes (None: invalid) and scores.

    Raises:
        UserError: on no question, fewer than two members, rows of different lengths, or scores
            outside [0, 1].
    """
    if not len(classes) or len(classes) != len(scores):
        raise UserError(
            f"classes: must be of as many questions as scores, at least 1, got {len(classes)} "
            f"and {len(scores)}"
        )
    members = len(classes[0])
    check_integer("members", members, 2)
    if any(len(row) != members for rows in (classes, scores) for row in rows):
        raise UserError(f"classes: every question must have one answer by each of {members}")
    given = np.array(scores, dtype=np.float64)
    if not ((given >= 0) & (given <= 1)).all():
        raise UserError("scores: must lie between 0 and 1")
    labels = np.full(given.shape, -1, dtype=np.int64)
    for row, of_question in zip(labels, classes, strict=True):
        places: dict[Hashable, int] = {}
        for member, each in enumerate(of_question):
            if each is not None:
                row[member] = places.setdefault(each, len(places))
    kinds = max(int(labels.max()) + 1, 1)
    is_of = labels[:, :, None] == np.arange(kinds)  # (questions, members, classes)
    sizes = is_of.sum(axis=1)
    credits = (given[:, :, None] * is_of).sum(axis=1) / np.maximum(sizes, 1)
    own = np.where(labels < 0, 0.0, np.take_along_axis(credits, np.maximum(labels, 0), axis=1))
    return Answers(labels, credits, own)


def vote(voters: NDArray[np.bool_], given: Answers) -> Floats:
    """Expected credit of each set's plurality vote on each question, shape (sets, questions).

    Args:
        voters: which members are in each set, (sets, members).
        given: the members' answers.
    """
    questions, members = given.labels.shape
    kinds = given.credits.shape[1]
    is_of = (given.labels[:, :, None] == np.arange(kinds)).astype(np.float32)
    table = is_of.transpose(1, 0, 2).reshape(members, questions * kinds)
    found = np.empty((len(voters), questions))
    at_once = max(_CELLS // (questions * kinds), 1)
    for start in range(0, len(voters), at_once):
        some = voters[start : start + at_once].astype(np.float32)
        # whole numbers below 2^24: exact in float32
        votes = (some @ table).reshape(len(some), questions, kinds)
        most = votes.max(axis=2, keepdims=True)
        wins = (votes == most) & (most > 0)
        earned = (wins * given.credits).sum(axis=2)
        found[start : start + at_once] = earned / np.maximum(wins.sum(axis=2), 1)
    return found


def best(own: Floats, m: int) -> NDArray[np.bool_]:
    """The m members with the largest sums, ties to the lowest number; shapes (…, members)."""
    order = np.argsort(-np.round(own, 9), axis=-1, kind="stable")[..., :m]
    found = np.zeros(own.shape, dtype=np.bool_)
    np.put_along_axis(found, order, True, axis=-1)
    return found


def selected(given: Answers, fold: Ints, m: int, copies: Ints) -> Floats:
    """Mean credit of the m members that are best on the other folds, chosen anew in each draw.

    NaN in a draw whose questions are all of one fold: nothing is left to choose by.

    Args:
        given: the members' answers.
        fold: of each question, (questions,).
        m: members to select, from 1 to all but one.
        copies: how often each question is in each draw, (draws, questions).

    Returns:
        Shape (draws,).
    """
    check_integer("m", m, 1, given.labels.shape[1] - 1)
    weights = copies.astype(np.float64)
    earned, total = np.zeros(len(copies)), weights @ given.own
    for each in np.unique(fold):
        inside = fold == each
        voters = best(total - weights[:, inside] @ given.own[inside], m)
        sets, which = np.unique(voters, axis=0, return_inverse=True)
        credit = vote(sets, Answers(*(part[inside] for part in given)))
        earned += (weights[:, inside] * credit[which.reshape(-1)]).sum(axis=1)
    used = np.stack([weights[:, fold == each].sum(axis=1) > 0 for each in np.unique(fold)])
    found: Floats = earned / weights.sum(axis=1)
    return np.where(used.sum(axis=0) > 1, found, np.nan)


def anyone(
    classes: Sequence[Sequence[Hashable | None]], scores: Sequence[Sequence[float]], m: int
) -> Floats:
    """Expected credit of m random members on each question: maj@m, (questions,)."""
    return np.array([maj_at_k(c, s, m) for c, s in zip(classes, scores, strict=True)])
