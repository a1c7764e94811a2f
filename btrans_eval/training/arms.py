"""One way to train, and how users write it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from btrans_eval.compare.folders import folder_of
from btrans_eval.compare.plan import ARM_KINDS
from btrans_eval.config import PRIORS, PopulationConfig, check_number, refuse_misspelled
from btrans_eval.errors import UserError
from btrans_eval.training.rollouts import Rollouts

DEFAULT_ARMS = "stock@1.0,population@1.0"
_POPULATION = ("sigma", "kl", "mu", "prior", "noise", "norms")
_ROLLOUTS = tuple(each.name for each in fields(Rollouts))
_ELSEWHERE = {
    **dict.fromkeys(_POPULATION, "write it in the arm, such as population@1.0:{}={}"),
    "noise_from": "leave it out, since training has noise from the prompt on",
    "seed": "write it as seeds: [{1}], or evaluation: {{seed: {1}}}",
    "members": "write it as evaluation: {{members: {1}}}",
}
"""What of the noise is no model argument of a study, and where it is written."""


@dataclass(frozen=True)
class TrainArm:
    """One way to train.

    Attributes:
        name: in tables.
        kind: stock (no noise) or population.
        temperature: tokens are sampled at it.
        noise: of the population; arguments of `PopulationConfig`.
        rollouts: how rollouts are members.
    """

    name: str
    kind: str
    temperature: float = 1.0
    noise: Mapping[str, Any] = field(default_factory=dict)
    rollouts: Rollouts = field(default_factory=Rollouts)

    @property
    def folder(self) -> str:
        """Name of the arm's folder."""
        return folder_of(self.name)

    def population(self, seed: int) -> PopulationConfig:
        """The population that rolls out in training with this seed, checked."""
        given = {"sigma": 0.0} if self.kind == "stock" else dict(self.noise)
        return PopulationConfig(**given, seed=seed)


def parse_arms(text: str) -> tuple[TrainArm, ...]:
    """Arms from ``stock@1.0,population@1.0:sigma=0.01:update=clean``.

    Args:
        text: arms separated by commas, each KIND[@TEMPERATURE][:name=value]….
    """
    return tuple(_parse_arm(word.strip()) for word in text.split(",") if word.strip())


def _parse_arm(word: str) -> TrainArm:
    head, *settings = word.split(":")
    kind, at, degree = head.partition("@")
    given: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise UserError(f"arms: {word!r} needs name=value after ':', got {setting!r}")
        given[name] = _number(value)
    return make_arm(kind, _number(degree) if at else 1.0, given, where=word)


def _number(text: str) -> Any:
    try:
        return float(text) if re.search(r"[.eE]", text) else int(text)
    except ValueError:
        return text


def make_arm(
    kind: str, temperature: Any, given: Mapping[str, Any], name: str | None = None, where: str = ""
) -> TrainArm:
    """An arm, named by what sets it apart.

    Args:
        given: arguments of the noise and of `Rollouts`.
        where: how the user wrote it.
    """
    if kind not in ARM_KINDS:
        raise UserError(
            f"arms: must be stock or population, then @TEMPERATURE and :name=value as wanted, got "
            f"{where or kind!r}; for example population@1.0:kl=0.05:update=clean"
        )
    known = (*_POPULATION, *_ROLLOUTS)
    refuse_misspelled(given, known, "argument of an arm")
    for unknown in [each for each in given if each not in known]:
        raise UserError(f"arms: an arm may have {', '.join(known)}, got {unknown}")
    noise = {n: v for n, v in given.items() if n in _POPULATION}
    if kind == "stock" and given:
        raise UserError(
            f"arms: stock has no noise, got {next(iter(given))}; write population@1.0:…"
        )
    degree = check_number("temperature", temperature, minimum=0.0)
    if degree <= 0:
        raise UserError(f"temperature: must be above 0, got {degree:g}: rollouts must differ")
    given = {n: "+".join(v) if n == "learn" and isinstance(v, list) else v
             for n, v in given.items()}  # fmt: skip
    rollouts = Rollouts(**{n: v for n, v in given.items() if n in _ROLLOUTS})
    apart = [f"{key}={value}" for key, value in given.items()]
    return TrainArm(
        name or " ".join([kind, f"T={degree:g}", *apart]), kind, degree, noise, rollouts
    )


def made_of(arm: Any, where: str) -> TrainArm:
    """An arm as a YAML file has it: a word, or its entries."""
    if isinstance(arm, str):
        return _parse_arm(arm)
    refuse_unknown(arm, TrainArm, f" of an arm{where}")
    rollouts = arm.get("rollouts", {})
    default = asdict(Rollouts())  # as `resolved` writes them, all
    apart = {name: value for name, value in rollouts.items() if default.get(name) != value}
    return make_arm(
        str(arm.get("kind")),
        arm.get("temperature", 1.0),
        {**arm.get("noise", {}), **apart},
        arm.get("name"),
    )


def check_model_args(given: Any) -> None:
    """Refuse noise among the model's arguments: training would not have it, evaluation would."""
    if not isinstance(given, Mapping):
        raise UserError(f"model_args: must hold name: value, got {given!r}")
    for name, value in given.items():
        if name in _ELSEWHERE:
            raise UserError(
                f"model_args: {name} is not of the model that is trained, got {name}={value}; "
                + _ELSEWHERE[name].format(name, value)
            )


def evaluated_noise(
    arms: Sequence[TrainArm], seed: int, sigma: float | str | None
) -> dict[str, Any]:
    """Of the members that evaluate: the first population arm's, with a seed of their own.

    Args:
        sigma: in place of the arm's; None: the arm's, which is left out, since it was measured
            where the arm began.
    """
    trained = next((arm for arm in arms if arm.kind == "population"), None)
    found: dict[str, Any] = {"seed": seed}
    if trained is None:
        return {**found, "sigma": "auto" if sigma is None else sigma}
    found |= {n: v for n, v in trained.noise.items() if n not in ("sigma", "kl")}
    if sigma is None:
        return found
    if found.get("prior", PRIORS[0]) not in PRIORS:
        del found["prior"]  # a file has a sigma of its own
    return {**found, "sigma": sigma}


def refuse_unknown(given: Any, kind: Any, where: str) -> None:
    known = [each.name for each in fields(kind)]
    if not isinstance(given, Mapping):
        raise UserError(f"train: must hold name: value, got {given!r}{where}")
    refuse_misspelled(given, known, f"entry{where}")
    for name in given:
        if name not in known:
            raise UserError(f"train: no entry {name!r}{where}; there are {', '.join(known)}")
