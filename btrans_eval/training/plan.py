"""What a training study is to do: task, arms, seeds and settings, from flags or a YAML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from btrans_eval.compare.folders import check_apart
from btrans_eval.config import PopulationConfig, check_choice, check_number, check_whole
from btrans_eval.errors import UserError
from btrans_eval.harness.batches import check_batch_size
from btrans_eval.harness.pairs import read_entries
from btrans_eval.training.arms import (
    DEFAULT_ARMS,
    TrainArm,
    check_model_args,
    evaluated_noise,
    made_of,
    parse_arms,
    refuse_unknown,
)
from btrans_eval.training.guard import Guard

SPLITS = ("train", "test")
_TRL_OURS = {
    "num_generations": "group", "max_steps": "steps", "seed": "seeds", "temperature": "arms",
    "per_device_train_batch_size": "at_once", "gradient_accumulation_steps": "prompts",
    "steps_per_generation": "prompts", "generation_batch_size": "prompts", "beta": "beta",
    "learning_rate": "learning_rate", "save_steps": "save_steps", "output_dir": "--output_path",
    "max_completion_length": "max_gen_toks", "shuffle_dataset": "seeds", "bf16": "bf16",
    "save_strategy": "save_steps", "num_train_epochs": "steps",
}  # fmt: skip
"""Of trl's arguments, those that an entry of ours sets."""
_TRL_ONE_STEP = ("logging_steps", "logging_strategy")


@dataclass(frozen=True)
class Adapter:
    """The LoRA adapter that is trained (arXiv 2106.09685); none of it is on norms."""

    r: int = 16
    """Rank, at least 1."""
    alpha: int = 32
    """Its output is scaled by alpha / r."""
    targets: str | Sequence[str] = "all-linear"
    """Names of the linear layers that are adapted; all but the head."""

    def __post_init__(self) -> None:
        check_whole("r", self.r, minimum=1)
        check_whole("alpha", self.alpha, minimum=1)


@dataclass(frozen=True)
class Evaluation:
    """How what was trained is evaluated, on rows that were not trained on."""

    tasks: Sequence[str] = ()
    """Names of tasks; empty: the task that was trained on."""
    limit: int | None = None
    """Only the first rows; None: all."""
    max_gen_toks: int | None = None
    """Tokens of a response at most; None: as the tasks say."""
    members: int = 8
    """K of the population that the adapter is evaluated with."""
    seed: int = 1_000_003
    """Of the members that evaluate: not those that trained."""
    sigma: float | str | None = None
    """Of these members, whose noise is else the first population arm's; None: its sigma, too, at
    its first generation. An arm that learned its noise is evaluated with what it learned."""
    batch_size: int | str = 32
    """As the harness's."""

    def __post_init__(self) -> None:
        if isinstance(self.tasks, str):  # else its letters are tasks
            object.__setattr__(self, "tasks", (self.tasks,))
        check_whole("members", self.members, minimum=2)
        check_whole("seed", self.seed, minimum=0)
        for name in ("limit", "max_gen_toks"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), minimum=1)
        check_batch_size(self.batch_size)


