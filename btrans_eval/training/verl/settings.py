"""Which population a run of verl has, and which member each of its rows is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from btrans_eval.config import (
    check_amount,
    check_choice,
    check_prior,
    check_whole,
    refuse_misspelled,
)
from btrans_eval.errors import UserError
from btrans_eval.training.rollouts import MEMBERS, Rollouts

FIRST = "btrans_first"
"""Field of a row: the member of its prompt's rollout 0."""
SESSION = "session_id"
"""Field of a row, verl's own: which rollout of its prompt it is, from 0."""


@dataclass(frozen=True)
class Settings:
    """What ``actor_rollout_ref.model.override_config.btrans`` says, as ``sigma=0.01,seed=0``.

    Raises:
        UserError: on a value outside its range.
    """

    sigma: float | None = None
    """Standard deviation of the noise, at least 0; None only with a prior of a file."""
    mu: float = 0.0
    """Mean of the noise."""
    prior: str = "isotropic"
    """``isotropic``, or a .safetensors file as ``Population.save`` writes: the others need weights,
    which are sharded here."""
    norms: str = "all"
    """Which layers: all, residual, or a regular expression on their names."""
    seed: int = 0
    """Seed of the population."""
    members: str = "fresh"
    """As of `Rollouts`: every rollout of the run a member of its own, or the same in each group."""
    check_every: int = 1
    """Steps between two checks that the update sees what generated; 0: never."""

    def __post_init__(self) -> None:
        if check_prior(self.prior) in ("scaled", "balanced"):
            raise UserError(
                f"prior: must be isotropic or a .safetensors file with verl, got {self.prior}: the "
                "weights are sharded; write one with Population.save and name it"
            )
        check_amount(self.sigma, self.mu, check_prior(self.prior))
        check_choice("members", self.members, MEMBERS)
        check_whole("seed", self.seed, minimum=0)
        check_whole("check_every", self.check_every, minimum=0)

    @property
    def population(self) -> dict[str, Any]:
        """Arguments of `Population`."""
        names = ("sigma", "mu", "prior", "norms", "seed")
        return {name: getattr(self, name) for name in names}


def parse(text: object) -> Settings:
    """Settings from ``name=value,name=value``.

    Raises:
        UserError: if it is no such text, or as `Settings`.
    """
    where = "actor_rollout_ref.model.override_config.btrans"
    if not isinstance(text, str) or not text.strip():
        raise UserError(
            f"{where}: must say which population, got {text!r}; for example 'sigma=0.01,seed=0'"
        )
    known = [each.name for each in fields(Settings)]
    given: dict[str, Any] = {}
    for entry in text.split(","):
        name, equals, value = (part.strip() for part in entry.partition("="))
        refuse_misspelled([name], known, "entry of btrans")
        if not equals or name not in known:
            raise UserError(f"{where}: holds name=value of {', '.join(known)}, got {entry!r}")
        given[name] = _value(value)
    return Settings(**given)


def _value(text: str) -> Any:
    try:
        return float(text) if re.search(r"[.eE]", text) else int(text)
    except ValueError:
        return text


@dataclass
class PromptNumbers:
    """Numbers the prompts of a run, and by them the members of their rollouts.

    A run that goes on from a checkpoint numbers as if it had not stopped, since the step is in it.

    Attributes:
        prompts: of a step.
        group: rollouts of a prompt.
        rollouts: how they are members.
    """

    prompts: int
    group: int
    rollouts: Rollouts
    _step: int = field(default=0, init=False)
    _taken: int = field(default=0, init=False)

    def first(self, step: int, count: int) -> list[int]:
        """The members of rollout 0 of each of the next ``count`` prompts of a step, from 1.

        Raises:
            UserError: if a step asks for more prompts than it has, whose numbers are the next's.
        """
        if step != self._step:
            self._step, self._taken = step, 0
        taken, self._taken = self._taken, self._taken + count
        if self._taken > self.prompts:
            raise UserError(
                f"data.train_batch_size: step {step} generates for {self._taken} prompts, but has "
                f"{self.prompts}, and their members would come again; set "
                "trainer.v1.sampler.sync_refill_failed_groups=False"
            )
        before = ((step - 1) * self.prompts + taken) * self.group
        numbered = self.rollouts.numbered(before, count * self.group, self.group)
        return numbered[:: self.group]


def whole_numbers(values: Any) -> list[int]:
    """A field of verl's rows as numbers, whether it came as a tensor, an array or a list."""
    listed: Iterable[Any] = values.tolist() if hasattr(values, "tolist") else values
    return [int(each) for each in listed]


def members_of(rows: Mapping[str, Any], names: Iterable[str], members: str) -> Sequence[int]:
    """The member of each row of a batch, by its fields; the fields follow it wherever it goes.

    Args:
        rows: fields by name.
        names: which there are.
        members: as of `Rollouts`.

    Raises:
        UserError: if the rows do not tell.
    """
    there = set(names)
    if SESSION not in there:
        raise UserError(
            f"verl: rows must have the field {SESSION}, which only its newer trainer gives them; "
            "set trainer.use_v1=True"
        )
    sessions = whole_numbers(rows[SESSION])
    if members == "fixed":
        return sessions
    if FIRST not in there:
        raise UserError(
            f"verl: rows must have the field {FIRST} with members=fresh; set actor_rollout_ref."
            "rollout.agent.agent_loop_manager_class="
            "btrans_eval.training.verl.agents.NumberedAgentLoopManager"
        )
    firsts = whole_numbers(rows[FIRST])
    return [first + session for first, session in zip(firsts, sessions, strict=True)]
