"""Per-question values over a whole task, checked: one arm's, two arms', and members'."""

from __future__ import annotations

from math import fsum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from btrans_eval.errors import UserError

Floats = NDArray[np.float64]

SAME = 1e-12
"""Values, or differences from 0, closer than this are equal: 1/3 + 2/3 - 1 is rounding."""


def per_question(values: ArrayLike, name: str = "values") -> Floats:
    """The values as float64, shape (questions,); UserError unless finite numbers, at least one."""
    return _finite(values, name, 1, "(questions,)")


def per_member(scores: ArrayLike, name: str = "scores") -> Floats:
    """The scores as float64, shape (questions, members); UserError unless finite, both >= 2.

    Column j is the same member on every question.
    """
    table = _finite(scores, name, 2, "(questions, members)")
    if min(table.shape) < 2:
        counts = f"{table.shape[0]} questions and {table.shape[1]} members"
        raise UserError(f"{name} must hold at least 2 questions and 2 members, got {counts}")
    return table


def differences(a: ArrayLike, b: ArrayLike) -> Floats:
    """a - b per question, shape (questions,); those within 1e-12 of 0 are 0.

    UserError unless both are finite, not empty and equally long.
    """
    one, other = per_question(a, "a"), per_question(b, "b")
    same_shape(one, other)
    gaps = one - other
    gaps[np.abs(gaps) < SAME] = 0.0
    return gaps


def same_shape(a: Floats, b: Floats) -> None:
    """UserError unless both arms hold the same questions (and as many members)."""
    if a.shape != b.shape:
        raise UserError(f"a and b must have the same shape, got {a.shape} and {b.shape}")


def are_rates(values: Floats, rate: bool | None) -> bool:
    """Whether the values are shares in [0, 1]: as told, or (None) as they look.

    UserError if told so and one is not.
    """
    outside = values[(values < -SAME) | (values > 1 + SAME)]
    if rate and outside.size:
        raise UserError(f"rates must lie between 0 and 1, got {outside[0]}")
    return not outside.size if rate is None else rate


def mean(values: Floats) -> float:
    """Mean, correctly rounded sum: the same bits in every order of the questions."""
    return fsum(values.ravel().tolist()) / values.size


def check_confidence(confidence: float) -> None:
    """UserError unless 0 < confidence <= 0.999: 10,000 draws say nothing further out."""
    if not 0 < confidence <= 0.999:
        raise UserError(f"confidence must be above 0 and at most 0.999, got {confidence}")


def _finite(values: ArrayLike, name: str, dimensions: int, shape: str) -> Floats:
    given = np.asarray(values)
    if given.ndim != dimensions or not given.size:
        raise UserError(f"{name} must have shape {shape}, not empty, got {given.shape}")
    if given.dtype.kind not in "biuf":
        raise UserError(f"{name} must be numbers, got {given.dtype}")
    array = given.astype(np.float64)
    if not np.isfinite(array).all():
        place = np.argwhere(~np.isfinite(array))[0].tolist()
        value = array[tuple(place)]
        raise UserError(f"{name} must be finite, got {value} at question {place[0]}")
    return array
