"""Compare finished runs in Python."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

from btrans_eval.compare.command import compared, save
from btrans_eval.compare.join import as_arm, join
from btrans_eval.errors import UserError
from btrans_eval.face.layout import html_table, table
from btrans_eval.results import Run, load


@dataclass(frozen=True)
class Comparison:
    """What runs show on the questions that they share; ``print`` it, or show it in a notebook.

    Attributes:
        numbers: every number, as comparison.json holds them (docs/comparison.md).
        heads: by task, heads of its table.
        rows: by task, the arms with their numbers and 95% intervals over questions.
    """

    numbers: Mapping[str, Any]
    heads: Mapping[str, tuple[str, ...]]
    rows: Mapping[str, list[list[str]]]

    @property
    def warnings(self) -> list[str]:
        """Why the runs are not really comparable; empty unless this was insisted on."""
        return [
            f"{task['name']}: {said}" for task in self.numbers["tasks"] for said in task["warnings"]
        ]

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write comparison.json, of which ``btrans-eval report FOLDER`` makes a page.

        Returns:
            The file.
        """
        found = copy.deepcopy(dict(self.numbers))
        save(found, Path(folder))
        return Path(folder) / "comparison.json"

    def __str__(self) -> str:
        parts = [f"warning: {said}" for said in self.warnings]
        for task in self.numbers["tasks"]:
            name = task["name"]
            parts.append(
                f"{name}: {task['sentence']}\n\n{table(self.heads[name], self.rows[name])}"
            )
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        parts = [f"<p><b>warning: {escape(said)}</b></p>" for said in self.warnings]
        for task in self.numbers["tasks"]:
            name = task["name"]
            parts.append(f"<p><b>{escape(name)}</b>: {escape(task['sentence'])}</p>")
            parts.append(html_table(self.heads[name], self.rows[name]))
        return "".join(parts)


def compare_runs(*runs: Run | str | os.PathLike[str], insist: bool = False) -> Comparison:
    """Compare two or more finished runs on the questions that they share.

    The same numbers as ``btrans-eval compare RUN RUN``: each arm's means, votes and pass@k with
    intervals over questions, and paired differences of arms at equal K.

    Args:
        runs: folders that were given as ``--output_path`` (with ``--log_samples``), or what
            `load_run` has read; arms are called by their folders, or by its ``name``.
        insist: whether to compare runs that differ in questions, prompts or limits; the
            differences are then among the warnings.

    Raises:
        UserError: on fewer than two runs, one that cannot be read, or runs that should not be
            compared.

    Example:
        >>> found = compare_runs("out/population", "out/stock")
        >>> print(found)
        sums: At K = 4 ...
        >>> found.numbers["tasks"][0]["arms"]["population"]["metrics"]["maj@4"]["estimate"]
        0.4166666666666667
    """
    # what makes tables also draws pictures, which takes a moment to import
    from btrans_eval.report.study import ReportedTask
    from btrans_eval.report.tables import headline

    for each in runs:
        if not isinstance(each, (Run, str, os.PathLike)):
            raise UserError(
                f"runs: must be folders, or what load_run returns, got a {type(each).__name__}"
            )
    loaded = [each if isinstance(each, Run) else load(Path(each)) for each in runs]
    names = [each.name for each in loaded]
    arms = [
        as_arm(replace(each, name=str(each.path)) if names.count(each.name) > 1 else each)
        for each in loaded
    ]
    joined = join(arms, insist)
    numbers = compared(arms, joined, insist)
    tasks = {task.name: task for task in joined}
    shown = {
        task["name"]: headline(ReportedTask(task, tasks[task["name"]])) for task in numbers["tasks"]
    }
    return Comparison(
        numbers,
        {name: each.columns for name, each in shown.items()},
        {
            name: [
                [f"{cell.text} [{cell.below}]" if cell.below else cell.text for cell in row]
                for row in each.rows
            ]
            for name, each in shown.items()
        },
    )
