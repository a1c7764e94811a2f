"""One question's row of n responses: their number, their classes and their scores, checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence, Sized
from math import isfinite

import numpy as np
from numpy.typing import ArrayLike

from btrans_eval.errors import UserError


def check_row(responses: Sized, n: int, question: str | None = None) -> None:
    """UserError, naming the question, unless it has exactly n responses."""
    if len(responses) != n:
        name = "a question" if question is None else f"question {question}"
        raise UserError(f"{name} has {len(responses)} responses, {n} expected")


def class_sizes(classes: Sequence[Hashable | None]) -> Counter[Hashable]:
    """Number of responses in each class of the valid answers, in order of appearance.

    Labels are equal as dictionary keys are (1 == 1.0 == True). UserError if there is no response,
    for one bare text, and for a label that is not hashable or is NaN (it equals nothing).
    """
    if isinstance(classes, str) or not len(classes):
        raise UserError(f"classes must be a list of at least one label, got {classes!r}")
    try:
        sizes = Counter(label for label in classes if label is not None)
    except TypeError as error:
        raise UserError(f"a class label must be hashable, or None if invalid: {error}") from None
    if any(label != label for label in sizes):
        raise UserError("a class label must not be NaN, an invalid answer is None, got nan")
    return sizes


def finite_scores(scores: ArrayLike) -> list[float]:
    """The scores as floats (a bool is 0 or 1); UserError unless finite numbers, (n,), n >= 1."""
    values = np.asarray(scores, dtype=None if isinstance(scores, np.ndarray) else object)
    if values.ndim != 1 or not values.size:
        raise UserError(f"scores must have shape (n,) with n >= 1, got {values.shape}")
    numbers = (int, float, np.integer, np.floating, np.bool_)
    for value in values.tolist():
        if not isinstance(value, numbers) or not isfinite(value):
            raise UserError(f"scores must be finite numbers, got {value!r}")
    return [float(value) for value in values.tolist()]


def check_integer(name: str, value: object, low: int, high: int | None = None) -> None:
    """UserError unless value is an integer (no bool), low <= value <= high."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise UserError(f"{name} must be an integer, got {value!r} ({type(value).__name__})")
    if value < low or (high is not None and value > high):
        limit = "" if high is None else f" and at most {high}"
        raise UserError(f"{name} must be at least {low}{limit}, got {value}")
