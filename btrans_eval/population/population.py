"""Attach a population to a model: row i of the batch is answered by member i."""

from __future__ import annotations

import functools
import hashlib
import json
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from btrans_eval.config import NOISES, PRIORS, check_choice, check_number, check_whole
from btrans_eval.errors import UserError
from btrans_eval.population import noise as noises
from btrans_eval.population.hooks import (
    TokenPositions,
    add_per_row,
    add_per_token,
    guard_generate,
    token_axes,
)
from btrans_eval.population.norms import NormLayer, find_norms, gain_rms, unwrap

_BOUND: weakref.WeakSet[nn.Module] = weakref.WeakSet()
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
        prior: ``isotropic`` (sigma_l = sigma, the paper) or ``scaled``
            (sigma_l = sigma * RMS of the layer's gain).
        noise: ``sequence`` (one z for all tokens of a sequence) or ``token`` (a new one at
            every token, the paper's ablation).
        norms: ``all``, ``residual`` or a regular expression on layer names.
        seed: seed of the population, a whole number at least 0.

    Attributes:
        layers: the layers that noise is added to.
        sigmas: their standard deviations, shape (layers,), float64.

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
        sigma: float,
        *,
        mu: float = 0.0,
        prior: str = "isotropic",
        noise: str = "sequence",
        norms: str = "all",
        seed: int = 0,
    ) -> None:
        self.sigma = check_number("sigma", sigma, minimum=0.0)
        self.mu = check_number("mu", mu)
        self.prior = check_choice("prior", prior, PRIORS)
        self.noise = check_choice("noise", noise, NOISES)
        self.norms = norms
        self.seed = check_whole("seed", seed, minimum=0)
        self._given, self._model = model, unwrap(model)
        if getattr(getattr(self._model, "config", None), "is_encoder_decoder", False):
            raise UserError(
                f"model: must be decoder-only, but {type(self._model).__name__} is an "
                "encoder-decoder; choose a causal language model"
            )
        self._refuse_bound()
        self.layers: tuple[NormLayer, ...] = tuple(find_norms(model, norms))
        scales = [gain_rms(layer) if prior == "scaled" else 1.0 for layer in self.layers]
        self.sigmas: NDArray[np.float64] = self.sigma * np.array(scales)
        self._token_axes = token_axes(self._model, self.layers) if noise == "token" else []
        # one entry per member: cheap to rebuild, but not at every batch
        self._member_shifts = functools.lru_cache(_CACHED_MEMBERS)(self._compute_shifts)

    @property
    def is_stock(self) -> bool:
        """Whether every member is the unperturbed model."""
        return self.sigma == 0.0 and self.mu == 0.0

    def shift(self, member: int, layer: int, token: int | None = None) -> NDArray[np.float32]:
        """The bias z that ``member`` adds at ``layers[layer]``, shape (width,)."""
        where = self.layers[layer]
        standard = noises.eps(self.seed, member, where.name, where.width, token)
        return noises.shift(float(self.sigmas[layer]), self.mu, standard)

    def digest(self) -> str:
        """Hex digest of the noise as resolved: its mode, mu, and sigma of each layer by name."""
        layers = [
            [layer.name, layer.width, float(sigma).hex()]
            for layer, sigma in zip(self.layers, self.sigmas, strict=True)
        ]
        facts = json.dumps([self.noise, self.mu.hex(), layers])
        return hashlib.sha256(facts.encode()).hexdigest()

    def _compute_shifts(self, member: int) -> list[NDArray[np.float32]]:
        return [self.shift(member, index) for index in range(len(self.layers))]

    @contextmanager
    def members(self, rows: Sequence[int]) -> Iterator[None]:
        """Within the block, row i of every batch the model sees is answered by ``rows[i]``.

        With ``num_return_sequences=n`` the model sees len(prompts) * n rows, prompt-major.

        Args:
            rows: one member, a whole number at least 0, for each row.

        Raises:
            UserError: if a member is no whole number, if the model is bound already, if the
                model is then given another number of rows, or on beam search.
        """
        bound = tuple(check_whole("members", member, minimum=0) for member in rows)
        if not bound:
            raise UserError("members: name at least one member, one for each row of the batch")
        self._refuse_bound()
        self._refuse_compiled()
        with ExitStack() as stack:
            for layer in self.layers:
                _BOUND.add(layer.module)
                stack.callback(_BOUND.discard, layer.module)
            if not self.is_stock:
                self._attach(stack, bound)
            yield

    def _refuse_bound(self) -> None:
        if any(module in _BOUND for module in self._model.modules()):
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

    def _attach(self, stack: ExitStack, rows: tuple[int, ...]) -> None:
        stack.callback(guard_generate(self._model))
        if self.noise == "token":
            positions = TokenPositions(self._model, len(rows))
            stack.callback(positions.remove)
        for index, layer in enumerate(self.layers):
            if self.noise == "token":
                shift = functools.partial(self._token_shift, index)
                axis = self._token_axes[index]
                hook = add_per_token(shift, rows, positions, axis, layer)
            else:
                shifts = np.stack([self._member_shifts(member)[index] for member in rows])
                hook = add_per_row(torch.from_numpy(shifts), layer)
            stack.callback(layer.module.register_forward_hook(hook).remove)

    def _token_shift(self, layer: int, member: int, token: int) -> NDArray[np.float32]:
        return self.shift(member, layer, token)
