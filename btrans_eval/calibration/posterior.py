"""A posterior over biases by variational inference: Gaussian, every dimension by itself.

Maximised is the evidence lower bound, E_q[log p(text | z)] - beta * KL(q || N(0, sigma_0^2)), with
q = N(mu, sigma^2) sampled as mu + sigma * eps (Kingma & Welling, arXiv 1312.6114), the likelihood
of a minibatch scaled up to the whole text (Hoffman et al., arXiv 1206.7051). Where log p is
quadratic in z with precision matrix A, the optimum has the posterior's mean and the variances
1 / (A_ii + 1 / sigma_0^2), which are smaller than the marginal ones where dimensions correlate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from btrans_eval.config import check_number, check_whole
from btrans_eval.errors import UserError

Floats = NDArray[np.float64]
LogLikelihood = Callable[[list[int], list[Tensor]], Tensor]
"""Of places of rows, and biases of each layer, (rows, width): log p of each row, (rows,)."""


@dataclass(frozen=True)
class Fitting:
    """How a posterior is fitted.

    Raises:
        UserError: on a value outside its range.
    """

    steps: int = 300
    rows: int = 8
    """Of a step, each with a bias of its own."""
    learning_rate: float = 0.03
    """Of Adam, falling to 0 in a straight line, in units of the prior's standard deviation."""
    beta: float = 1.0
    """Weight of the KL to the prior; 1 is the evidence lower bound."""
    seed: int = 0
    """Of the order of rows and the draws, which depend on nothing else but the step."""

    def __post_init__(self) -> None:
        check_whole("steps", self.steps, minimum=1)
        check_whole("rows", self.rows, minimum=1)
        check_whole("seed", self.seed, minimum=0)
        if check_number("learning_rate", self.learning_rate) <= 0:
            raise UserError(f"learning_rate: must be above 0, got {self.learning_rate}")
        check_number("beta", self.beta, minimum=0.0)


class Posterior:
    """Mean and standard deviation of every layer's bias, in units of the prior's.

    Args:
        scales: standard deviation of the prior in each layer, above 0.
        widths: of each layer.

    Attributes:
        mean, log_scale: float64, shape (dimensions of all layers,); both 0, the prior, at first.
        step: how many steps were taken.
    """

    def __init__(self, scales: Sequence[float], widths: Sequence[int], device: Any = "cpu") -> None:
        self._scales, self._widths = list(scales), list(widths)
        made = (torch.zeros(sum(widths), dtype=torch.float64, device=device) for _ in range(2))
        self.mean, self.log_scale = (each.requires_grad_() for each in made)
        self._adam = torch.optim.Adam([self.mean, self.log_scale])
        self.step = 0

    def kl(self) -> Tensor:
        """KL(q || prior) in nats, summed over all dimensions."""
        variance = (2 * self.log_scale).exp()
        return (0.5 * (variance + self.mean.square() - 1) - self.log_scale).sum()

    def biases(self, eps: Tensor) -> list[Tensor]:
        """The biases of standard normal numbers, (rows, dimensions): one (rows, width) a layer."""
        flat = self.mean + self.log_scale.exp() * eps
        pieces = torch.split(flat, self._widths, dim=1)
        return [piece * scale for piece, scale in zip(pieces, self._scales, strict=True)]

    @torch.no_grad()
    def moments(self) -> list[tuple[Floats, Floats]]:
        """Mean and standard deviation of each layer's bias, shapes (width,)."""
        both = (torch.split(each, self._widths) for each in (self.mean, self.log_scale.exp()))
        return [
            (scale * mean.cpu().numpy(), scale * sigma.cpu().numpy())
            for scale, mean, sigma in zip(self._scales, *both, strict=True)
        ]

    def fit(
        self, log_likelihood: LogLikelihood, count: int, fitting: Fitting
    ) -> Iterator[dict[str, float]]:
        """Go on from `step` to the last one; yields what was estimated at each.

        Args:
            log_likelihood: of rows, summed over their tokens.
            count: rows of the whole text.

        Raises:
            UserError: if the bound is not finite, or nothing depends on the biases.
        """
        while self.step < fitting.steps:
            for group in self._adam.param_groups:
                group["lr"] = fitting.learning_rate * (1 - self.step / fitting.steps)
            places = rows_of(self.step, count, fitting)
            draws = np.random.default_rng([fitting.seed, 1, self.step])
            eps = torch.from_numpy(draws.standard_normal((len(places), len(self.mean))))
            likelihood = log_likelihood(places, self.biases(eps.to(self.mean.device)))
            whole, kl = likelihood.double().sum() * (count / len(places)), self.kl()
            bound = whole - fitting.beta * kl
            if not bool(torch.isfinite(bound)):
                raise UserError(
                    f"learning_rate: the likelihood at step {self.step + 1} is not finite; use a "
                    "smaller learning_rate or sigma, or dtype=float32"
                )
            if not likelihood.requires_grad:
                raise UserError(
                    "pretrained: this model's output does not depend on its biases where gradients "
                    "are wanted (its weights are quantized, or its layers have no gradient); load "
                    "it in float32 or bfloat16"
                )
            self._adam.zero_grad()
            torch.autograd.backward(-bound / count)
            self._adam.step()
            self.step += 1
            yield {
                "step": self.step,
                "log_likelihood": float(whole.detach()),
                "kl": float(kl.detach()),
            }

    def state(self) -> dict[str, Any]:
        """All that going on needs."""
        held = {"mean": self.mean.detach(), "log_scale": self.log_scale.detach()}
        return {"step": self.step, **held, "adam": self._adam.state_dict()}

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.step = state["step"]
        self.mean.copy_(state["mean"])
        self.log_scale.copy_(state["log_scale"])
        self._adam.load_state_dict(state["adam"])


def rows_of(step: int, count: int, fitting: Fitting) -> list[int]:
    """Places of the rows of a step: pass after pass over all, each in an order of its own."""
    first = step * fitting.rows
    places = []
    for at in range(first, first + min(fitting.rows, count)):
        order = np.random.default_rng([fitting.seed, 0, at // count]).permutation(count)
        places.append(int(order[at % count]))
    return places
