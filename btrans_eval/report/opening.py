"""What the first lines of a report say: what was compared on what, and what to beware of."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from btrans_eval.report.study import Study
from btrans_eval.report.text import clean


def opening(study: Study) -> dict[str, Any]:
    """Title, scope, a line on each arm, and warnings."""
    arms = study.comparison["arms"]
    kinds = {arm["kind"] for arm in arms}
    both = {"stock", "population"} <= kinds
    models = dict.fromkeys(_base(str(arm["model"])) for arm in arms)
    tasks = [f"{task.name} ({_count(task.questions, 'question')})" for task in study.tasks]
    title = "Population against stock" if both else f"{len(arms)} runs compared"
    return {
        "title": clean(f"{title}: {', '.join(models)}"),
        "scope": clean(f"{_count(len(arms), 'arm')} on {', '.join(tasks)}"),
        "described": {arm["name"]: _described(study, arm) for arm in arms},
        "warnings": warnings(study),
    }


def warnings(study: Study) -> list[str]:
    """What stands in red: arms compared against their differences, and failed questions."""
    found = []
    if study.comparison["insisted"]:
        found.append("The arms were compared although they differ, as the user insisted.")
    for task in study.tasks:
        found += [f"{task.name}: {warning}" for warning in task.numbers["warnings"]]
    for arm in study.comparison["arms"]:
        for name, count in arm["failed_questions"].items():
            said = f"{_count(count, 'question')} could not be scored and count as wrong"
            found.append(f"{arm['name']}: {said} ({name})")
    return found


def _described(study: Study, arm: dict[str, Any]) -> str:
    """``σ = 0.01, sampled at temperature 0.7, 8 calls``."""
    said = []
    if arm["kind"] == "population":
        sigma = arm["population"]["sigma"]
        said.append("noise of a file" if sigma is None else f"σ = {sigma:g}")
        if (prior := arm["population"]["prior"]) != "isotropic":
            said.append(f"prior {PurePath(prior).name}")
        if arm["population"].get("mu"):
            said.append(f"μ = {arm['population']['mu']:g}")
        if arm["population"].get("noise", "sequence") != "sequence":
            said.append("new noise at every token")
        if arm["population"].get("noise_from", "prompt") != "prompt":
            said.append("noise from the prompt's last token on")
    else:
        said.append({"stock": "no noise", "other": str(arm["model_type"])}[arm["kind"]])
    warm = arm["temperature"]
    said.append("greedy" if warm is None else f"sampled at temperature {warm:g}")
    calls = sorted({task.calls(arm["name"]) for task in study.tasks})
    said.append(" or ".join(map(str, calls)) + (" call" if calls == [1] else " calls"))
    return clean(", ".join(said))


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _base(model: str) -> str:
    """A model's id; of a folder its name."""
    path = PurePath(model)
    return path.name if path.is_absolute() else model
