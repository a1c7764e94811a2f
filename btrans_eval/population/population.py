"""Attach a population to a model: row i of the batch is answered by member i."""

from __future__ import annotations

import copy
import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

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
from btrans_eval.population import priors
from btrans_eval.population.carrier import Carrier
from btrans_eval.population.hooks import (
    Shift,
    TokenPositions,
    Where,
    from_start,
    per_row,
    per_token,
)
from btrans_eval.population.norms import NormLayer
from btrans_eval.population.notes import notes_of
from btrans_eval.population.priors import LayerNoise
from btrans_eval.population.windows import (
    WHOLE,
    NextRows,
    Window,
    checked_rows,
    checked_shifts,
    per_packed_row,
)

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
        ...     tokens = model.generate(**batch, max_new_tokens=8)
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
        self._carrier = Carrier(model, norms)
        self.layers: tuple[NormLayer, ...] = self._carrier.survey.layers
        if self.sigma is None:
            found = priors.read(self.prior, self.layers)
        else:
            is_none = self.sigma == 0  # then there is nothing to scale
            factors = priors.scales_of("isotropic" if is_none else prior, self.layers, scales)
            found = [LayerNoise(self.mu, self.sigma * factor) for factor in factors]
        self._needs_places = noise == "token" or noise_from == "generation"
        if self._needs_places:  # a model that does not tell is refused here
            _ = self._carrier.axes_of_tokens
        self._set_noise(found)

    def _set_noise(self, found: Sequence[LayerNoise]) -> None:
        self.layer_noise = tuple(found)
        # one entry per member: cheap to rebuild, but not at every batch
        self._member_shifts = functools.lru_cache(_CACHED_MEMBERS)(
            lambda member: [self.shift(member, index) for index in range(len(self.layers))]
        )

    def with_sigmas(self, sigmas: Sequence[float]) -> Population:
        """The same population with another standard deviation in each layer."""
        pairs = zip(self.layer_noise, sigmas, strict=True)
        return self.with_noise([LayerNoise(noise.mu, float(sigma)) for noise, sigma in pairs])

    def times(self, factor: float) -> Population:
        """The same population with every standard deviation times ``factor``, at least 0."""
        other = self.with_noise([LayerNoise(n.mu, n.sigma * factor) for n in self.layer_noise])
        other.sigma = None if self.sigma is None else self.sigma * factor
        return other

    def with_noise(self, noise: Sequence[LayerNoise]) -> Population:
        """The same population with another mean and standard deviation in each layer."""
        other = copy.copy(self)
        other.sigma = None
        other._set_noise(noise)
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
        return notes_of(self._carrier.survey, self.layer_noise)

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
        mode = self.noise if self.noise_from == "prompt" else [self.noise, self.noise_from]
        return priors.digest([mode, self.mu.hex()], self.layers, self.layer_noise)

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
        bound = checked_rows(rows, first, self.noise_from)
        with self._carrier.held() as stack:
            self._attach(stack, bound, first, WHOLE)
            yield

    @contextmanager
    def windows(self, rows: Sequence[int], first: Sequence[int] | None = None) -> Iterator[None]:
        """Within the block each forward pass, of n rows, holds the next n of ``rows``, cyclic.

        So a batch is generated, and scored again in chunks of whatever size, under one binding.
        A pass that gradients are wanted of must hold all rows.

        Args: as of `members`.

        Raises:
            UserError: as `members`, and if a pass reaches beyond the last row.
        """
        bound = checked_rows(rows, first, self.noise_from)
        # a forward pass finds it, before anything is bound
        window = WHOLE if self.is_stock else NextRows(self._carrier.decoder, len(bound))
        with self._carrier.held() as stack:
            stack.enter_context(window.followed())
            self._attach(stack, bound, first, window)
            yield

    @contextmanager
    def packed(self, rows: Sequence[int], lengths: Sequence[int]) -> Iterator[None]:
        """Within the block the model is given one row, (1, tokens), that holds all ``rows`` packed.

        Args:
            rows: one member, a whole number at least 0, for each row.
            lengths: tokens of each row, in their order; what pads the end is a row of its own.

        Raises:
            UserError: as `members`, with ``noise=token`` or ``noise_from=generation``, or if the
                model is then given another number of tokens.
        """
        if self.noise != "sequence":
            raise UserError(f"packed: goes with noise=sequence, got noise={self.noise}")
        bound = checked_rows(rows, None, self.noise_from)
        spans = [check_whole("lengths", length, minimum=1) for length in lengths]
        if len(spans) != len(bound):
            raise UserError(f"lengths: must be one for each of {len(bound)} rows, got {len(spans)}")
        axes = self._carrier.axes_of_tokens
        with self._carrier.held() as stack:
            self._add(
                stack,
                lambda index, layer: per_packed_row(
                    self._shifts(index, bound), spans, layer, axes[index]
                ),
            )
            yield

    @contextmanager
    def given(self, shifts: Sequence[Tensor]) -> Iterator[None]:
        """Within the block, layer l adds ``shifts[l][i]`` to row i of every batch, at every token.

        For noise that is learned: gradients flow back into the shifts.

        Args:
            shifts: for each of `layers`, shape (rows, width); cast to what the layer computes in.

        Raises:
            UserError: if a shape is another, or as `members`.
        """
        added = [
            per_row(checked_shifts(shift, layer), layer)
            for shift, layer in zip(shifts, self.layers, strict=True)
        ]
        with self._carrier.held() as stack:
            self._carrier.add(stack, added)
            yield

    def _attach(
        self, stack: ExitStack, rows: tuple[int, ...], first: Sequence[int] | None, window: Window
    ) -> None:
        positions = None
        if self._needs_places and not self.is_stock:
            positions = TokenPositions(self._carrier.decoder, len(rows), window)
            stack.callback(positions.remove)
        starts = [0] * len(rows) if first is None else list(first)

        def shift(index: int, layer: NormLayer) -> Shift:
            if positions is None:
                return per_row(self._shifts(index, rows), layer, window)
            is_head = layer.module not in set(self._carrier.decoder.modules())
            axis = self._carrier.axes_of_tokens[index]
            where = Where(rows, starts, positions, axis, is_head, window)
            if self.noise == "token":
                return per_token(lambda m, token: self.shift(m, index, token), where, layer)
            return from_start(self._shifts(index, rows), where, layer)

        self._add(stack, shift)

    def _add(self, stack: ExitStack, shift: Callable[[int, NormLayer], Shift]) -> None:
        if self.is_stock:
            return
        noisy = enumerate(zip(self.layers, self.layer_noise, strict=True))
        shifts = [None if noise.is_none else shift(i, layer) for i, (layer, noise) in noisy]
        self._carrier.add(stack, shifts)

    def _shifts(self, index: int, rows: Sequence[int]) -> Tensor:
        """The bias of each row's member at a layer, shape (rows, width)."""
        return torch.from_numpy(np.stack([self._member_shifts(each)[index] for each in rows]))
