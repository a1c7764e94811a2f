"""Repetition and distinct words over the length of responses: where noise breaks long texts.

A response's n-grams, in the order of their first words, are cut into four runs as equal as can
be: quarter q of G n-grams holds numbers (q - 1) G // 4 to q G // 4 - 1. Nothing is lost at a cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum
from typing import TypeVar

from btrans_eval.errors import UserError
from btrans_eval.scores.diversity import distinct_share, n_grams, repetition
from btrans_eval.scores.rows import check_integer

Item = TypeVar("Item")
QUARTERS = 4
REPEATED = 4
"""Words of a sequence whose repetition is counted (seq-rep-4)."""


def quarter_columns(texts: Sequence[str]) -> dict[str, float]:
    """The columns of one question, from its responses.

    ``repetition``: seq-rep-4 of each response (`diversity.repetition`), averaged over responses;
    ``repetition_q1`` … ``_q4`` the same of each quarter. ``distinct_1_q1`` … and
    ``distinct_2_q1`` …: distinct n-grams / all n-grams of that quarter of all responses together.
    UserError if there is no response.
    """
    if isinstance(texts, str) or not len(texts):
        raise UserError(f"texts must be a list of at least one response, got {texts!r}")
    columns = {"repetition": fsum(repetition(text, REPEATED) for text in texts) / len(texts)}
    of_texts = [repetition_by_quarter(text) for text in texts]
    for place in range(QUARTERS):
        columns[f"repetition_q{place + 1}"] = fsum(row[place] for row in of_texts) / len(texts)
    for n in (1, 2):
        for place, share in enumerate(distinct_by_quarter(texts, n), 1):
            columns[f"distinct_{n}_q{place}"] = share
    return columns


def repetition_by_quarter(text: str, n: int = REPEATED) -> list[float]:
    """Share of each quarter's n-grams that stood anywhere before in the text; of none: 0.

    Weighted by the quarters' sizes their mean is `diversity.repetition`. An earlier quarter has
    less before it, so a text that repeats itself evenly rises from the first to the second.
    """
    check_integer("n", n, 1)
    seen: set[tuple[str, ...]] = set()
    repeated = []
    for gram in n_grams(text, n):
        repeated.append(gram in seen)
        seen.add(gram)
    return [sum(run) / len(run) if run else 0.0 for run in _runs(repeated)]


def distinct_by_quarter(texts: Sequence[str], n: int) -> list[float]:
    """Distinct n-grams / all n-grams of each quarter of all texts together, in [0, 1]; none: 0.

    UserError unless n >= 1.
    """
    check_integer("n", n, 1)
    pooled: list[list[tuple[str, ...]]] = [[] for _ in range(QUARTERS)]
    for text in texts:
        for run, own in zip(pooled, _runs(n_grams(text, n)), strict=True):
            run += own
    return [distinct_share(run) for run in pooled]


def _runs(items: Sequence[Item]) -> list[Sequence[Item]]:
    ends = [place * len(items) // QUARTERS for place in range(QUARTERS + 1)]
    return [items[start:end] for start, end in zip(ends, ends[1:], strict=False)]
