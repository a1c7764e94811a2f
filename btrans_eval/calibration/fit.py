"""Fit the noise of a language model to text, its weights unchanged; what is fitted is kept."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from btrans_eval.calibration.posterior import Fitting, LogLikelihood, Posterior
from btrans_eval.errors import UserError
from btrans_eval.population import fingerprint
from btrans_eval.population.population import Population
from btrans_eval.population.priors import LayerNoise

SAVE_EVERY = 25


def fit(
    model: nn.Module,
    population: Population,
    sequences: Sequence[Sequence[int]],
    fitting: Fitting,
    part: Path,
    tell: Callable[[dict[str, float]], None],
) -> Population:
    """The population with the posterior's mean and standard deviation in each dimension.

    Args:
        model: in evaluation mode.
        population: the prior, of mean 0 and one standard deviation above 0 in each layer.
        sequences: token ids, at least two each.
        part: where the fit is kept every `SAVE_EVERY` steps; the same fit goes on from there.
        tell: is told of each step.

    Raises:
        UserError: if the prior is another, ``part`` is of another fit, or as `Posterior.fit`.
    """
    posterior = begun(population, next(model.parameters()).device)
    facts = _facts(model, population, sequences, fitting)
    _restore(posterior, part, facts)
    with _frozen(model):
        said = _log_likelihood(model, population, sequences)
        for line in posterior.fit(said, len(sequences), fitting):
            tell(line)
            if posterior.step % SAVE_EVERY == 0 or posterior.step == fitting.steps:
                _save(posterior, part, facts)
    return learned(population, posterior)


def begun(population: Population, device: Any) -> Posterior:
    """A posterior that is the population's noise.

    Raises:
        UserError: if that has no mean 0 and one standard deviation above 0 in each layer.
    """
    scales = []
    for layer, noise in zip(population.layers, population.layer_noise, strict=True):
        if not isinstance(noise.sigma, float) or noise.sigma <= 0 or noise.mu != 0:
            raise UserError(
                f"sigma: noise is learned from mean 0 and one sigma above 0 in each layer, but "
                f"{layer.name} has another; use sigma= or kl=, prior=isotropic or scaled, mu=0"
            )
        scales.append(noise.sigma)
    return Posterior(scales, [layer.width for layer in population.layers], device)


def learned(population: Population, posterior: Posterior) -> Population:
    """The population with a posterior's mean and standard deviation in each dimension."""
    return population.with_noise([LayerNoise(mu, sigma) for mu, sigma in posterior.moments()])


def _log_likelihood(
    model: nn.Module, population: Population, sequences: Sequence[Sequence[int]]
) -> LogLikelihood:
    device = next(model.parameters()).device

    def said(places: list[int], biases: list[Tensor]) -> Tensor:
        rows = [list(sequences[place]) for place in places]
        longest = max(map(len, rows))
        # on the right: nothing that is predicted sees it
        tokens = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=device)
        lengths = torch.tensor([len(row) for row in rows], device=device)[:, None]
        is_real = torch.arange(longest, device=device)[None] < lengths
        with population.given(biases):
            logits = model(tokens, attention_mask=is_real.long(), use_cache=False).logits[:, :-1]
        found = torch.log_softmax(logits.float(), -1).gather(2, tokens[:, 1:, None])[..., 0]
        return (found * is_real[:, 1:]).sum(1)

    return said


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """No weight asks for a gradient."""
    asked = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in asked:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in asked:
            weight.requires_grad_(True)


def _facts(
    model: nn.Module, population: Population, sequences: Sequence[Sequence[int]], fitting: Fitting
) -> str:
    """What a fit must agree in to be gone on with."""
    text = hashlib.sha256(json.dumps([list(each) for each in sequences]).encode()).hexdigest()
    facts = {"weights": fingerprint.of_model(model), "prior": population.digest(), "text": text}
    return json.dumps({**facts, **asdict(fitting)}, sort_keys=True)


def _restore(posterior: Posterior, part: Path, facts: str) -> None:
    if not part.exists():
        return
    try:
        held = torch.load(part, weights_only=True)
    except Exception as error:
        raise UserError(f"output: {part} cannot be read ({error}); remove it") from None
    if held["facts"] != facts:
        raise UserError(
            f"output: {part} is of another fit; remove it, or name another file, or fit as before"
        )
    posterior.restore(held["posterior"])


def _save(posterior: Posterior, part: Path, facts: str) -> None:
    """The file appears whole or not at all."""
    new = part.with_name(f"{part.name}.new")
    torch.save({"facts": facts, "posterior": posterior.state()}, new)
    os.replace(new, part)


def mean_alone(population: Population) -> Population:
    """The fitted means without any noise: what tuning biases would give."""
    noise: list[Any] = [LayerNoise(each.mu, 0.0) for each in population.layer_noise]
    return population.with_noise(noise)
