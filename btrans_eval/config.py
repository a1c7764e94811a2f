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

PRIORS = ("isotropic", "scaled", "balanced")
NOISES = ("sequence", "token")
NOISE_STARTS = ("prompt", "generation")
AUTO = "auto"
DEFAULT_KL = 0.05
BATCHINGS = ("refill", "static")
SCHEDULINGS = ("mixed", "member")
AGGREGATES = ("vote", "first")
STOPS = ("none", "exact")
EXTRACTORS = ("letter", "integer", "number", "latex", "text")
DEFAULT_MEMBERS = 8


@dataclass(frozen=True)
class PopulationConfig:
    """Our own model arguments of ``btrans-hf``, as the user gave them.

    Raises:
        UserError: on a value outside its range.
    """

    sigma: float | str | None = None
    """Standard deviation of the noise, at least 0; ``auto``: found from ``kl``. Not given: auto,
    and demo.SIGMA for the demo model; with a prior of a file, which has its own, leave it out."""
    kl: float | None = None
    """Of sigma=auto: how far a member is from the model, KL(model ‖ member) in nats per token,
    above 0. Not given: DEFAULT_KL."""
    members: int | None = None
    """Number of members K, at least 1. Not given: the task's ``repeats``, or DEFAULT_MEMBERS where
    it has none."""
    mu: float = 0.0
    """Mean of the noise, never scaled; must be 0 with sigma=auto."""
    prior: str = "isotropic"
    """One of PRIORS: the same sigma in every layer (the paper), sigma times the root mean square of
    the layer's gain, or such that every layer alone has the same KL. Or a ``.safetensors`` file
    of mu and sigma for each layer and dimension, as ``Population.save`` writes it."""
    noise: str = "sequence"
    """One of NOISES: one draw for a whole sequence, or a new one at every token."""
    noise_from: str = "prompt"
    """One of NOISE_STARTS: noise at every token, or from the last token of the prompt (or context)
    on."""
    norms: str = "all"
    """Which layers carry noise: ``all``; ``residual``, those as wide as the hidden state, so no
    query and key norms; or a regular expression on layer names (on the command line without
    commas)."""
    seed: int = 0
    """Seed of the population, a whole number of at least 0."""
    batching: str = "refill"
    """One of BATCHINGS: a finished row's place goes to the next prompt, or a batch ends with its
    longest row."""
    scheduling: str | None = None
    """Of ``btrans-vllm``, one of SCHEDULINGS: rows of different members share vLLM's batches, or
    one member answers after another. Not given: mixed, where a trial at the start shows that it
    works."""
    aggregate: str = "vote"
    """One of AGGREGATES. Where a task asks for one response, it gets the one that won the vote, or
    member 0's."""
    stop: str | float = "none"
    """One of STOPS, or a probability above 1/2: when a vote over one response asks no more members.
    ``none``: never, and what ``exact`` would have saved is said. ``exact``: once the rest can
    change nothing. A probability, such as 0.95: once the leader is likely to stay ahead, which
    may change answers (arXiv 2305.11860)."""
    extractor: str | None = None
    """What is voted on, one of EXTRACTORS. Not given: by the form of the gold answer."""
    responses: str | None = None
    """JSON-lines file that every member's response is written to; must not exist. Not given: beside
    the harness's samples, where these are logged."""
    store: str | None = None
    """SQLite file that responses are kept in as they are generated, and taken from where they are
    there."""
    shard: str | None = None
    """i/n: only part i of n of the responses is generated, into the store; nothing is scored, nor
    written to ``responses``."""
    from_store: bool = False
    """Whether every response comes from ``store``; then the model's weights are not loaded."""

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "prior", check_prior(self.prior))
        if self.sigma is None and self.prior in PRIORS:
            set_field(self, "sigma", AUTO)
        if self.sigma == AUTO and self.prior not in PRIORS:
            raise UserError(f"sigma: the file {self.prior} has its own, got auto; leave sigma out")
        if self.sigma == AUTO:
            set_field(self, "kl", check_kl(DEFAULT_KL if self.kl is None else self.kl))
            if check_number("mu", self.mu):
                raise UserError(f"mu: must be 0 with sigma=auto, got {self.mu}; give sigma=NUMBER")
        else:
            if self.kl is not None:
                given = f"sigma={self.sigma}; leave one of them out"
                if self.sigma is None:
                    given = f"{self.prior}, which has its own sigma; leave kl out"
                raise UserError(
                    f"kl: is what sigma=auto is found from, got {self.kl!r} with {given}"
                )
            sigma, mu = check_amount(self.sigma, self.mu, self.prior)
            set_field(self, "sigma", sigma)
            set_field(self, "mu", mu)
        if self.members is not None:
            set_field(self, "members", check_whole("members", self.members, minimum=1))
        set_field(self, "seed", check_whole("seed", self.seed, minimum=0))
        check_choice("noise", self.noise, NOISES)
        check_choice("noise_from", self.noise_from, NOISE_STARTS)
        check_choice("batching", self.batching, BATCHINGS)
        check_choice("aggregate", self.aggregate, AGGREGATES)
        if self.scheduling is not None:
            check_choice("scheduling", self.scheduling, SCHEDULINGS)
        set_field(self, "stop", check_stop(self.stop))
        if self.extractor is not None:
            check_choice("extractor", self.extractor, EXTRACTORS)
        for name in ("responses", "store"):
            if getattr(self, name) is not None:
                set_field(self, name, os.path.expanduser(str(getattr(self, name))))
        if self.shard is not None:
            check_shard(self.shard)
            if self.store is None:
                raise UserError(
                    f"shard: goes with store=FILE, which the part goes to, got "
                    f"shard={self.shard} without"
                )
            if self.stop != "none":
                raise UserError(f"stop: needs all of a question, got {self.stop} with a shard")
        self._check_from_store()
        set_field(self, "norms", str(self.norms))
        if self.norms not in ("all", "residual"):
            check_pattern("norms", self.norms)

    def _check_from_store(self) -> None:
        if not isinstance(self.from_store, bool):
            raise UserError(
                f"from_store: must be true or false, got {self.from_store!r}; use from_store=true"
            )
        if self.from_store and self.store is None:
            raise UserError(
                "from_store: goes with store=FILE, which responses are taken from, got "
                "from_store=true without"
            )
        if self.from_store and self.shard is not None:
            raise UserError(
                f"from_store: scores what is there, and shard generates a part, got both "
                f"(shard={self.shard}); leave one of them out"
            )

    @property
    def part(self) -> tuple[int, int]:
        """Which part of the responses is generated, from 0, and of how many."""
        return (0, 1) if self.shard is None else check_shard(self.shard)

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


