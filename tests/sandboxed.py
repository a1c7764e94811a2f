"""A sandbox for tests; they skip, saying why, where none can be had."""

from __future__ import annotations

import functools

import pytest

from btrans_eval.errors import UserError
from btrans_eval.execution.executor import Executor, proven
from btrans_eval.execution.limits import Limits


@functools.cache
def _proven() -> Executor | str:
    try:
        return proven()
    except UserError as error:
        return str(error)


def executor(**limits) -> Executor:
    """With the limits named, and 2 s of CPU time."""
    found = _proven()
    if isinstance(found, str):
        pytest.skip(found)
    return Executor(found.sandbox, Limits(**{"cpu_seconds": 2, **limits}))
