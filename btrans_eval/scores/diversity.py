"""How different the n responses to one question are: embeddings, words, answers.

Noise that breaks text looks diverse: show `invalid_rate` and the mean length beside all of these.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import exp, fsum, log

import numpy as np
from numpy.typing import ArrayLike, NDArray

from btrans_eval.errors import UserError
from btrans_eval.scores.rows import check_integer, class_sizes


def cosine_distance(embeddings: ArrayLike) -> float:
    """Mean of 1 - cos(e_i, e_j) over the pairs i < j, in [0, n/(n-1)]; shape (n, d), n >= 2.

    For unit vectors 1 - cos = |u_i - u_j|^2 / 2, and the sum of |u_i - u_j|^2 over pairs is
    n * sum |u_i - mean|^2: no cancellation, equal rows give exactly 0. UserError unless the rows
    are at least two, finite and not zero.
    """
    units = _unit_rows(embeddings)
    n = len(units)
    if n < 2:
        raise UserError(f"embeddings must have at least 2 rows to form a pair, got {n}")
    shifted = units - units[0]
    spread = float(np.square(shifted - shifted.mean(axis=0)).sum())
    return min(spread / (n - 1), n / (n - 1))


def cross_similarity(one: ArrayLike, other: ArrayLike) -> float:
    """Mean of cos(e_i, f_j) over all pairs of a row of one and a row of the other, in [-1, 1].

    Artificial Hivemind's similarity between models (arXiv 2510.22954) where the two are the
    responses of two models to one prompt; within a model it is 1 - `cosine_distance`. It is the
    product of the means of the unit rows. Shapes (n, d) and (m, d), n and m at least 1.
    UserError unless all rows are finite, not zero, and of one width.
    """
    units = _unit_rows(one), _unit_rows(other)
    if units[0].shape[1] != units[1].shape[1]:
        raise UserError(
            "embeddings must be of one width to be compared, got "
            f"{units[0].shape[1]} and {units[1].shape[1]}"
        )
    return min(max(float(units[0].mean(axis=0) @ units[1].mean(axis=0)), -1.0), 1.0)


def vendi(embeddings: ArrayLike) -> float:
    """Vendi score, cosine kernel, q = 1: the effective number of different responses, in [1, n].

    exp(-sum p ln p) over the eigenvalues p of K/n, K_ij = cos(e_i, e_j) (Friedman & Dieng 2022,
    arXiv 2210.02410), from the smaller of the two Gram matrices, which share those that are not 0.
    Shape (n, d), n >= 1. UserError unless the rows are finite and not zero.
    """
    units = _unit_rows(embeddings)
    gram = units @ units.T if len(units) <= units.shape[1] else units.T @ units
    masses = np.linalg.eigvalsh(gram)
    shares = [float(mass) for mass in masses / masses.sum() if mass > 0]
    return min(max(exp(fsum(-p * log(p) for p in shares)), 1.0), float(len(units)))


def distinct_n(texts: Sequence[str], n: int) -> float:
    """Distinct n-grams / all n-grams of the responses together, in [0, 1]; no n-gram at all: 0.0.

    Words are lower-cased and split at white space; an n-gram does not cross responses.
    UserError if there is no response, or unless n >= 1.
    """
    check_integer("n", n, 1)
    return distinct_share([gram for words in _words(texts) for gram in _grams(words, n)])


def distinct_share(grams: Sequence[Hashable]) -> float:
    """Distinct n-grams / all n-grams; no n-gram at all: 0.0."""
    return len(set(grams)) / len(grams) if grams else 0.0


def n_grams(text: str, n: int) -> list[tuple[str, ...]]:
    """The n-grams of a text's words, in order; words are lower-cased and split at white space."""
    (words,) = _words([text])
    return _grams(words, n)


def repetition(text: str, n: int = 4) -> float:
    """Share of a text's n-grams of words that stood in it before (seq-rep-n, arXiv 1908.04319).

    Words are lower-cased and split at white space; a text of fewer than n has none, and gives 0.
    """
    grams = n_grams(text, n)
    return 1 - distinct_share(grams) if grams else 0.0


def mean_words(texts: Sequence[str]) -> float:
    """Mean number of white-space words per response. UserError if there is no response."""
    counts = [len(words) for words in _words(texts)]
    return sum(counts) / len(counts)


def answer_entropy(classes: Sequence[Hashable | None]) -> float:
    """Shannon entropy in nats of the classes of the valid answers, in [0, ln n]; none valid: 0.0.

    Sum of p ln(1/p), p a class's share of the valid answers. UserError if there is no response.
    """
    counts = class_sizes(classes).values()
    total = sum(counts)
    return fsum(count / total * log(total / count) for count in counts)


def distinct_answers(classes: Sequence[Hashable | None]) -> int:
    """Number of classes among the valid answers. UserError if there is no response."""
    return len(class_sizes(classes))


def invalid_rate(classes: Sequence[Hashable | None]) -> float:
    """Share of the responses without an answer (None), in [0, 1]. UserError if no response."""
    valid = sum(class_sizes(classes).values())
    return (len(classes) - valid) / len(classes)


def _unit_rows(embeddings: ArrayLike) -> NDArray[np.float64]:
    """Rows scaled to length 1 in float64, first by their largest entry so that none overflows."""
    given = np.asarray(embeddings)
    if given.ndim != 2 or given.dtype.kind not in "iuf" or not given.size:
        raise UserError(
            "embeddings must be numbers of shape (n, d), n and d at least 1, "
            f"got shape {given.shape} of {given.dtype}"
        )
    rows = given.astype(np.float64)
    for i, row in enumerate(rows):
        if not np.isfinite(row).all():
            raise UserError(f"embeddings must be finite, got NaN or infinity in row {i}")
        if not row.any():
            raise UserError(f"embeddings must not be zero vectors, got one in row {i}")
    rows /= np.abs(rows).max(axis=1, keepdims=True)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def _grams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]


def _words(texts: Sequence[str]) -> list[list[str]]:
    if isinstance(texts, str) or not len(texts):
        raise UserError(f"texts must be a list of at least one response, got {texts!r}")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise UserError(f"texts must be strings, got {type(text).__name__} at {i}")
    return [text.lower().split() for text in texts]
