"""A sandbox for tests; where none can be had they skip, saying why, and fail in CI."""

from __future__ import annotations

import functools
import os

import pytest

from btrans_eval.errors import UserError
from btrans_eval.execution.executor import Executor, proven
from btrans_eval.execution.limits import Limits
from btrans_eval.execution.sandbox import NONE


@functools.cache
def _proven() -> Executor | str:
    try:
        found = proven()
    except UserError as error:
        return str(error)
    # hostile programs are for sandboxes, whatever the environment allows
    return "programs would run unprotected" if found.sandbox.kind == NONE else found


def executor(**limits) -> Executor:
    """With the limits named, and 2 s of CPU time."""
    found = _proven()
    if isinstance(found, str):
        if os.environ.get("CI"):  # there nobody reads what was skipped
            pytest.fail(f"in CI the sandbox must be tested, but {found}")
        pytest.skip(found)
    return Executor(found.sandbox, Limits(**{"cpu_seconds": 2, **limits}))
