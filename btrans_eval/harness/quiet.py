"""Messages of other packages that whoever runs a population can do nothing about.

Each is named by its logger and by what it says, so that no other is held back.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager

_OF_SAMPLING = {"temperature", "top_p", "top_k", "min_p", "typical_p"}
_NOT_ACTIONABLE = {
    # of every task whose rows a function makes, whether or not it takes arguments
    "lm_eval.api.task": r"\S+: Custom kwargs can be passed to `--metadata`",
    # of a model that is given loaded, which is what was asked for
    "lm_eval.models.huggingface": r"`pretrained` model kwarg is not of type `str`",
    # of flags of sampling that a task file or a checkpoint sets, where tokens are greedy
    "transformers.generation.configuration_utils": (
        r"The following generation flags are not valid and may be ignored: \[(?P<flags>[^]]*)\]"
    ),
}


class _Known(logging.Filter):
    """Holds back messages that begin as a pattern says, but for flags that the user gave."""

    def __init__(self, pattern: str, given: Collection[str]) -> None:
        super().__init__()
        self._pattern, self._ignorable = re.compile(pattern), _OF_SAMPLING - set(given)

    def filter(self, record: logging.LogRecord) -> bool:
        found = self._pattern.match(record.getMessage())
        flags = re.findall(r"\w+", found.groupdict().get("flags") or "") if found else []
        return not found or not self._ignorable.issuperset(flags)


@contextmanager
def hushed(given: Collection[str] = ()) -> Iterator[None]:
    """Within the block, messages that nobody can act on are not shown.

    Args:
        given: names of the generation arguments that the user gave; what is said of them is shown.
    """
    with ExitStack() as stack:
        for name, pattern in _NOT_ACTIONABLE.items():
            logger, known = logging.getLogger(name), _Known(pattern, given)
            logger.addFilter(known)
            stack.callback(logger.removeFilter, known)
        yield
