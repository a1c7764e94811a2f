"""What was trained, asked rows that it was not trained on: the clean model, and the population."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from btrans_eval.compare.arms import run_arms
from btrans_eval.compare.columns import are_shares, have_votes, table_of
from btrans_eval.compare.join import as_arm, join
from btrans_eval.compare.plan import ArmPlan, Plan, TaskPlan
from btrans_eval.results import load
from btrans_eval.training.learned_noise import MEANS, PRIOR
from btrans_eval.training.plan import TrainPlan
from btrans_eval.training.run import ADAPTER, RUN

UNTRAINED = "untrained"
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Evaluated:
    """What one adapter, or the model without one, scores on one task.

    Attributes:
        clean: the model without noise, greedy, of each question; where biases were learned, with
            their means.
        members: mean@K, and maj@K and pass@K where the task has them, of each question.
    """

    clean: Values
    members: Mapping[str, Values]

    @property
    def measures(self) -> dict[str, Values]:
        """All of them, by name."""
        return {"clean model": self.clean, **self.members}


def evaluate(
    plan: TrainPlan,
    runs: Mapping[tuple[str, int], Path],
    model_args: Mapping[str, Any],
    folder: Path,
) -> dict[str, dict[tuple[str, int], Evaluated]]:
    """Run the model without an adapter and with each, through the code of ``compare``.

    Args:
        runs: the folder of each finished run, by arm and seed.
        model_args: of the model that was trained.
        folder: where results and responses go; what is there is not generated again.

    Returns:
        by task, what each scores; the untrained model under (UNTRAINED, 0).
    """  # fmt: skip
    noise = _noise(plan, runs)
    adapters: dict[tuple[str, int], dict[str, Any]] = {(UNTRAINED, 0): {}}
    adapters |= {key: {"peft": str((path / ADAPTER).resolve())} for key, path in runs.items()}
    arms = [
        arm
        for key, extra in adapters.items()
        for arm in (
            _clean(key, _learned(plan, key, runs, MEANS), extra),
            _members(key, _learned(plan, key, runs, PRIOR) or noise, extra),
        )
    ]
    asked = plan.evaluation
    limits = {} if asked.max_gen_toks is None else {"max_gen_toks": asked.max_gen_toks}
    compared = Plan(
        tasks=tuple(TaskPlan(task, asked.limit, limits) for task in asked.tasks or (plan.task,)),
        arms=tuple(arms),
        model_args=dict(model_args),
        repeats=asked.members,
        batch_size=asked.batch_size,
        num_fewshot=plan.num_fewshot,
        apply_chat_template=plan.apply_chat_template,
        fewshot_as_multiturn=bool(plan.apply_chat_template),
        system_instruction=plan.system_instruction,
        include_path=plan.include_path,
    )
    folders = run_arms(compared, folder, folder / "responses.sqlite")
    joined = join([as_arm(load(path, name)) for name, path in folders.items()])
    return {task.name: {key: _of(task, key) for key in adapters} for task in joined}


def _name(key: tuple[str, int], how: str) -> str:
    arm, seed = key
    return f"{arm}, {how}" if arm == UNTRAINED else f"{arm}, seed {seed}, {how}"


def _members(key: tuple[str, int], noise: dict[str, Any], extra: dict[str, Any]) -> ArmPlan:
    return ArmPlan(_name(key, "members"), "population", None, noise, extra)


def _clean(key: tuple[str, int], means: dict[str, Any] | None, extra: dict[str, Any]) -> ArmPlan:
    """The model without noise; with the means of its biases, where they were learned."""
    kind = "stock" if means is None else "population"
    return ArmPlan(_name(key, "clean"), kind, None, means or {}, extra)


def _learned(
    plan: TrainPlan, key: tuple[str, int], runs: Mapping[tuple[str, int], Path], name: str
) -> dict[str, Any] | None:
    """Noise that a run has learned, in the layers that it has; None where none was learned."""
    file = runs[key] / ADAPTER / name if key in runs else None
    if file is None or not file.is_file():
        return None
    arm = next(arm for arm in plan.arms if arm.name == key[0])
    where = {"norms": arm.noise["norms"]} if "norms" in arm.noise else {}
    return {"seed": plan.evaluation.seed, "prior": str(file.resolve()), **where}


def _noise(plan: TrainPlan, runs: Mapping[tuple[str, int], Path]) -> dict[str, Any]:
    """Of the members that evaluate, with sigma as it was where the arm began."""
    found = plan.evaluated_noise
    trained = next((arm for arm in plan.arms if arm.kind == "population"), None)
    if trained is None or "sigma" in found:
        return found
    path = next(path for (arm, _), path in runs.items() if arm == trained.name)
    sigma = json.loads((path / RUN).read_text(encoding="utf-8"))["sigma"]
    return {**found, **({} if sigma is None else {"sigma": sigma})}


def _of(task: Any, key: tuple[str, int]) -> Evaluated:
    clean, members = task.arms[_name(key, "clean")], task.arms[_name(key, "members")]
    everything = [question for of_arm in task.arms.values() for question in of_arm]
    up = task.higher_is_better
    votes = have_votes(everything, up)
    binary = (
        up
        and are_shares(everything)
        and all(one.score in (0, 1) for each in everything for one in each.responses)
    )
    k = len(members[0].responses)
    columns = table_of(members, votes, binary, up)
    found = {"members' mean": columns["mean"]}
    for name, said in ((f"maj@{k}", f"vote of {k}"), (f"pass@{k}", f"any of {k} right")):
        if name in columns:
            found[said] = columns[name]
    return Evaluated(table_of(clean, votes, binary, up)["mean"], found)
