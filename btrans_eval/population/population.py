"""Attach a population to a model: row i of the batch is answered by member i."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from btrans_eval.config import (
    NOISE_STARTS,
    NOISES,
    check_amount,
    check_choice,
    check_prior,
    check_whole,
)
from btrans_eval.errors import UserError
from btrans_eval.population import noise as noises
from btrans_eval.population import priors, probe
from btrans_eval.population.hooks import (
    Adding,
    Shift,
    TokenPositions,
    Where,
    from_start,
    guard_generate,
    per_row,
    per_token,
    refuse_call,
    token_axes,
)
from btrans_eval.population.norms import NormLayer, survey, unwrap
from btrans_eval.population.notes import notes_of
from btrans_eval.population.priors import LayerNoise

_BOUND = "_is_bound_to_members"
"""Attribute of a module while a population has it."""
_CACHED_MEMBERS = 256


class Population:
    """A population of members of one model (arXiv 2512.25063).

    Every chosen normalization layer l of width d computes ``Norm(x) * w + (b + z_l)`` with
    ``z_l = mu + sigma_l * eps_l``, ``eps_l ~ N(0, I)``, for the rows of a batch that a member is
    bound to. Nothing of the model changes but for the time of a ``with pop.members(...)`` block:
    no weight, no name in its state dict, no module path.

    Args:
        model: a decoder-only transformers model, with or without a PEFT adapter.
        sigma: standard deviation of the noise, at least 0; 0 with ``mu=0`` is the model itself.
        mu: mean of the noise, never scaled.
        prior: ``isotropic`` (sigma_l = sigma, the paper), ``scaled`` (sigma_l = sigma * RMS of
            the layer's gain), ``balanced`` (sigma_l = sigma * its entry in ``scales``), or a
            ``.safetensors`` file with mu and sigma of every layer and dimension, as `save` writes.
        noise: ``sequence`` (one z for all tokens of a sequence) or ``token`` (a new one at
            every token, the paper's ablation).
        noise_from: ``prompt`` (every token) or ``generation`` (from the token on that `members`
            is told, the last of the prompt).
        norms: ``all``, ``residual`` or a regular expression on layer names.
        seed: seed of the population, a whole number at least 0.
        scales: of a balanced prior, by layer name; of a scaled one where the model's weights are
            not at hand, else they are read from it.

    Attributes:
        layers: the layers that noise is added to.
        layer_noise: mean and standard deviation of each one's bias.

    Raises:
        UserError: on any argument outside its range, or a model that cannot carry a population.

    Example:
        >>> pop = Population(model, sigma=0.01, seed=0)
        >>> with pop.members([0, 1, 2, 3]):  # row i of the batch is answered by member i
        ...     model.generate(**batch)
    """

    def __init__(
        self,
        model: nn.Module,
        sigma: float | None = None,
        *,
        mu: float = 0.0,
        prior: str = "isotropic",
        noise: str = "sequence",
        noise_from: str = "prompt",
        norms: str = "all",
        seed: int = 0,
        scales: Mapping[str, float] | None = None,
    ) -> None:
        self.prior = check_prior(prior)
        self.sigma, self.mu = check_amount(sigma, mu, self.prior)
        self.noise = check_choice("noise", noise, NOISES)
        self.noise_from = check_choice("noise_from", noise_from, NOISE_STARTS)
        self.norms = norms
        self.seed = check_whole("seed", seed, minimum=0)
        self._given, self._model = model, unwrap(model)
        if getattr(getattr(self._model, "config", None), "is_encoder_decoder", False):
            raise UserError(
                f"model: must be decoder-only, but {type(self._model).__name__} is an "
                "encoder-decoder; choose a causal language model"
            )
        self._refuse_bound()
        self._survey = survey(model, norms)
        self.layers: tuple[NormLayer, ...] = self._survey.layers
        if self.sigma is None:
            found = priors.read(self.prior, self.layers)
        else:
            is_none = self.sigma == 0  # then there is nothing to scale
            factors = priors.scales_of("isotropic" if is_none else prior, self.layers, scales)
            found = [LayerNoise(self.mu, self.sigma * factor) for factor in factors]
        needs_axes = noise == "token" or noise_from == "generation"
        self._token_axes = token_axes(self._model, self.layers) if needs_axes else []
        self._decoder = probe.entry(self._model) if needs_axes else self._model
        self._set_noise(found)

    def _set_noise(self, found: Sequence[LayerNoise]) -> None:
        self.layer_noise = tuple(found)
        # one entry per member: cheap to rebuild, but not at every batch
        self._member_shifts = functools.lru_cache(_CACHED_MEMBERS)(self._compute_shifts)

    def with_sigmas(self, sigmas: Sequence[float]) -> Population:
        """The same population with another standard deviation in each layer."""
        other = copy.copy(self)
        other.sigma = None
        other._set_noise(
            [
                LayerNoise(noise.mu, float(sigma))
                for noise, sigma in zip(self.layer_noise, sigmas, strict=True)
            ]
        )
        return other

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write mu and sigma of every layer as a file that ``prior=`` takes."""
        priors.write(path, self.layers, self.layer_noise)

    @classmethod
    def load(cls, model: nn.Module, path: str | os.PathLike[str], **settings: Any) -> Population:
        """The population of a file; ``settings`` are those of the class but sigma and mu."""
        return cls(model, prior=str(path), **settings)

    @property
    def sigmas(self) -> NDArray[np.float64]:
        """Standard deviation of each layer, root mean square over dimensions, shape (layers,)."""
        return np.array([float(np.sqrt(np.mean(np.square(n.sigma)))) for n in self.layer_noise])

    @property
    def notes(self) -> list[str]:
        """What carries no noise though it is a norm, one sentence each; empty for most models."""
        silent = [
            layer.name
            for layer, noise in zip(self.layers, self.layer_noise, strict=True)
            if noise.is_none and not self.is_stock
        ]
        return notes_of(self._survey, silent)

    @property
    def is_stock(self) -> bool:
        """Whether every member is the unperturbed model."""
        return all(noise.is_none for noise in self.layer_noise)

    def shift(self, member: int, layer: int, token: int | None = None) -> NDArray[np.float32]:
        """The bias z that ``member`` adds at ``layers[layer]``, shape (width,)."""
        where = self.layers[layer]
        standard = noises.eps(self.seed, member, where.name, where.width, token)
        return noises.shift(self.layer_noise[layer].sigma, self.layer_noise[layer].mu, standard)

    def digest(self) -> str:
        """Hex digest of the noise as resolved: its mode, mu, and sigma of each layer by name."""
        layers = [
            [layer.name, layer.width, noise.facts(), *["before the gate"] * layer.is_gated]
            for layer, noise in zip(self.layers, self.layer_noise, strict=True)
        ]
        mode = self.noise if self.noise_from == "prompt" else [self.noise, self.noise_from]
        facts = json.dumps([mode, self.mu.hex(), layers])
        return hashlib.sha256(facts.encode()).hexdigest()

    def _compute_shifts(self, member: int) -> list[NDArray[np.float32]]:
        return [self.shift(member, index) for index in range(len(self.layers))]

    @contextmanager
    def members(self, rows: Sequence[int], first: Sequence[int] | None = None) -> Iterator[None]:
        """Within the block, row i of every batch the model sees is answered by ``rows[i]``.

        With ``num_return_sequences=n`` the model sees len(prompts) * n rows, prompt-major.

        Args:
            rows: one member, a whole number at least 0, for each row.
            first: with ``noise_from=generation``, for each row the index (padding not counted,
                from 0) of the first token that gets noise: the last of its prompt.

        Raises:
            UserError: if a member is no whole number, if ``first`` is missing or not wanted, if
                the model is bound already, if the model is then given another number of rows, or
                on beam search.
        """
        bound = tuple(check_whole("members", member, minimum=0) for member in rows)
        if not bound:
            raise UserError("members: name at least one member, one for each row of the batch")
        if (first is not None) != (self.noise_from == "generation"):
            raise UserError(
                "first: must be given with noise_from=generation, and only with it, got "
                f"{first!r} with noise_from={self.noise_from}"
            )
        if first is not None and len(first) != len(bound):
            raise UserError(f"first: must have one index for each of {len(bound)} rows")
        self._refuse_bound()
        self._refuse_compiled()
        with ExitStack() as stack:
            for layer in self.layers:
                setattr(layer.module, _BOUND, True)
                stack.callback(vars(layer.module).pop, _BOUND, None)
            if not self.is_stock:
                self._attach(stack, bound, first)
            yield

    def _refuse_bound(self) -> None:
        if any(hasattr(module, _BOUND) for module in self._model.modules()):
            raise UserError(
                "members: this model is bound to members already, and noise must not be added "
                "twice; leave the outer `with population.members(...)` block first"
            )

    def _refuse_compiled(self) -> None:
        """A compiled graph keeps the hooks that it was traced with, and ignores new ones."""
        for module in (self._given, *self._model.modules()):
            compiled = getattr(module, "_compiled_call_impl", None) is not None
            if compiled or hasattr(module, "_orig_mod"):
                raise UserError(
                    f"model: must not be compiled, but {type(module).__name__} is: its graph "
                    "would ignore the noise; pass the model as it was before torch.compile"
                )

    def _attach(self, stack: ExitStack, rows: tuple[int, ...], first: Sequence[int] | None) -> None:
        stack.callback(guard_generate(self._model))
        positions = TokenPositions(self._decoder, len(rows)) if self._token_axes else None
        if positions is not None:
            stack.callback(positions.remove)
        starts = [0] * len(rows) if first is None else list(first)
        for index, layer in enumerate(self.layers):
            if self.layer_noise[index].is_none:
                continue
            hook = Adding(self._shift(index, layer, rows, starts, positions), layer)
            handle = layer.module.register_forward_hook(hook, with_kwargs=True)
            stack.callback(handle.remove)
        for name, module in self._survey.unreached.items():
            stack.callback(module.register_forward_hook(refuse_call(name)).remove)

    def _shift(
        self,
        index: int,
        layer: NormLayer,
        rows: tuple[int, ...],
        starts: Sequence[int],
        positions: TokenPositions | None,
    ) -> Shift:
        where = None
        if positions is not None:
            is_head = layer.module not in set(self._decoder.modules())
            where = Where(rows, starts, positions, self._token_axes[index], is_head)
            if self.noise == "token":
                return per_token(functools.partial(self._token_shift, index), where, layer)
        shifts = torch.from_numpy(np.stack([self._member_shifts(each)[index] for each in rows]))
        return per_row(shifts, layer) if where is None else from_start(shifts, where, layer)

    def _token_shift(self, layer: int, member: int, token: int) -> NDArray[np.float32]:
        return self.shift(member, layer, token)
