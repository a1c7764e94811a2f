"""What must be known of a number beside its value, in words and as name: value."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from btrans_eval import __version__
from btrans_eval.leaderboards.evidence import Evidence, Side, TaskEvidence
from btrans_eval.leaderboards.numbers import CONFIDENCE, Number

Scalar = str | int | float | bool
TIES = "ties share the credit equally"
INVALID = (
    "a response without an answer does not vote and scores what the task's metric gives it (0 in "
    "btrans tasks); a vote without any answer scores 0"
)
_NOISE = (
    "sigma", "mu", "prior", "noise", "noise_from", "norms", "norms_matched", "seed",
)  # fmt: skip
_SCHEMES = ("noise_scheme", "sampling_scheme", "answers_scheme")


def settings(task: TaskEvidence, side: Side, evidence: Evidence) -> dict[str, Scalar]:
    """Everything that the numbers of one side depend on; nothing that is unknown."""
    run, used = side.arm.run, side.arm.run.population or {}
    config = run.config
    found: dict[str, Any] = {
        "responses_per_question": task.calls,
        "questions": len(task.joined.documents),
        "source_of_responses": source(task, side),
        "members": member_seeds(task, side),
        **{name: used.get(name) for name in _NOISE if side.is_population},
        **sampling(task, side),
        "tie_rule": TIES,
        "invalid_answer_rule": INVALID,
        "metric": task.joined.metric,
        "answers_read_as": ", ".join(_answers(task, side)),
        "task": task.name,
        "task_version": _of_parts(task, run.results.get("versions", {})),
        "num_fewshot": _of_parts(task, run.results.get("n-shot", {})),
        "task_hash": _of_parts(task, run.results.get("task_hashes") or {}),
        "chat_template_sha": run.results.get("chat_template_sha"),
        "system_instruction_sha": run.results.get("system_instruction_sha"),
        "model_type": config.get("model"),
        "model_sha": config.get("model_sha") or None,
        "model_revision": config.get("model_revision"),
        "model_dtype": config.get("model_dtype"),
        **versions(side),
        **{name: used.get(name) for name in _SCHEMES},
        **{name: config.get(name) for name in ("random_seed", "numpy_seed", "torch_seed")},
        "arm": side.arm.name,
        "arms_in_the_comparison": ", ".join(evidence.arms),
    }
    return {name: value for name, value in found.items() if value not in (None, "")}


def of_calibration(number: Number) -> dict[str, Scalar]:
    """What a number of how sure a vote is depends on beside the vote; nothing of others."""
    if not number.lower_is_better:
        return {}
    said: dict[str, Scalar] = {"confidence": CONFIDENCE, "questions": number.questions}
    return said if number.bins is None else {**said, "bins": number.bins}


def versions(side: Side) -> dict[str, Scalar | None]:
    """Releases that the numbers were made with."""
    results = side.arm.run.results
    used = side.arm.run.population or {}
    return {
        "btrans_eval_version": used.get("version"),
        "exported_by_btrans_eval": __version__,
        "lm_eval_version": results.get("lm_eval_version"),
        "transformers_version": results.get("transformers_version"),
    }


def sampling(task: TaskEvidence, side: Side) -> dict[str, Scalar | None]:
    """How tokens were chosen."""
    kwargs = generation(task, side)
    return {
        "do_sample": side.arm.is_sampled,
        "temperature": side.arm.temperature if side.arm.is_sampled else 0.0,
        "top_p": kwargs.get("top_p"),
        "top_k": kwargs.get("top_k"),
        "max_new_tokens": kwargs.get("max_gen_toks"),
    }


def generation(task: TaskEvidence, side: Side) -> Mapping[str, Any]:
    """The generation arguments, of the first part of a group."""
    given = side.arm.run.config.get("gen_kwargs")
    config = side.arm.run.results["configs"].get(task.joined.parts[0], {})
    own = config.get("generation_kwargs") or {}
    return {**own, **(given if isinstance(given, Mapping) else {})}


def member_seeds(task: TaskEvidence, side: Side) -> str | None:
    """Which members answered, so that anyone can draw them again."""
    count = _count(task, side, "members")
    if not side.is_population or count is None:
        return None
    seed = (side.arm.run.population or {}).get("seed")
    return f"0 to {count - 1} of seed {seed}" if count > 1 else f"0 of seed {seed}"


def source(task: TaskEvidence, side: Side) -> str:
    """Where the K responses come from."""
    how = f"sampled at temperature {side.arm.temperature:g}" if side.arm.is_sampled else "greedy"
    if not side.is_population:
        return f"{task.calls} responses of one model, {how}"
    members = _count(task, side, "members") or task.calls
    each = f"{task.calls // members} {how} response{'s' if task.calls > members else ''} each"
    return f"{members} members of a population, {each}"


def population_sentence(task: TaskEvidence, side: Side) -> str:
    """The population in one sentence."""
    used = side.arm.run.population or {}
    return (
        f"{source(task, side)}; B-Trans noise in the normalization layers "
        f"(norms={used.get('norms')}): sigma={used.get('sigma')}, mu={used.get('mu')}, "
        f"prior={used.get('prior')}, noise={used.get('noise')} from the "
        f"{used.get('noise_from', 'prompt')} on, members {member_seeds(task, side)}"
    )


def version_sentence(task: TaskEvidence, side: Side) -> str:
    """The releases and the task, in one sentence."""
    found = {name: value for name, value in versions(side).items() if value is not None}
    used = side.arm.run.population or {}
    shots = _of_parts(task, side.arm.run.results.get("n-shot", {}))
    said = f"btrans-eval {found.get('btrans_eval_version', __version__)}"
    said += f", lm-eval {found.get('lm_eval_version')}"
    said += f", transformers {found.get('transformers_version')}"
    said += f", answers scheme {used.get('answers_scheme')}"
    named = dataset(task)
    rows = " ".join(named.values()) if "path" in named else "of the task itself"
    return f"{said}; task {task.name}, {shots}-shot, rows {rows}"


def day(side: Side) -> str:
    """When the run was made, as YYYY-MM-DD in UTC."""
    return time.strftime("%Y-%m-%d", time.gmtime(timestamp(side)))


def timestamp(side: Side) -> int:
    """When the run was made, in whole seconds of the Unix epoch."""
    return int(float(side.arm.run.results["date"]))


def dataset(task: TaskEvidence) -> dict[str, str]:
    """Path, name and split of the rows as the harness loads them, where all parts agree."""
    configs = [task.population.arm.run.results["configs"].get(part, {}) for part in
               task.joined.parts]  # fmt: skip
    found = {}
    for name, keys in {
        "path": ("dataset_path",),
        "config": ("dataset_name",),
        "split": ("test_split", "validation_split", "training_split"),
    }.items():
        values = {next((each[key] for key in keys if each.get(key)), None) for each in configs}
        if len(values) == 1 and None not in values:
            found[name] = str(values.pop())
    return found


def _answers(task: TaskEvidence, side: Side) -> list[str]:
    used = (side.arm.run.population or {}).get("tasks", {})
    notes = side.arm.run.config.get("btrans_scores", {})
    kinds = {kind for part in task.joined.parts for kind in used.get(part, {}).get("answers", [])}
    said = [str(notes[name]) for part in task.joined.parts for name in sorted(notes)
            if name.startswith(f"votes:{part}:")]  # fmt: skip
    return list(dict.fromkeys(said)) or sorted(kinds)


def _count(task: TaskEvidence, side: Side, name: str) -> int | None:
    used = (side.arm.run.population or {}).get("tasks", {})
    found: int | None = used.get(task.joined.parts[0], {}).get(name)
    return found


def _of_parts(task: TaskEvidence, values: Mapping[str, Any]) -> Scalar | None:
    """The value of the task, or of its parts where it is a group."""
    found = list(dict.fromkeys(str(values[part]) for part in task.joined.parts if part in values))
    return ", ".join(found) or None
