"""Text that noise is fitted to, as sequences of tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from btrans_eval.errors import UserError
from btrans_eval.population.divergence import pieces

LEAST = 10
"""Sequences: with fewer, one in ten cannot be held out."""


def of_file(path: str) -> str:
    """A file's text, passages separated by lines of ``---``.

    Raises:
        UserError: if it cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"text: {path} cannot be read ({error})") from None


def of_task(name: str) -> str:
    """Prompt and gold answer of each row that a task trains on, a passage each.

    Raises:
        UserError: if there is no such task, or it has no such rows.
    """
    from lm_eval.tasks import TaskManager

    manager = TaskManager()
    if name not in manager.all_tasks:
        raise UserError(f"task: no task named {name}; lm_eval ls tasks lists them")
    tasks = list(manager.load([name])["tasks"].values())
    if len(tasks) != 1 or not tasks[0].has_training_docs():
        raise UserError(f"task: {name} has no rows for training; give --text FILE of your own")
    task, said = tasks[0], []
    for doc in task.training_docs():
        target = task.doc_to_target(doc)
        if not isinstance(target, str):
            raise UserError(f"task: a gold answer of {name} is no text; give --text FILE")
        between = "" if target[:1].isspace() else task.config.target_delimiter
        said.append(f"{task.doc_to_text(doc)}{between}{target}")
    return "\n---\n".join(said)


def split(tokenizer: Any, text: str, seed: int) -> tuple[list[list[int]], list[list[int]]]:
    """Sequences to fit to, and one in ten, drawn with the seed, to measure on.

    Raises:
        UserError: if there are fewer than `LEAST` of at least two tokens.
    """
    found = [piece for piece in pieces(tokenizer, text) if len(piece) > 1]
    if len(found) < LEAST:
        raise UserError(
            f"text: must give at least {LEAST} sequences (passages, or 256 tokens of one), got "
            f"{len(found)}; fit to more text"
        )
    order = np.random.default_rng([seed, 2]).permutation(len(found))
    held = set(order[: len(found) // 10].tolist())
    return (
        [piece for place, piece in enumerate(found) if place not in held],
        [piece for place, piece in enumerate(found) if place in held],
    )
