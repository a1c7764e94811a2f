"""The folders of arms, by their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from btrans_eval.errors import UserError


class Named(Protocol):
    """An arm, of a comparison or of a training."""

    @property
    def name(self) -> str:
        """In tables."""


def folder_of(name: str) -> str:
    """The arm's name without what the names of folders may not hold."""
    return re.sub(r"[^\w=.,+-]+", "_", name)


def check_apart(arms: Sequence[Named]) -> None:
    """Refuse arms that could not be told apart in tables, or on the disk.

    Raises:
        UserError: naming two of them.
    """
    names: dict[str, str] = {}
    for arm in arms:
        folder = folder_of(arm.name)
        other = names.get(folder.casefold())  # some disks do not tell A from a
        if other == arm.name:
            raise UserError(f"arms: {other!r} is there twice; give arms different settings")
        if other is not None:
            raise UserError(
                f"arms: {other!r} and {arm.name!r} would share the folder {folder}; give one of "
                "them another name, in a list of arms with kind: and name:"
            )
        names[folder.casefold()] = arm.name