def refuse_misspelled(
    names: Iterable[str], known: Sequence[str], what: str = "model argument"
) -> None:
    """Refuse a name that is nearly, but not quite, one of ``known``."""
    for name in names:
        if name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
        if near:
            raise UserError(f"{name}: no such {what}; did you mean {near[0]}?")


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


def check_prior(value: Any) -> str:
    """``value`` if it is one of PRIORS or the name of a .safetensors file."""
    if str(value).endswith(".safetensors"):
        return os.path.expanduser(str(value))
    try:
        return check_choice("prior", value, PRIORS)
    except UserError as error:
        raise UserError(f"{error}; or name a .safetensors file of mu and sigma") from None


def check_amount(sigma: Any, mu: Any, prior: str) -> tuple[float | None, float]:
    """Sigma and mu as numbers; sigma is None for a prior of a file, which has both."""
    if prior not in PRIORS:
        if sigma is not None or mu:
            raise UserError(
                f"sigma: the file {prior} has mu and sigma of its own, got sigma={sigma}, mu={mu}; "
                "leave them out"
            )
        return None, 0.0
    return check_number("sigma", sigma, minimum=0.0), check_number("mu", mu)


def check_stop(value: Any) -> str | float:
    """``value`` as one of STOPS, or a number above 1/2 and below 1."""
    if value in STOPS:
        return str(value)
    try:
        probability = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        probability = math.nan
    if not 0.5 < probability < 1:
        raise UserError(
            f"stop: must be one of {', '.join(STOPS)}, or a probability above 0.5 and below 1, got "
            f"{value!r}; for example stop=exact"
        )
    return probability


def check_shard(value: Any) -> tuple[int, int]:
    """``i/n`` as (i - 1, n)."""
    found = re.fullmatch(r"(\d+)/(\d+)", str(value))
    part, parts = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= part <= parts:
        raise UserError(
            f"shard: must be i/n, with i from 1 to n, got {value!r}; for example shard=1/8"
        )
    return part - 1, parts


def check_kl(value: Any) -> float:
    """``value`` as a finite number above 0."""
    kl = check_number("kl", value)
    if kl <= 0:
        raise UserError(f"kl: must be above 0, got {value!r}; give sigma=0 for the model itself")
    return kl


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
