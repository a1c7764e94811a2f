"""Messages of other packages that whoever runs a population can do nothing about.

Each is named by its logger and by what it says, so that no other is held back.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_NOT_ACTIONABLE = {
    # of every task whose rows a function makes, whether or not it takes arguments
    "lm_eval.api.task": (r"\S+: Custom kwargs can be passed to `--metadata`",),
    # of a model that is given loaded, which is what was asked for
    "lm_eval.models.huggingface": (r"`pretrained` model kwarg is not of type `str`",),
}


class _Known(logging.Filter):
    """Holds back messages that begin as one of the patterns says."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        super().__init__()
        self._patterns = patterns

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        return not any(re.match(pattern, said) for pattern in self._patterns)


@contextmanager
def hushed() -> Iterator[None]:
    """Within the block, messages that nobody can act on are not shown."""
    with ExitStack() as stack:
        for name, patterns in _NOT_ACTIONABLE.items():
            logger, known = logging.getLogger(name), _Known(patterns)
            logger.addFilter(known)
            stack.callback(logger.removeFilter, known)
        yield
