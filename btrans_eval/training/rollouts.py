"""Who answers in training: the member and the noise of every rollout, by its number in the run."""

from __future__ import annotations

from dataclasses import dataclass

from btrans_eval.config import check_choice, check_number, check_whole
from btrans_eval.errors import UserError

MEMBERS = ("fresh", "fixed")
UPDATES = ("member", "clean")
SCHEDULES = ("constant", "exponential")
LEARNS = ("lora", "lora+sigma")


@dataclass(frozen=True)
class Rollouts:
    """How the rollouts of a training run are members.

    What the paper does not state is a choice here, and stands in a run's results.

    Raises:
        UserError: on a value outside its range.
    """

    members: str = "fresh"
    """One of MEMBERS. ``fresh``: rollouts are numbered from 0 in the order of (generation, prompt,
    rollout), and the number is the member, so none comes twice; ``fixed``: rollout g of every
    group is member g."""
    update: str = "member"
    """One of UPDATES. ``member``: the update is under the rollout's own noise, exactly on-policy;
    ``clean``: rollouts alone carry noise, and the model itself learns, with truncated importance
    weights."""
    schedule: str = "constant"
    """One of SCHEDULES of sigma over generations; ``exponential``: falling to ``sigma_end`` times
    itself at the last."""
    sigma_end: float = 0.1
    """Of an exponential schedule: the last generation's sigma over the first one's, in (0, 1]."""
    weight_limit: float = 2.0
    """Of a clean update: importance weights of tokens are cut at it, at least 1."""
    learn: str = "lora"
    """One of LEARNS. ``lora+sigma``: beside the adapter, mean and standard deviation of every bias
    learn by reward, from mean 0 and sigma on."""
    noise_learning_rate: float = 0.03
    """Of those, in units of sigma; constant."""
    check_every: int = 10
    """Generations between two checks that the update sees what generated, the first one included;
    0: never."""

    def __post_init__(self) -> None:
        check_choice("members", self.members, MEMBERS)
        check_choice("update", self.update, UPDATES)
        check_choice("schedule", self.schedule, SCHEDULES)
        if not 0 < check_number("sigma_end", self.sigma_end) <= 1:
            raise UserError(
                f"sigma_end: must be above 0 and at most 1, got {self.sigma_end}; 0.1 lets sigma "
                "fall to a tenth"
            )
        check_number("weight_limit", self.weight_limit, minimum=1.0)
        check_whole("check_every", self.check_every, minimum=0)
        check_choice("learn", self.learn, LEARNS)
        check_number("noise_learning_rate", self.noise_learning_rate, minimum=0.0)
        if self.learn == "lora+sigma":
            for name, wanted in (("update", "member"), ("schedule", "constant")):
                if getattr(self, name) != wanted:
                    raise UserError(
                        f"learn: lora+sigma needs {name}={wanted}, got {getattr(self, name)}: what "
                        "the noise learns is told by its own rollouts, and sets sigma"
                    )

    def numbered(self, first: int, count: int, group: int, extra: int = 0) -> list[int]:
        """The members of ``count`` rollouts that stand prompt by prompt, ``group`` for each.

        Args:
            first: how many rollouts of the run, that are trained on, came before them.
            extra: votes of a prompt that are not trained on, numbered behind its group.
        """
        if self.members == "fixed":
            return [n % group for n in range(first, first + count)]
        votes = group + extra
        return [n // group * votes + n % group for n in range(first, first + count)]

    def untrained(self, first: int, prompts: int, group: int, extra: int) -> list[int]:
        """The members of votes that are not trained on, ``extra`` for each of some prompts.

        Args:
            first: number of the first prompt in the run.
        """
        more = range(group, group + extra)
        if self.members == "fixed":
            return [*more] * prompts
        return [n * (group + extra) + vote for n in range(first, first + prompts) for vote in more]

    def factor(self, generation: int, generations: int) -> float:
        """What sigma is multiplied by at a generation, from 0, of so many in the run."""
        if self.schedule == "constant" or generations < 2:
            return 1.0
        return float(self.sigma_end ** (min(generation, generations - 1) / (generations - 1)))
