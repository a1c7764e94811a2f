"""What a population is made of, checked before anything is loaded."""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from btrans_eval.errors import UserError

PRIORS = ("isotropic", "scaled")
NOISES = ("sequence", "token")
AGGREGATES = ("vote", "first")
EXTRACTORS = ("letter", "integer", "number", "latex", "text")
DEFAULT_MEMBERS = 8


@dataclass(frozen=True)
class PopulationConfig:
    """Our own model arguments of ``btrans-hf``, as the user gave them.

    Raises:
        UserError: on a value outside its range.
    """

    sigma: float
    """Standard deviation of the noise, at least 0."""
    members: int | None = None
    """Number of members K, at least 1; None: the task's repeats, or 8 where it has none."""
    mu: float = 0.0
    """Mean of the noise."""
    prior: str = "isotropic"
    """One of PRIORS: the same sigma in every layer, or scaled by the layer's gain."""
    noise: str = "sequence"
    """One of NOISES: one draw for a whole sequence, or a new one at every token."""
    norms: str = "all"
    """Which layers: all, residual, or a regular expression on their names."""
    seed: int = 0
    """Seed of the population, at least 0."""
    aggregate: str = "vote"
    """One of AGGREGATES: how one response is chosen where a task asks for one."""
    extractor: str | None = None
    """One of EXTRACTORS to vote on; None: by the gold answer's kind."""
    responses: str | None = None
    """JSON-lines file that every member's response is written to."""
    store: str | None = None
    """SQLite file that responses are kept in, and taken from where they are there."""

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "sigma", check_number("sigma", self.sigma, minimum=0.0))
        set_field(self, "mu", check_number("mu", self.mu))
        if self.members is not None:
            set_field(self, "members", check_whole("members", self.members, minimum=1))
        set_field(self, "seed", check_whole("seed", self.seed, minimum=0))
        check_choice("prior", self.prior, PRIORS)
        check_choice("noise", self.noise, NOISES)
        check_choice("aggregate", self.aggregate, AGGREGATES)
        if self.extractor is not None:
            check_choice("extractor", self.extractor, EXTRACTORS)
        for name in ("responses", "store"):
            if getattr(self, name) is not None:
                set_field(self, name, os.path.expanduser(str(getattr(self, name))))
        set_field(self, "norms", str(self.norms))
        if self.norms not in ("all", "residual"):
            check_pattern("norms", self.norms)

    @property
    def vote_members(self) -> int:
        """How many members answer a request that wants one response."""
        return 1 if self.aggregate == "first" else self.members or DEFAULT_MEMBERS


OWN_ARGUMENTS = tuple(field.name for field in fields(PopulationConfig))


def split_arguments(
    arguments: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Model arguments as (our own, everybody else's)."""
    own = {name: value for name, value in arguments.items() if name in OWN_ARGUMENTS}
    return own, {name: value for name, value in arguments.items() if name not in own}


def refuse_misspelled(names: Iterable[str], known: Sequence[str]) -> None:
    """Refuse a model argument that is nearly, but not quite, one of ``known``."""
    for name in names:
        if name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
        if near:
            raise UserError(f"{name}: no such model argument; did you mean {near[0]}?")


def check_number(name: str, value: Any, minimum: float = -math.inf) -> float:
    """``value`` as a finite float of at least ``minimum``."""
    rule = "a finite number" + (f" of at least {minimum:g}" if minimum > -math.inf else "")
    try:
        number = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or number < minimum:
        raise UserError(f"{name}: must be {rule}, got {value!r}; for example {name}=0.01")
    return number


def check_whole(name: str, value: Any, minimum: int) -> int:
    """``value`` as a whole number of at least ``minimum``."""
    try:
        whole = value.__index__() if not isinstance(value, bool) else None
    except AttributeError:
        whole = None
    if whole is None or whole < minimum:
        raise UserError(
            f"{name}: must be a whole number of at least {minimum}, got {value!r}; "
            f"for example {name}={max(minimum, 8)}"
        )
    return int(whole)


def check_choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """``value`` if it is one of ``choices``."""
    if value not in choices:
        near = difflib.get_close_matches(str(value), choices, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"{name}: must be one of {', '.join(choices)}, got {value!r}{hint}")
    return str(value)


def check_pattern(name: str, value: str) -> re.Pattern[str]:
    """``value`` compiled as a regular expression."""
    try:
        return re.compile(value)
    except re.error as error:
        raise UserError(
            f"{name}: must be all, residual or a regular expression, but {value!r} does not "
            f"compile ({error}); on the command line it must hold no comma"
        ) from None
