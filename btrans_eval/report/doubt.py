"""``btrans-eval doubt``: a population's doubt about multiple choice, beside the model's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from btrans_eval.compare.doubt import Kept, examine, kept_of
from btrans_eval.errors import UserError
from btrans_eval.report.style import BLUE, RED, SKY, Picture, figure, picture
from btrans_eval.report.tables import Cell, Table, measured
from btrans_eval.report.text import file_name
from btrans_eval.results.likelihoods import load_population, load_single
from btrans_eval.scores.choices import measured as measured_of

ARMS = {
    "population": "population", "member": "one member (mean)",
    "population_scaled": "population, scaled", "stock": "stock model",
    "stock_scaled": "stock model, scaled",
}  # fmt: skip
_COLUMNS = {
    "accuracy": "accuracy", "nll": "NLL", "brier": "Brier", "ece_20": "ECE",
    "squared_error_20": "squared, unbiased", "auroc_probability": "AUROC, probability",
    "auroc_entropy": "AUROC, entropy", "auroc_epistemic": "AUROC, epistemic",
}  # fmt: skip
_RULE = (
    "Scaled: divided by the temperature that fits the other folds of questions. NLL in nats; NLL, "
    "Brier and calibration errors are better when small, AUROC (right against wrong answers of the "
    "same row) when large. 95% intervals over questions."
)


def write(run: str, against: str | None, output: str | None) -> str:
    """Compute all figures, and write ``doubt.json`` and pictures where a folder is named.

    Args:
        run: folder of a population's run, or its results file.
        against: one of the same model without noise.
        output: a folder.

    Returns:
        The tables as text.

    Raises:
        UserError: as `kept_of`, or if the folder cannot be written.
    """
    population = load_population(run)
    stock = None if against is None else load_single(against)
    kept = kept_of(population, stock)
    found = examine(population, stock, kept)
    text = "\n".join([*_opening(found), *(_told(task) for task in found["tasks"]), _RULE])
    if output is not None:
        pictures = [split(name, of_task) for name, of_task in kept.items()]
        _write(Path(output), found, pictures)
        text += f"\nwrote {Path(output) / 'doubt.json'}, a picture of each task beside it"
    return text


def _opening(found: Mapping[str, Any]) -> list[str]:
    population, stock = found["population"], found["stock"]
    lines = [f"{population['members']} members of {population['model']}: {population['run']}"]
    if stock is not None:
        lines.append(f"stock model {stock['model']}: {stock['run']}")
        if stock["model"] != population["model"]:
            lines.append("The models have different names: is the stock model the same one?")
    return lines


def _told(task: Mapping[str, Any]) -> str:
    counted = f"{task['questions']} question{'s' if task['questions'] != 1 else ''}"
    left_out = "".join(f"; {count} left out: {why}" for why, count in task["left_out"].items())
    parts = [f"\n{task['name']}, {counted}{left_out}\n\n{table(task).markdown()}"]
    if task["differences"]:
        parts.append(differences(task).markdown())
    for arm, said in task["arms"].items():
        if said["temperatures"] is not None:
            low, high = min(said["temperatures"]), max(said["temperatures"])
            parts.append(f"Temperature of the {ARMS[arm]}: {low:.3g} to {high:.3g} over folds.\n")
    parts += [f"Warning: {_with_words(said)}.\n" for said in task["warnings"]]
    if task["why"] is not None:
        parts.append(f"None was fitted: {task['why']}.\n")
    return "\n".join(parts)


def _with_words(warning: str) -> str:
    """A warning of an arm, called as the tables call it, says what it means for its figures."""
    arm, colon, rest = warning.partition(": ")
    return f"{ARMS[arm]}: {rest}; its figures mean little" if colon else warning


def table(task: Mapping[str, Any]) -> Table:
    """The arms of a task by their figures."""
    rows = [
        [
            Cell(ARMS[arm]),
            *(measured(said["figures"].get(name), name == "accuracy") for name in _COLUMNS),
        ]
        for arm, said in task["arms"].items()
    ]
    return Table(file_name("doubt", task["name"]), ("arm", *_COLUMNS.values()), rows)


def differences(task: Mapping[str, Any]) -> Table:
    """Differences to the stock model, paired over questions."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for each in task["differences"]:
        pair = found.setdefault((each["a"], each["b"]), {})
        pair[each["figure"]] = {**each, "estimate": each["difference"]}
    names = [name for name in _COLUMNS if any(name in pair for pair in found.values())]
    rows = [
        [
            Cell(f"{ARMS[a]} − {ARMS[b]}"),
            *(measured(pair.get(name), name == "accuracy", signed=True) for name in names),
        ]
        for (a, b), pair in found.items()
    ]
    columns = ("difference", *(_COLUMNS[name] for name in names))
    return Table(file_name("doubt", "differences", task["name"]), columns, rows)


def split(task: str, kept: Kept) -> Picture:
    """Aleatoric and epistemic doubt of every question, by their sum, right and wrong marked."""
    found = measured_of(kept.population)
    order = np.argsort(found.entropy, kind="stable")
    places = np.arange(len(order))
    entropy, epistemic = found.entropy[order], found.epistemic[order]
    right = found.right[order] > 0
    with figure(6.4, 3.4) as (drawn, axes):
        axes.bar(places, entropy - epistemic, 1.0, color=SKY, label="within members (aleatoric)")
        axes.bar(places, epistemic, 1.0, entropy - epistemic, color=BLUE,
                 label="between members (epistemic)")  # fmt: skip
        top = 1.06 * max(float(entropy.max()), 1e-9)
        axes.plot(places[~right], np.full((~right).sum(), top), "x", color=RED, markersize=4,
                  label="wrong")  # fmt: skip
        axes.set(xlabel="questions, the least doubtful first", ylabel="entropy, nats")
        axes.set_ylim(0, 1.1 * top)
        axes.grid(axis="x", visible=False)
        axes.legend(loc="upper left", bbox_to_anchor=(0, 1.16), ncols=3)
        caption = (
            "Where wrong answers gather at the right, doubt finds them; the dark part is what "
            "members disagree on."
        )
        return picture(file_name("doubt", task), f"Two kinds of doubt: {task}", caption, drawn)


def _write(folder: Path, found: Mapping[str, Any], pictures: list[Picture]) -> None:
    text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "doubt.json").write_text(text + "\n", encoding="utf-8")
        for each in pictures:
            (folder / f"{each.name}.svg").write_text(each.svg, encoding="utf-8")
            (folder / f"{each.name}.png").write_bytes(each.png)
    except OSError as error:
        raise UserError(f"output: {folder} cannot be written ({error.strerror})") from None