@dataclass(frozen=True)
class TrainPlan:
    """A training study: each arm with each seed, then what was trained, evaluated.

    Raises:
        UserError: on a value outside its range.
    """

    task: str
    """Of the harness; its prompts, its rows for training, its score as reward."""
    arms: tuple[TrainArm, ...]
    model_args: Mapping[str, Any] = field(default_factory=dict)
    """Of ``btrans-hf``; empty: the demo model."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Every arm is trained once with each; also the seeds of the populations that roll out."""
    examples: int | None = None
    """Rows to train on, drawn with the seed 0; None: all."""
    strata: str | None = None
    """Field of the rows; as many are drawn of each of its values."""
    split: str = "train"
    """One of SPLITS. ``test``: the very rows that the task is evaluated on, without their golds;
    only with ``reward: vote``, which does not use them."""
    rows: str | None = None
    """JSON lines of the user's own, in place of the task's rows for training."""
    steps: int = 50
    """Steps of the optimizer; each is one generation."""
    prompts: int = 4
    """Prompts of a step, at least 1."""
    group: int = 8
    """Rollouts of a prompt, G, at least 2."""
    at_once: int | None = None
    """Rows of a forward and backward pass of a process; None: its share of a step."""
    learning_rate: float = 1e-5
    """Constant."""
    beta: float | None = None
    """Weight of the KL to the model without the adapter, under the same noise; None: 0, or with
    ``reward: vote`` 0.04 (GRPO's own, arXiv 2402.03300)."""
    reward: str | None = None
    """Name of the task's metric, or filter:metric, that rewards; None: the only one; ``vote``: the
    plurality answer of a prompt's votes, and no gold answer (TTRL, arXiv 2504.16084)."""
    votes: int | None = None
    """With ``reward: vote``, responses of a prompt that vote, at least the group, which alone is
    trained on; None: the group."""
    max_gen_toks: int | None = None
    """Tokens of a rollout at most; None: as the task says."""
    adapter: Adapter = field(default_factory=Adapter)
    save_steps: int = 10
    """Steps between two checkpoints."""
    bf16: bool = False
    """Whether passes are in bfloat16, the adapter in float32."""
    gradient_checkpointing: bool = False
    """Whether layers run again in the backward pass, which takes less memory and more time."""
    num_fewshot: int | None = None
    apply_chat_template: bool | str = False
    system_instruction: str | None = None
    include_path: str | None = None
    report_to: Sequence[str] = ()
    """Where trl reports to, such as tensorboard."""
    trl: Mapping[str, Any] = field(default_factory=dict)
    """Other arguments of trl's ``GRPOConfig``."""
    guard: Guard = field(default_factory=Guard)
    """With ``reward: vote``, when a run counts as collapsed and is stopped."""
    evaluation: Evaluation = field(default_factory=Evaluation)

    def __post_init__(self) -> None:
        if isinstance(self.report_to, str):  # else its letters are places
            object.__setattr__(self, "report_to", (self.report_to,))
        for name, least in (("steps", 1), ("prompts", 1), ("group", 2), ("save_steps", 1)):
            check_whole(name, getattr(self, name), minimum=least)
        for name in ("examples", "max_gen_toks", "at_once"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), minimum=1)
        if self.at_once is not None and self.rollouts_of_a_step % self.at_once:
            raise UserError(
                f"at_once: must divide prompts x group = {self.rollouts_of_a_step}, got "
                f"{self.at_once}; for example at_once={self.group}"
            )
        if check_choice("split", self.split, SPLITS) == "test" and not self.by_vote:
            raise UserError(
                "split: must be train, got test: only reward: vote trains on what is evaluated, "
                "since it uses no gold answer"
            )
        if self.split == "test" and self.rows is not None:
            raise UserError("rows: are in place of a split, got split: test; leave one out")
        check_number("learning_rate", self.learning_rate, minimum=0.0)
        check_number("beta", self.kl_weight, minimum=0.0)
        if self.votes is not None:
            check_whole("votes", self.votes, minimum=self.group)
            if not self.by_vote:
                raise UserError(f"votes: go with reward: vote, got votes={self.votes} without")
        for name in ("arms", "seeds"):
            if not getattr(self, name):
                raise UserError(f"{name}: must name at least one, got none")
        check_apart(self.arms)
        check_model_args(self.model_args)
        if len(set(self.seeds)) < len(self.seeds):
            raise UserError(f"seeds: must differ, got {list(self.seeds)}")
        for arm in self.arms:
            for seed in self.seeds:
                arm.population(check_whole("seeds", seed, minimum=0))
        if self.evaluation.seed in self.seeds:
            raise UserError(
                f"evaluation: its seed must not be one that trains, got {self.evaluation.seed} in "
                "both"
            )
        if self.evaluation.sigma is not None:
            try:
                PopulationConfig(**self.evaluated_noise)
            except UserError as error:
                raise UserError(f"evaluation: {error}") from None
        for name in self.trl:
            if name in _TRL_ONE_STEP:
                raise UserError(
                    f"trl: {name} cannot be had, got {self.trl[name]!r}: every step is written "
                    "down, and looked at by the guard of votes; leave it out"
                )
            if name in _TRL_OURS:
                raise UserError(f"trl: {name} is set by {_TRL_OURS[name]}; use that")

    @property
    def by_vote(self) -> bool:
        """Whether the votes reward, and no gold answer is used."""
        return self.reward == "vote"

    @property
    def kl_weight(self) -> float:
        """``beta``, or its default."""
        return (0.04 if self.by_vote else 0.0) if self.beta is None else self.beta

    @property
    def extra_votes(self) -> int:
        """Responses of a prompt that vote and are not trained on."""
        return 0 if self.votes is None else self.votes - self.group

    @property
    def rollouts_of_a_step(self) -> int:
        """How many responses a step learns from."""
        return self.prompts * self.group

    @property
    def evaluated_noise(self) -> dict[str, Any]:
        """Of the members that evaluate; without sigma where it is that of training."""
        return evaluated_noise(self.arms, self.evaluation.seed, self.evaluation.sigma)

    def resolved(self) -> str:
        """The study as YAML, which gives the same study when it is read."""
        return str(yaml.safe_dump(_plain(asdict(self)), sort_keys=False, allow_unicode=True))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items() if each is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value


def read(path: Path) -> TrainPlan:
    """A study from a YAML file.

    Raises:
        UserError: naming the file and the entry that is wrong.
    """
    wanted = "task:, and arms: and model_args: as wanted"
    given = read_entries(path, "train", wanted)
    if "task" not in given:
        raise UserError(f"train: {path} must hold {wanted}")
    return made(given, f", in {path}")


def made(given: Mapping[str, Any], where: str = "") -> TrainPlan:
    """A study from its entries.

    Args:
        given: by name, as in a YAML file.
        where: where they stand, for messages.
    """
    refuse_unknown({n: v for n, v in given.items() if n != "train_on"}, TrainPlan, where)
    parts = dict(given)
    if "train_on" in parts:  # TTRL's word
        parts["group"] = parts.pop("train_on")
    arms = parts.pop("arms", DEFAULT_ARMS)
    if isinstance(arms, str):
        parts["arms"] = parse_arms(arms)
    else:
        parts["arms"] = tuple(made_of(arm, where) for arm in arms)
    for name, kind in (("adapter", Adapter), ("guard", Guard), ("evaluation", Evaluation)):
        if name in parts:
            refuse_unknown(parts[name], kind, f" of {name}{where}")
            parts[name] = kind(**{n: _fixed(value) for n, value in parts[name].items()})
    seeds = parts.get("seeds", TrainPlan.seeds)
    parts["seeds"] = seeds if isinstance(seeds, (list, tuple)) else (seeds,)
    return TrainPlan(**{name: _fixed(value) for name, value in parts.items()})


def _fixed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
