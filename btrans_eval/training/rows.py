"""Which rows are trained on: drawn by strata, and never one that is evaluated."""

from __future__ import annotations

import hashlib
import os
import random
from collections import defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from btrans_eval.errors import UserError
from btrans_eval.training.task import Doc, TrainingTask, row_hash

DIGEST = "rows.sha256"
"""In the folder of a study, what its rows are told by."""


@dataclass(frozen=True)
class Drawn:
    """The rows that are trained on.

    Attributes:
        docs: in the order in which they were drawn.
        left_out: rows of the training split that are evaluated, too.
        repeated: rows with a prompt that another row has.
        strata: how many were drawn of each value of the field.
    """

    docs: list[Doc]
    left_out: int
    repeated: int
    strata: dict[str, int]

    @property
    def hashes(self) -> list[str]:
        """Of each row, for the results."""
        return [row_hash(doc) for doc in self.docs]


def draw(
    task: TrainingTask,
    candidates: Sequence[Doc],
    evaluated: Set[str],
    examples: int | None,
    strata: str | None,
    seed: int = 0,
) -> Drawn:
    """Rows to train on, none of whose prompts is evaluated or comes twice.

    Args:
        candidates: the rows for training.
        evaluated: what it will be asked, as `TrainingTask.question` has it.
        examples: how many; None: all.
        strata: field of the rows; of each of its values as many are drawn, one more of the first
            few where they do not divide; None: from all alike.

    Raises:
        UserError: if there are too few rows, or a row lacks the field.
    """
    seen: set[str] = set()
    kept: list[Doc] = []
    left_out = repeated = 0
    for doc in candidates:
        question = task.question(doc)
        if question in evaluated:
            left_out += 1
        elif question in seen:
            repeated += 1
        else:
            kept.append(doc)
        seen.add(question)
    wanted = len(kept) if examples is None else examples
    if not kept or wanted > len(kept):
        raise UserError(
            f"examples: {task.name} has {len(kept)} rows for training whose prompts are not "
            f"evaluated ({left_out} are, {repeated} come twice), got examples={examples}; ask for "
            "fewer"
        )
    draws = random.Random(seed)
    by_value: dict[str, list[Doc]] = defaultdict(list)
    for doc in kept:
        if strata is not None and strata not in doc:
            raise UserError(
                f"strata: {task.name}'s rows have the fields {', '.join(doc)}, got {strata}"
            )
        by_value["" if strata is None else str(doc[strata])].append(doc)
    shares = _shares({value: len(docs) for value, docs in sorted(by_value.items())}, wanted)
    found: list[Doc] = []
    for value, number in shares.items():
        found += _sample(draws, by_value[value], number)
    found = _sample(draws, found, len(found))  # strata mixed
    return Drawn(found, left_out, repeated, {} if strata is None else shares)


def keep(drawn: Drawn, folder: Path) -> None:
    """Keep what the rows are told by in the folder of a study.

    Raises:
        UserError: if it was begun with others: a run would go on with rows that it never began.
    """
    digest = hashlib.sha256("".join(drawn.hashes).encode()).hexdigest()
    path = folder / DIGEST
    is_begun = (folder / "runs").exists() and path.is_file()
    if is_begun and path.read_text(encoding="utf-8").strip() != digest:
        raise UserError(
            f"rows: {folder} was begun with other rows than the {len(drawn.docs)} that are drawn "
            "now; give it the same rows again, or name another folder"
        )
    if not is_begun and os.environ.get("RANK", "0") == "0":
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{DIGEST}.part")
        part.write_text(digest + "\n", encoding="utf-8")
        os.replace(part, path)


def _shares(sizes: dict[str, int], wanted: int) -> dict[str, int]:
    """How many of each: as equal as the sizes allow, the first few getting what is left over."""
    shares = dict.fromkeys(sizes, 0)
    while wanted:
        open_ones = [value for value, size in sizes.items() if shares[value] < size]
        each, rest = divmod(wanted, len(open_ones))
        for place, value in enumerate(open_ones):
            more = min(each + (place < rest), sizes[value] - shares[value])
            shares[value] += more
            wanted -= more
    return shares


def _sample(draws: random.Random, items: Sequence[Any], number: int) -> list[Any]:
    """Some items in random order; ``random()`` alone is the same in every release of Python."""
    keyed = sorted((draws.random(), place) for place in range(len(items)))
    return [items[place] for _, place in keyed[:number]]


def order(rows: int, prompts: int, steps: int, seed: int) -> list[int]:
    """Which rows each step asks, step by step: all of them in turn, shuffled anew every time.

    Args:
        rows: how many there are.
        prompts: of a step.

    Returns:
        numbers of rows, ``steps * prompts`` of them.
    """
    draws = random.Random(f"order {seed}")
    found: list[int] = []
    while len(found) < steps * prompts:
        found += _sample(draws, range(rows), rows)
    return found[: steps * prompts]
