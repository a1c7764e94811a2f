"""Messages of other packages that a user of a population can do nothing about.

Each is named by its logger and how it begins, so that no other is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_NOT_ACTIONABLE = {
    # said of every task with rows of its own, whether or not it takes arguments
    "lm_eval.api.task": ("{task}: Custom kwargs can be passed to `--metadata`",),
}
