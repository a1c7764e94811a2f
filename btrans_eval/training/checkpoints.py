"""Checkpoints that are whole, and what a run that goes on must agree in."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from btrans_eval.errors import UserError
from btrans_eval.training.rollouts import Rollouts

MARK = "population.json"
"""Written into a checkpoint when all else of it is there: one without was not finished."""


class Marks(TrainerCallback):
    """Marks every checkpoint as finished, with facts of the run.

    Args:
        facts: as JSON, asked when a checkpoint was written.
    """

    def __init__(self, facts: Callable[[], dict[str, Any]]) -> None:
        self._facts = facts

    def on_save(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """A checkpoint is whole."""
        if not state.is_world_process_zero:
            return
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        for path in folder.rglob("*"):  # a power cut must not leave a marked one without its files
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        text = json.dumps(self._facts(), indent=1) + "\n"
        part = folder / f"{MARK}.part"
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.rename(folder / MARK)


def finished(folder: Path) -> list[Path]:
    """The checkpoints in a folder that are whole, by their steps."""
    found = [path for path in folder.glob("checkpoint-*") if (path / MARK).is_file()]
    return sorted(found, key=step_of)


def latest(folder: Path) -> str | None:
    """The last checkpoint in a folder that is whole."""
    found = finished(folder)
    return str(found[-1]) if found else None


def step_of(path: Path) -> int:
    """After which a checkpoint was written."""
    number = re.fullmatch(r"checkpoint-(\d+)", path.name)
    return int(number[1]) if number else -1


def read(path: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint was marked with.

    Raises:
        UserError: if it was not finished, or is of another population.
    """
    mark = path / MARK
    if not mark.is_file():
        raise UserError(
            f"resume_from_checkpoint: {path} was not finished (it has no {MARK}); name an earlier "
            "one, or none"
        )
    found: dict[str, Any] = json.loads(mark.read_text(encoding="utf-8"))
    for name, value in facts.items():
        before = found.get(name, getattr(Rollouts, name, None))  # older ones lack what is new
        if name != "generations" and before != value:
            raise UserError(
                f"resume_from_checkpoint: {path} is of a run with {name}={before}, got "
                f"{value}; go on with the same population, or begin in another folder"
            )
    return found
