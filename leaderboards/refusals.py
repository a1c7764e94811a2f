"""Results that must not be published as they are, and what to do about each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isclose, isfinite
from typing import Any

from btrans_eval.compare.join import Arm, JoinedTask
from btrans_eval.errors import UserError
from btrans_eval.leaderboards.options import ExportOptions, is_hub_id
from btrans_eval.results import AnsweredQuestion


def refuse_insisted(comparison: Mapping[str, Any]) -> None:
    """A comparison of arms that were not asked the same, even where the user insisted."""
    warnings = [f"{task['name']}: {each}" for task in comparison["tasks"]
                for each in task["warnings"]]  # fmt: skip
    if warnings or comparison["insisted"]:
        reason = warnings[0] if warnings else "it was made with --insist"
        raise UserError(
            f"export: the arms were not asked the same ({reason}); compare runs of the same "
            "questions without --insist"
        )


def refuse_ids(population: Arm, options: ExportOptions) -> None:
    """A population under the id of the model that it was made from, or another base model."""
    model = _model(population)
    if options.model_id.lower() == model.lower():
        raise UserError(
            f"model-id: {options.model_id} is the stock model that this population was made from; "
            "give the population an id of its own"
        )
    if is_hub_id(model) and model.lower() != options.base_model_id.lower():
        raise UserError(
            f"base-model-id: the population was made from {model}, not {options.base_model_id}; "
            f"type --base-model-id {model}"
        )


def on_trust(population: Arm, options: ExportOptions) -> str | None:
    """A line where the results name a folder, which cannot tell the base model's id."""
    model = _model(population)
    if is_hub_id(model):
        return None
    return (
        f"base-model-id: the results call the model {model or 'nothing'}; that it is "
        f"{options.base_model_id} is taken on your word"
    )


def _model(population: Arm) -> str:
    return str(population.run.results.get("model_name") or "")


def refuse_run(arm: Arm) -> None:
    """A run of part of the questions, or with questions that could not be scored."""
    limit = arm.run.config.get("limit")
    if limit is not None:
        raise UserError(
            f"export: {arm.name} was run with --limit {limit:g}; run it again on all questions "
            "(with store= nothing is generated twice)"
        )
    failed = {task: count for task, count in arm.run.failed_questions.items() if count}
    if failed:
        said = ", ".join(f"{count} of {task}" for task, count in failed.items())
        raise UserError(
            f"export: {arm.name} has questions that could not be scored ({said}); mend the cause "
            "and run it again (with store= nothing is generated twice)"
        )


def refuse_partial(task: JoinedTask, arms: Sequence[Arm], compared: int) -> None:
    """A task of which rows are missing, or whose rows are not the same in both arms."""
    for arm in arms:
        counts = [arm.run.results.get("n-samples", {}).get(part) for part in task.parts]
        if None in counts:
            raise UserError(
                f"{task.name}: the results of {arm.name} do not say how many rows it has; run it "
                "again with this release of the harness"
            )
        original = sum(count["original"] for count in counts if count)
        effective = sum(count["effective"] for count in counts if count)
        used = min(effective, len(task.documents), compared)
        if used < original:
            raise UserError(
                f"{task.name}: {arm.name} answered {used} of {original} questions; run it again "
                "on all, without --limit or --samples"
            )
    for part in task.parts:
        hashes = [(arm.run.results.get("task_hashes") or {}).get(part) for arm in arms]
        if None not in hashes and len(set(hashes)) > 1:
            said = ", ".join(f"{arm.name}: {one}" for arm, one in zip(arms, hashes, strict=True))
            raise UserError(
                f"{task.name}: the document hashes of {part} differ ({said}); run the arms on the "
                "same rows and prompts"
            )


def refuse_unscored(task: str, arm: str, questions: Sequence[AnsweredQuestion]) -> None:
    """Responses whose score is missing or no number."""
    for question in questions:
        for one in question.responses:
            if one.score is None or not isfinite(one.score):
                raise UserError(
                    f"{task}: row {question.doc_id} of {arm} has a response with score "
                    f"{one.score}; mend the metric and run it again"
                )


def refuse_other(what: str, recorded: Mapping[str, Any], counted: float) -> None:
    """A number of comparison.json that the responses do not give again."""
    value = recorded["estimate"]
    if not isinstance(value, (int, float)) or not isfinite(value):
        raise UserError(f"{what}: is missing or no number ({value}); run btrans-eval compare again")
    if not isclose(value, counted, rel_tol=0, abs_tol=1e-9):
        raise UserError(
            f"{what}: comparison.json says {value:.6g} and the responses say {counted:.6g}; run "
            "btrans-eval compare again"
        )


def is_share(arms: Sequence[Arm], task: JoinedTask) -> bool:
    """Whether every score lies in [0, 1] and more is better."""
    scores = [one.score for questions in task.arms.values() for question in questions
              for one in question.responses]  # fmt: skip
    if not all(score is not None and 0 <= score <= 1 for score in scores):
        return False
    for part in task.parts:
        directions = arms[0].run.results.get("higher_is_better", {}).get(part) or {}
        if not directions.get("mean", directions.get(f"{task.metric}:mean", True)):
            return False
    return True
