"""Collapse, as far as it can be seen without labels: it stops a run that is rewarded by votes.

What was seen of it is one answer for every prompt. A rising majority and a falling entropy within
a prompt mark success as well; so the entropy of the winning answers is taken across prompts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback

from btrans_eval.config import check_number, check_whole
from btrans_eval.errors import UserError

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Guard:
    """When a run counts as collapsed; thresholds were set and judged by benchmarks/collapse.py.

    Raises:
        UserError: on a value outside its range.
    """

    window: int = 10
    """Steps that are compared with the first as many."""
    entropy: float = 0.85
    """Of the winning answers across the prompts of a window: the least share of the start's."""
    kl: float = 1.0
    """The most nats per token from the model without the adapter, mean over a window."""
    length: float = 4.0
    """The most by which rollouts may grow or shrink, mean over a window."""

    def __post_init__(self) -> None:
        check_whole("window", self.window, minimum=1)
        if not 0 <= check_number("entropy", self.entropy) < 1:
            raise UserError(f"entropy: must lie in [0, 1), got {self.entropy}; 0 watches nothing")
        check_number("kl", self.kl, minimum=0.0)
        check_number("length", self.length, minimum=1.0)

    def reason(self, steps: Sequence[Line], rollouts: Sequence[Line]) -> str | None:
        """Why a run has collapsed by its last step; None if it has not.

        Args:
            steps: a line for each step that was logged, in their order.
            rollouts: a line for each rollout, with its step, row, reward and answer.
        """
        last = steps[-1]["step"] if steps else 0
        if last < 2 * self.window:
            return None
        start, end = (1, self.window), (last - self.window + 1, last)
        before, now = (entropy(winners(rollouts, *span)) for span in (start, end))
        if now < self.entropy * before and _has_any(rollouts, end):
            return (
                f"the winning answers of the last {self.window} steps' prompts have an entropy of "
                f"{now:.2f} nats, {now / before:.0%} of the start's: one answer for many prompts"
            )
        kl = _mean(steps, end, "kl")
        if kl is not None and kl > self.kl:
            return f"it is {kl:.2f} nats per token from the model that it began with"
        first, length = _mean(steps, start, "rollout_tokens"), _mean(steps, end, "rollout_tokens")
        if first and length and not 1 / self.length <= length / first <= self.length:
            return f"rollouts went from {first:.1f} to {length:.1f} tokens"
        return None


def winners(rollouts: Sequence[Line], first: int, last: int) -> list[str]:
    """The winning answer of each prompt from step ``first`` to ``last``, where there is one."""
    found: dict[tuple[int, int], str] = {}
    for line in rollouts:
        if first <= line["step"] <= last and line["reward"] == 1.0:
            found.setdefault((line["step"], line["row"]), str(line["answer"]))
    return list(found.values())


def entropy(answers: Sequence[str]) -> float:
    """Of the distribution of answers, in nats; 0 where there is none."""
    counts = Counter(answers).values()
    return sum(n / len(answers) * math.log(len(answers) / n) for n in counts)


def _has_any(rollouts: Sequence[Line], span: tuple[int, int]) -> bool:
    """Whether anything was generated in a span of steps; with num_iterations some have nothing."""
    return any(span[0] <= line["step"] <= span[1] for line in rollouts)


def _mean(steps: Sequence[Line], span: tuple[int, int], name: str) -> float | None:
    within = [line for line in steps if span[0] <= line["step"] <= span[1]]
    values = [line[name] for line in within if line.get(name) is not None]
    return sum(values) / len(values) if values else None


class Watcher(TrainerCallback):
    """Ends training at the step at which a guard finds it collapsed.

    Args:
        guard: says when.
        steps, rollouts: the lines written so far.

    Attributes:
        reason: why it was ended; None while it is not.
        step: at which.
    """

    def __init__(
        self,
        guard: Guard,
        steps: Callable[[], Sequence[Line]],
        rollouts: Callable[[], Sequence[Line]],
    ) -> None:
        self._guard, self._steps, self._rollouts = guard, steps, rollouts
        self.reason: str | None = None
        self.step = 0

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **others: Any) -> None:
        """A step is done; called behind what writes its line."""
        if self.reason is None and "loss" in (logs or {}):
            self.reason = self._guard.reason(self._steps(), self._rollouts())
            self.step = state.global_step
            if self.reason is not None:  # others may have stopped it, too
                control.should_training_stop = True
