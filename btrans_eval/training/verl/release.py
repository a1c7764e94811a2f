"""The release of verl that members were tested with."""

from __future__ import annotations

import importlib.metadata

from btrans_eval.errors import UserError

VERL = "0.9.1"
"""Its inner ways were read and its engine run; another may carry rows otherwise."""


def check_verl() -> None:
    """Refuse a release of verl that was not tested, and none at all.

    Raises:
        UserError: saying what to install.
    """
    try:
        found = importlib.metadata.version("verl")
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            f"verl: must be {VERL}, but none is installed; pip install 'verl=={VERL}'"
        ) from None
    if found != VERL:
        raise UserError(
            f"verl: must be {VERL}, whose inner ways were tested, got {found}; "
            f"pip install 'verl=={VERL}'"
        )
