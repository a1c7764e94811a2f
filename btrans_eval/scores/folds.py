"""Questions in folds: what is chosen on some of them is judged on the others.

A question's fold follows from what it is, never from its place: copies of one, in the data or in a
bootstrap draw, are in one fold, so that nothing is judged on what it was chosen on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from btrans_eval.errors import UserError
from btrans_eval.scores.rows import check_integer

Ints = NDArray[np.int64]

DRAWS = 1000
"""Of the questions, for an interval."""
FOLDS = 5
FEW = 10
"""Different questions below which each is a fold of its own."""


def folds(identities: Sequence[str], seed: int = 0) -> Ints | None:
    """Fold of each question, from 0, shape (questions,); None where there are no two to tell apart.

    The different questions in the order of SHA-256 of seed and identity are dealt to FOLDS folds
    in turn; fewer than FEW are left out one by one.

    Args:
        identities: of the questions, equal where one is a copy of another.
        seed: at least 0.

    Raises:
        UserError: on no question, or a negative seed.
    """
    check_integer("seed", seed, 0)
    if not len(identities):
        raise UserError("identities: must be of at least one question, got none")
    different = sorted(set(identities), key=lambda one: (_digest(seed, one), one))
    if len(different) < 2:
        return None
    count = FOLDS if len(different) >= FEW else len(different)
    fold = {identity: place % count for place, identity in enumerate(different)}
    return np.array([fold[identity] for identity in identities], dtype=np.int64)


def resamples(draws: int, questions: int, seed: int = 0) -> Ints:
    """Places of the questions of each bootstrap draw, with replacement, (draws, questions).

    Args:
        draws: at least 100.
        questions: at least 1.
        seed: of numpy's Philox, at least 0.
    """
    check_integer("draws", draws, 100)
    check_integer("questions", questions, 1)
    check_integer("seed", seed, 0)
    generator = np.random.Generator(np.random.Philox(seed))
    return generator.integers(0, questions, (draws, questions))


def copies(rows: Ints) -> Ints:
    """How often each question is in each draw, of the same shape as ``rows``."""
    questions = rows.shape[1]
    found: Ints = np.stack([np.bincount(each, minlength=questions) for each in rows])
    return found


def _digest(seed: int, identity: str) -> str:
    text = f"{seed} {identity}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).hexdigest()
