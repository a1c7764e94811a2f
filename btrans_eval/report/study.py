"""What a report is made of: a comparison's numbers and the responses that they come from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from btrans_eval import results
from btrans_eval.compare import join
from btrans_eval.compare.join import Arm, JoinedTask
from btrans_eval.errors import UserError

SCHEME = 1


@dataclass(frozen=True)
class ReportedTask:
    """One task: its numbers in comparison.json and its questions.

    Attributes:
        numbers: the task's entry in comparison.json.
        joined: the questions and responses of every arm.
    """

    numbers: Mapping[str, Any]
    joined: JoinedTask

    @property
    def name(self) -> str:
        """Name of the task or group."""
        return self.joined.name

    @property
    def questions(self) -> int:
        """How many questions all arms share."""
        return len(self.joined.documents)

    @property
    def is_scored(self) -> bool:
        """Whether responses are right or wrong; else the task is about diversity alone."""
        return any("mean" in arm["metrics"] for arm in self.numbers["arms"].values())

    @property
    def is_share(self) -> bool:
        """Whether scores are shown in percent: all are 0 or 1."""
        return bool(self.numbers["binary"])

    def metrics(self, arm: str) -> Mapping[str, Any]:
        """The arm's intervals by column."""
        found: Mapping[str, Any] = self.numbers["arms"][arm]["metrics"]
        return found

    def calls(self, arm: str) -> int:
        """K of the arm."""
        return int(self.numbers["arms"][arm]["calls"])


@dataclass(frozen=True)
class Study:
    """A comparison with the responses that it was made from.

    Attributes:
        folder: where comparison.json lies.
        comparison: the document.
        arms: in the comparison's order.
        tasks: in the comparison's order.
    """

    folder: Path
    comparison: Mapping[str, Any]
    arms: tuple[Arm, ...]
    tasks: tuple[ReportedTask, ...]


def read(folder: Path) -> Study:
    """Read a comparison and its arms.

    Raises:
        UserError: if there is no comparison, or the arms are not those it was made from.
    """
    file = folder / "comparison.json"
    try:
        comparison = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"report: {file} cannot be read ({error}); run compare first") from None
    if not isinstance(comparison, dict) or comparison.get("scheme") != SCHEME:
        raise UserError(f"report: {file} is of another release; run compare again")
    arms = [
        join.as_arm(results.load(folder / arm["folder"], arm["name"])) for arm in comparison["arms"]
    ]
    joined = {task.name: task for task in join.join(arms, insist=bool(comparison["insisted"]))}
    for task in comparison["tasks"]:
        if task["name"] not in joined or task["questions"] != len(joined[task["name"]].documents):
            raise UserError(
                f"report: {task['name']} is not what {file} was made from; run compare again"
            )
    tasks = tuple(ReportedTask(task, joined[task["name"]]) for task in comparison["tasks"])
    return Study(folder, comparison, tuple(arms), tasks)
