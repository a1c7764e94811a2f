"""Noise that learns by reward: mean and standard deviation of every bias, beside the adapter.

A rollout is sampled from p(. | z) with z = mu + sigma * eps, and eps, which the member fixes, is
part of what it is asked. So the gradient of GRPO's loss in mu and sigma is that of any policy in
its parameters, through the same log-probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from btrans_eval.calibration import fit
from btrans_eval.population import noise
from btrans_eval.population.population import Population
from btrans_eval.training.refusals import check_learned
from btrans_eval.training.rollouts import Rollouts

PRIOR = "noise.safetensors"
"""What was learned, as ``prior=`` takes it; in a checkpoint and beside an adapter."""
MEANS = "noise_means.safetensors"
"""Its means without any noise."""
BOUND = 10.0
"""Each sigma stays within its first value times and divided by it."""
_STATE = "learning.safetensors"


def begun(start: Population, rollouts: Rollouts, trainer: Any) -> LearnedNoise | None:
    """The noise that learns in a run; None where it does not.

    Raises:
        UserError: if it cannot.
    """
    if rollouts.learn == "lora":
        return None
    check_learned(start, trainer.accelerator.num_processes, trainer.args)
    return LearnedNoise(start, rollouts.noise_learning_rate, trainer.accelerator.device)


class LearnedNoise(TrainerCallback):
    """The noise of a population while it is trained.

    Args:
        start: the population at first, of mean 0 and one sigma above 0 in each layer.
        rate: learning rate, in units of that sigma.
        device: where it is computed.

    Attributes:
        population: the noise as it is now.

    Raises:
        UserError: if the population begins otherwise.
    """

    def __init__(self, start: Population, rate: float, device: Any) -> None:
        self._start, self._rate = start, rate
        self._posterior = fit.begun(start, device)
        self.population = start

    def parameters(self) -> dict[str, Any]:
        """A group of parameters for the optimizer."""
        return {"params": self._both, "lr": self._rate, "weight_decay": 0.0}

    @property
    def _both(self) -> list[torch.Tensor]:
        return [self._posterior.mean, self._posterior.log_scale]

    @contextmanager
    def members(self, rows: Sequence[int]) -> Iterator[None]:
        """As `Population.members`; gradients flow back into the parameters."""
        seed, layers = self._start.seed, self._start.layers
        eps = np.stack([
            np.concatenate([noise.eps(seed, row, each.name, each.width) for each in layers])
            for row in rows
        ])  # fmt: skip
        device = self._posterior.mean.device
        biases = self._posterior.biases(torch.from_numpy(eps.astype(np.float64)).to(device))
        with self._start.given([bias.float() for bias in biases]):
            yield

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """What an interrupted run has left is none of this one's."""
        self._forget_gradients()

    def _forget_gradients(self) -> None:
        """They are not the model's, whose gradients the trainer clears."""
        for each in self._both:
            each.grad = None

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """The parameters have moved: keep them in bounds, and the population as they are."""
        with torch.no_grad():
            self._posterior.log_scale.clamp_(-math.log(BOUND), math.log(BOUND))
        self._forget_gradients()
        self.population = fit.learned(self._start, self._posterior)

    def on_save(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Into the checkpoint."""
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            self.save(folder)
            mean, log_scale = (each.detach().cpu() for each in self._both)
            save_file({"mean": mean, "log_scale": log_scale}, folder / _STATE)

    def save(self, folder: Path) -> None:
        """Write what was learned."""
        self.population.save(folder / PRIOR)
        fit.mean_alone(self.population).save(folder / MEANS)

    @torch.no_grad()
    def restore(self, checkpoint: Path) -> None:
        """As it was at a checkpoint."""
        state = load_file(checkpoint / _STATE)
        self._posterior.mean.copy_(state["mean"])
        self._posterior.log_scale.copy_(state["log_scale"])
        self.population = fit.learned(self._start, self._posterior)

    @torch.no_grad()
    def figures(self) -> dict[str, float]:
        """How far it is from its start.

        ``noise/kl``: KL to the start in nats, all dimensions together; ``noise/sigma``: geometric
        mean of the standard deviations over their first values; ``noise/mean``: root mean square
        of the means in units of the first sigma.
        """
        mean, log_scale = self._both
        return {
            "noise/kl": float(self._posterior.kl()),
            "noise/sigma": float(log_scale.mean().exp()),
            "noise/mean": float(mean.square().mean().sqrt()),
        }
