"""A model's cache among the arguments and outputs of a forward pass, by whatever name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

_NAMES = ("cache", "past_key_values", "cache_params")
"""transformers from 5.24 on, before, and before for state-space models."""


def cache_in(values: Mapping[str, Any]) -> Any:
    """The cache among keyword arguments or a model's outputs; None if there is none."""
    return next((values[name] for name in _NAMES if values.get(name) is not None), None)


def cache_argument(model: Any) -> str | None:
    """What this model's forward pass calls its cache; None if it takes none."""
    parameters = inspect.signature(type(model).forward).parameters
    return next((name for name in _NAMES if name in parameters), None)
