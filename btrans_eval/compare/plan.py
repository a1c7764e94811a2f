"""What a comparison is to do: tasks, arms and settings, from flags or from a YAML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from btrans_eval.compare.folders import check_apart, folder_of
from btrans_eval.config import (
    DEFAULT_MEMBERS,
    PopulationConfig,
    check_number,
    check_whole,
    refuse_misspelled,
)
from btrans_eval.demo import with_noise
from btrans_eval.errors import UserError
from btrans_eval.harness.pairs import read_entries

ARM_KINDS = ("stock", "population")
DEFAULT_ARMS = "stock,stock@T,population,population@T"
_ARM_ARGUMENTS = (
    "sigma", "kl", "mu", "prior", "noise", "noise_from", "norms", "seed", "members",
)  # fmt: skip
_ALL_ARMS = ("aggregate", "extractor", "batching", "stop")  # what all have alike


@dataclass(frozen=True)
class ArmPlan:
    """One arm to run.

    Attributes:
        name: in tables.
        kind: stock (no noise) or population.
        temperature: tokens are sampled at it; None: greedy.
        own: our model arguments for this arm, beside the comparison's own.
        model_args: other model arguments, such as ``peft``; the model is loaded anew for them.
    """

    name: str
    kind: str
    temperature: float | None = None
    own: Mapping[str, Any] = field(default_factory=dict)
    model_args: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """Name of the arm's folder."""
        return folder_of(self.name)


@dataclass(frozen=True)
class TaskPlan:
    """One task to run.

    Attributes:
        task: name of a task or group of the harness.
        limit: only the first rows; None: all.
        gen_kwargs: generation arguments of this task, for all arms.
    """

    task: str
    limit: int | None = None
    gen_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.limit is not None:
            check_whole("limit", self.limit, minimum=1)


@dataclass(frozen=True)
class Plan:
    """A comparison.

    Attributes:
        tasks: what is asked.
        arms: who answers.
        model_args: model arguments of all arms.
        repeats: responses per question, K.
        batch_size: as the harness's.
        seeds: populations are run once for each.
        num_fewshot, apply_chat_template, fewshot_as_multiturn, system_instruction,
            include_path: as the harness's flags.
        encoder: sentence encoder for diversity columns of all tasks, or None.
    """

    tasks: tuple[TaskPlan, ...]
    arms: tuple[ArmPlan, ...]
    model_args: Mapping[str, Any]
    repeats: int = DEFAULT_MEMBERS
    batch_size: int | str = 8
    seeds: tuple[int, ...] = (0,)
    num_fewshot: int | None = None
    apply_chat_template: bool | str = False
    fewshot_as_multiturn: bool = False
    system_instruction: str | None = None
    include_path: str | None = None
    encoder: str | None = None

    def __post_init__(self) -> None:
        check_whole("repeats", self.repeats, minimum=2)
        for name in ("tasks", "arms", "seeds"):
            if not getattr(self, name):
                raise UserError(f"{name}: must name at least one, got none")
        check_apart(self.arms)
        for arm in self.arms:
            self.population(arm)  # checks the arguments
        for name in ("shard", "from_store"):
            if any(name in self.loading(arm) for arm in self.arms):
                raise UserError(f"{name}: goes with btrans-eval run, got compare; leave it out")

    def population(self, arm: ArmPlan, store: str | None = None) -> PopulationConfig:
        """Our own model arguments of an arm, checked."""
        given = {n: v for n, v in self.model_args.items() if n in _ARM_ARGUMENTS}
        amounts = ("sigma", "kl")  # an arm with one of them means it in place of the other
        if any(name in arm.own for name in amounts):
            given = {name: value for name, value in given.items() if name not in amounts}
        own = {**given, **arm.own}
        if arm.kind == "stock":
            own = {"sigma": 0.0, "mu": 0.0, "seed": own.get("seed", 0)}
        elif "pretrained" not in self.loading(arm):
            own = with_noise(own)
        alike = {name: self.loading(arm)[name] for name in _ALL_ARMS if name in self.loading(arm)}
        return PopulationConfig(**own, **alike, store=store)

    def loading(self, arm: ArmPlan) -> dict[str, Any]:
        """The arguments that the arm's model is loaded with."""
        others = {n: v for n, v in self.model_args.items() if n not in _ARM_ARGUMENTS}
        return {**others, **arm.model_args}

    def resolved(self) -> str:
        """The comparison as YAML, which gives the same comparison when it is read."""
        whole = asdict(self)
        for entry in ("arms", "tasks"):
            whole[entry] = [
                {name: value for name, value in one.items() if value not in ({}, None)}
                for one in whole[entry]
            ]
        plain = {name: _plain(value) for name, value in whole.items() if value is not None}
        return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value


def parse_arms(text: str, temperature: float, seeds: Sequence[int]) -> tuple[ArmPlan, ...]:
    """Arms from ``stock,stock@T,population@0.7:kl=0.1``; a leading ``+`` adds to the default.

    Args:
        text: arms separated by commas, each KIND[@TEMPERATURE][:name=value]…, T standing for
            ``temperature``.
        temperature: of ``@T``.
        seeds: populations are repeated with each of them.
    """
    words = text.removeprefix("+").split(",")
    if text.startswith("+"):
        words = [*DEFAULT_ARMS.split(","), *words]
    arms = [_parse_arm(word.strip(), temperature) for word in words if word.strip()]
    return with_seeds(arms, seeds)


