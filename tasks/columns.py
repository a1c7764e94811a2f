"""What every population task hands to the harness: the columns of one question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def process_results(doc: dict[str, Any], results: Sequence[Any]) -> dict[str, float]:
    """The columns that the filter ``btrans_population`` has computed for this question."""
    return dict(results[0].columns)


def with_similarity(doc: dict[str, Any], results: Sequence[Any]) -> dict[str, float]:
    """The same and ``similarity``, the mean cosine over pairs: 1 less ``cosine_distance``."""
    columns = process_results(doc, results)
    return columns | {"similarity": 1 - columns["cosine_distance"]}
