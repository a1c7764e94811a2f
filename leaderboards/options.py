"""What a user says about an export, as flags and as an object; none of it is ever guessed."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass, fields
from pathlib import Path

from btrans_eval.errors import UserError

SCALES = {"0-1": 1.0, "0-100": 100.0}
RELATIONSHIPS = ("first_party", "third_party", "collaborative", "other")
AVAILABILITIES = ("open_weights", "closed_weights", "unknown")
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_ID = re.compile(rf"{_PART}/{_PART}")


@dataclass(frozen=True)
class ExportOptions:
    """What an export needs to know beside the results.

    Attributes:
        model_id: ORG/NAME of the population itself, never of the model it was made from.
        base_model_id: ORG/NAME of the model without noise.
        output: folder to write to; None: ``exports/FORMAT`` in the comparison's folder.
        tasks: tasks or groups to export; empty: all that are scored.
        arm: the population's arm; None: the only one of the comparison's primary kind (greedy).
        stock_arm: the arm of the model without noise; None: the only one that matches.
        dataset_id: ORG/NAME of the benchmark's data set.
        task_id: id of the task within that benchmark, from its ``eval.yaml``.
        scale: ``0-1`` or ``0-100``, whichever the benchmark's other entries use.
        dataset_revision: git SHA of the data set.
        with_maj: write the vote's file too.
        organization: who reports the numbers.
        relationship: of that organization to the model.
        availability: of the base model's weights.
        source_url: where readers find the results themselves.
    """

    model_id: str
    base_model_id: str
    output: Path | None = None
    tasks: tuple[str, ...] = ()
    arm: str | None = None
    stock_arm: str | None = None
    dataset_id: str | None = None
    task_id: str | None = None
    scale: str | None = None
    dataset_revision: str | None = None
    with_maj: bool = False
    organization: str | None = None
    relationship: str = "other"
    availability: str = "unknown"
    source_url: str | None = None

    def __post_init__(self) -> None:
        check_id("model-id", self.model_id)
        check_id("base-model-id", self.base_model_id)
        if self.dataset_id is not None:
            check_id("dataset-id", self.dataset_id)
        if self.model_id.lower() == self.base_model_id.lower():
            raise UserError(
                f"model-id: {self.model_id} is the stock model; a population is another model and "
                "needs an id of its own, for example --model-id YOU/NAME-B-Trans"
            )
        _check_choice("scale", self.scale, (*SCALES, None))
        _check_choice("relationship", self.relationship, RELATIONSHIPS)
        _check_choice("availability", self.availability, AVAILABILITIES)
        if self.source_url is not None and not re.fullmatch(r"https?://\S+", self.source_url):
            raise UserError(f"source-url: must be https://…, got {self.source_url!r}")
        for name in ("organization", "task_id", "dataset_revision"):
            given = getattr(self, name)
            if given is not None and not given.strip():
                raise UserError(f"{flag(name)[2:]}: must not be empty")


_OF_ALL = {"model_id", "base_model_id", "output", "tasks", "arm", "stock_arm"}
_OF_DATASET = {"dataset_id", "dataset_revision", "source_url"}
USED = {
    "every-eval-ever": {"organization", "relationship", "availability", "source_url"},
    "eval-results": _OF_DATASET | {"task_id", "scale", "with_maj"},
    "model-index": _OF_DATASET,
}
"""Options that a format has a place for, beside those of all formats."""
NEEDED = {
    "every-eval-ever": ("organization",),
    "eval-results": ("dataset_id", "task_id", "scale"),
    "model-index": (),
}


def check_used(format: str, options: ExportOptions) -> None:
    """UserError unless all that the format needs is given, and nothing that it has no place for."""
    for name in NEEDED[format]:
        if getattr(options, name) is None:
            raise UserError(
                f"{flag(name)[2:]}: is needed for {format} and never guessed; {_WHAT[name]}"
            )
    for field in fields(options):
        if field.name not in _OF_ALL | USED[format]:
            if getattr(options, field.name) != field.default:
                raise UserError(
                    f"{flag(field.name)[2:]}: {format} has no place for it; leave it out"
                )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``btrans-eval export FORMAT FOLDER``; ``options_from`` reads them."""
    add = parser.add_argument
    for name in ("model_id", "base_model_id"):
        add(flag(name), required=True, metavar="ORG/NAME", help=_WHAT[name])
    add("--output", type=Path, metavar="DIR", help=_WHAT["output"])
    add("--tasks", metavar="NAMES", help=_WHAT["tasks"])
    for name in ("arm", "stock_arm"):
        add(flag(name), metavar="NAME", help=_WHAT[name])
    add("--dataset-id", metavar="ORG/NAME", help=_WHAT["dataset_id"])
    add("--task-id", metavar="ID", help=_WHAT["task_id"])
    add("--scale", metavar="|".join(SCALES), help=_WHAT["scale"])
    add("--dataset-revision", metavar="SHA", help=_WHAT["dataset_revision"])
    add("--with-maj", action="store_true", help=_WHAT["with_maj"])
    add("--organization", metavar="NAME", help=_WHAT["organization"])
    add("--relationship", default="other", metavar="|".join(RELATIONSHIPS),
        help=_WHAT["relationship"])  # fmt: skip
    add("--availability", default="unknown", metavar="|".join(AVAILABILITIES),
        help=_WHAT["availability"])  # fmt: skip
    add("--source-url", metavar="URL", help=_WHAT["source_url"])


def options_from(given: argparse.Namespace) -> ExportOptions:
    """The options of a parsed command line.

    Raises:
        UserError: on an id that is not ORG/NAME, a value that is none of the choices, or a
            population under its base model's id.
    """
    names = [field.name for field in fields(ExportOptions)]
    values = {name: getattr(given, name) for name in names}
    values["tasks"] = tuple(filter(None, (given.tasks or "").split(",")))
    return ExportOptions(**values)


_WHAT = {
    "model_id": "the population's own id, never the stock model's",
    "base_model_id": "the model without noise",
    "output": "folder to write to (OUT/exports/FORMAT)",
    "tasks": "tasks or groups, separated by commas (all that are scored)",
    "arm": "the population's arm (the greedy one)",
    "stock_arm": "the arm of the model without noise (the only one that matches)",
    "dataset_id": "data set of the benchmark: --dataset-id openai/gsm8k",
    "task_id": "id of the task in the eval.yaml of that data set: --task-id gsm8k",
    "scale": "what the benchmark's other entries use: --scale 0-100 or --scale 0-1",
    "dataset_revision": "git SHA of the data set",
    "with_maj": "eval-results: also a file of its own for the vote of K responses",
    "organization": "who reports the numbers: --organization NAME",
    "relationship": "of the organization to the model (other)",
    "availability": "of the base model's weights (unknown)",
    "source_url": "where readers find the results themselves",
}


def flag(name: str) -> str:
    """How an option is typed."""
    return "--" + name.replace("_", "-")


def check_id(name: str, given: str) -> None:
    """UserError unless it is ORG/NAME as the hub spells ids."""
    if not _ID.fullmatch(given) or "--" in given or ".." in given or len(given) > 96:
        raise UserError(f"{name}: must be ORG/NAME as on the hub, got {given!r}")


def is_hub_id(name: str) -> bool:
    """Whether it is written as the hub spells ids."""
    return _ID.fullmatch(name) is not None


def _check_choice(name: str, given: str | None, choices: tuple[str | None, ...]) -> None:
    if given not in choices:
        said = ", ".join(str(choice) for choice in choices if choice is not None)
        raise UserError(f"{name}: must be one of {said}, got {given!r}")