def _parse_arm(word: str, temperature: float) -> ArmPlan:
    head, *settings = word.split(":")
    kind, at, degree = head.partition("@")
    if kind not in ARM_KINDS:
        raise UserError(
            f"arms: must be stock or population, then @TEMPERATURE and :name=value as wanted, got "
            f"{word!r}; for example population@0.7:kl=0.1"
        )
    own: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise UserError(f"arms: {word!r} needs name=value after ':', got {setting!r}")
        parsed = yaml.safe_load(value)
        (own if name in _ARM_ARGUMENTS else others)[name] = parsed
    refuse_misspelled(others, _ARM_ARGUMENTS)
    warm = None
    if at:
        warm = temperature if degree == "T" else check_number("temperature", degree, minimum=0.0)
    return make_arm(kind, warm, own, others)


def make_arm(
    kind: str,
    temperature: float | None,
    own: Mapping[str, Any],
    model_args: Mapping[str, Any],
    name: str | None = None,
) -> ArmPlan:
    """An arm, named by what sets it apart."""
    if temperature is not None and temperature <= 0:
        raise UserError(
            f"temperature: must be above 0, got {temperature:g}; leave @… out for greedy decoding"
        )
    how = "greedy" if temperature is None else f"T={temperature:g}"
    apart = [f"{key}={value}" for key, value in {**own, **model_args}.items()]
    return ArmPlan(name or " ".join([kind, how, *apart]), kind, temperature, own, model_args)


def with_seeds(arms: Sequence[ArmPlan], seeds: Sequence[int]) -> tuple[ArmPlan, ...]:
    """Every population once for each seed; the stock model once."""
    if len(seeds) == 1:
        first = {"seed": seeds[0]} if seeds[0] else {}
        return tuple(
            ArmPlan(arm.name, arm.kind, arm.temperature, {**first, **arm.own}, arm.model_args)
            for arm in arms
        )
    found: list[ArmPlan] = []
    for arm in arms:
        if arm.kind == "stock":
            found.append(arm)
            continue
        for seed in seeds:
            own = {**arm.own, "seed": seed}
            name = f"{arm.name} seed {seed}"
            found.append(ArmPlan(name, arm.kind, arm.temperature, own, arm.model_args))
    return tuple(found)


def read(path: Path) -> Plan:
    """A comparison from a YAML file.

    Raises:
        UserError: naming the file and the entry that is wrong.
    """
    given = read_entries(path, "compare", "tasks:, arms: and model_args:")
    known = [each.name for each in fields(Plan)] + ["temperature"]
    for name in given:
        if name not in known:
            refuse_misspelled([name], known, f"entry, in {path}")
            raise UserError(f"compare: {path} has {name!r}; it may have {', '.join(known)}")
    temperature = check_number("temperature", given.pop("temperature", 0.7), minimum=0.0)
    seeds = tuple(given.get("seeds", (0,)))
    arms = given.pop("arms", DEFAULT_ARMS)
    if isinstance(arms, dict):
        raise UserError(
            f"compare: {path}: arms must be a list, got names {', '.join(map(str, arms))}"
        )
    if isinstance(arms, str):
        plans = parse_arms(arms, temperature, seeds)
    else:
        listed = [_arm_of(arm, temperature, path) for arm in arms]
        named = any("seed" in arm.own for arm in listed)  # as `resolved` writes them
        plans = tuple(listed) if named else with_seeds(listed, seeds)
    tasks = tuple(_task_of(task, path) for task in given.pop("tasks", ()))
    model_args = given.pop("model_args", {})
    return Plan(tasks, plans, model_args, **{**given, "seeds": seeds})


def _arm_of(arm: Any, temperature: float, path: Path) -> ArmPlan:
    if isinstance(arm, str):
        return _parse_arm(arm, temperature)
    known = [each.name for each in fields(ArmPlan)]
    if isinstance(arm, dict):
        refuse_misspelled(arm, known, f"entry of an arm, in {path}")
    if not isinstance(arm, dict) or not set(arm) <= set(known) or arm.get("kind") not in ARM_KINDS:
        raise UserError(
            f"compare: {path}: an arm must be such as population@0.7:kl=0.1, or have kind "
            f"({' or '.join(ARM_KINDS)}) and any of {', '.join(known)}; got {arm!r}"
        )
    own, model_args = arm.get("own", {}), arm.get("model_args", {})
    made = make_arm(arm["kind"], arm.get("temperature"), own, model_args, arm.get("name"))
    refuse_misspelled(made.own, _ARM_ARGUMENTS, f"argument of an arm, in {path}")
    for name in made.own:
        if name not in _ARM_ARGUMENTS:
            raise UserError(
                f"compare: {path}: own: of an arm may have {', '.join(_ARM_ARGUMENTS)}; "
                f"got {name!r}"
            )
    return made


def _task_of(task: Any, path: Path) -> TaskPlan:
    if isinstance(task, str):
        return TaskPlan(task)
    known = [each.name for each in fields(TaskPlan)]
    if isinstance(task, dict):
        refuse_misspelled(task, known, f"entry of a task, in {path}")
    if not isinstance(task, dict) or "task" not in task or not set(task) <= set(known):
        raise UserError(
            f"compare: {path}: a task must be a name, or have task and any of {', '.join(known)}; "
            f"got {task!r}"
        )
    return TaskPlan(**task)
