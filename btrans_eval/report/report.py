"""``btrans-eval report``: write the report of a comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from btrans_eval.report import (
    confidence,
    curves,
    opening,
    plane,
    questions,
    rendering,
    rerun,
    selection,
    similarity,
    tables,
    tradeoff,
    weighted,
)
from btrans_eval.report import members as members_of
from btrans_eval.report.study import ReportedTask, Study, read
from btrans_eval.report.style import Look, Picture, looks
from btrans_eval.report.tables import Table

LISTED = "files.txt"
"""Names of the files beside it that are the report's."""


def write(folder: Path, encoder: str | None = "default") -> Path:
    """Write ``report.html`` and ``report/`` into a comparison's folder.

    Args:
        folder: with comparison.json.
        encoder: for the plane of embeddings: a sentence-transformers name, "default", or None.

    Returns:
        The page.

    Raises:
        UserError: if there is no comparison, or not of these runs.
    """
    study = read(Path(folder))
    shown = _view(study, encoder)
    files = study.folder / "report"
    files.mkdir(exist_ok=True)
    written: dict[str, bytes] = {}
    for picture in _found(shown, Picture):
        written[f"{picture.name}.svg"] = picture.svg.encode()
        written[f"{picture.name}.png"] = picture.png
    for table in _found(shown, Table):
        written[f"{table.name}.md"] = table.markdown().encode()
        written[f"{table.name}.csv"] = table.csv().encode()
    _replace(files, written)
    page = study.folder / "report.html"
    page.write_text(rendering.render(rendering.PAGE / "page.html", shown), encoding="utf-8")
    return page


def _replace(folder: Path, written: Mapping[str, bytes]) -> None:
    """Write the files in place of those of the last report, and touch no other."""
    listed = folder / LISTED
    for name in listed.read_text(encoding="utf-8").splitlines() if listed.exists() else ():
        if name not in written and name == Path(name).name:
            (folder / name).unlink(missing_ok=True)
    for name, content in written.items():
        (folder / name).write_bytes(content)
    listed.write_text("\n".join(sorted(written)) + "\n", encoding="utf-8")


def _view(study: Study, encoder: str | None) -> dict[str, Any]:
    """All that the page shows."""
    arms = looks(study.arms)
    planes, why_not = plane.planes([task.joined for task in study.tasks], arms, encoder)
    return {
        **opening.opening(study),
        "comparison": study.comparison,
        "looks": arms,
        "tasks": [_task(study, task, arms) for task in study.tasks],
        "planes": planes,
        "plane_rule": plane.RULE,
        "no_planes": why_not,
        "command": rerun.command(study),
        "resolved": rerun.resolved(study),
        "facts": rerun.facts(study),
        "seeds": tables.seeds(study) if study.comparison["seeds"] else None,
    }


def _task(study: Study, task: ReportedTask, arms: Mapping[str, Look]) -> dict[str, Any]:
    """One task's tables, pictures and questions."""
    scored = task.is_scored
    return {
        "task": task,
        "opening": curves.opening(task, arms),
        "headline": tables.headline(task),
        "primary": _unless_empty(tables.pairs(task, primary=True)),
        "exploratory": _unless_empty(tables.pairs(task, primary=False)),
        "curves": curves.pictures(task, arms) if scored else [],
        "confidence": confidence.pictures(task, arms),
        "confidence_table": confidence.table(task),
        "confidence_differences": confidence.differences(task),
        "weighted": weighted.table(task),
        "tradeoff": tradeoff.picture_of(task, study.arms, arms),
        "beside": tables.beside(task),
        "similarity": similarity.table(task),
        "similarity_note": similarity.note(task),
        "length": similarity.over_length(task),
        "has_meanings": any("distinct_k" in task.metrics(arm) for arm in task.numbers["arms"]),
        "members": [
            {
                "arm": arm.name,
                "kind": arm.kind,
                "pictures": members_of.pictures(task, arm.name, arm.kind, arms[arm.name]),
                "table": tables.members(task, arm.name, found),
            }
            for arm in study.arms
            if (found := members_of.members(task, arm.name))
        ],
        "selection": selection.table(task),
        "selection_sentences": selection.sentences(task),
        "depth": tables.depth(task) if scored else None,
        "planning": _unless_empty(tables.planning(task)),
        "questions": questions.payload(task, arms, {arm.name: arm.kind for arm in study.arms}),
    }


def _unless_empty(table: Table) -> Table | None:
    return table if table.rows else None


def _found(value: Any, kind: type) -> Iterator[Any]:
    """Everything of a kind in the view, however deep."""
    if isinstance(value, kind):
        yield value
    elif isinstance(value, plane.Plane):
        yield from _found(value.picture, kind)
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _found(inner, kind)
    elif isinstance(value, list):
        for inner in value:
            yield from _found(inner, kind)
