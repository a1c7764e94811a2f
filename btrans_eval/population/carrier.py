"""A model that carries noise: bound once, uncompiled, and free again whatever happens."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from torch import nn

from btrans_eval.errors import UserError
from btrans_eval.population import probe
from btrans_eval.population.hooks import Adding, Shift, guard_generate, refuse_call, token_axes
from btrans_eval.population.norms import survey, unwrap

_BOUND = "_is_bound_to_members"
"""Attribute of a module while a population has it."""


class Carrier:
    """A model and its chosen normalization layers.

    Args:
        given: a decoder-only transformers model, wrapped or not.
        norms: which layers; as `Population`'s.

    Attributes:
        model: the transformers model in what was given.
        survey: what was found of its norms.

    Raises:
        UserError: if the model is an encoder-decoder or bound to members.
    """

    def __init__(self, given: nn.Module, norms: str) -> None:
        self._given, self.model = given, unwrap(given)
        if getattr(getattr(self.model, "config", None), "is_encoder_decoder", False):
            raise UserError(
                f"model: must be decoder-only, but {type(self.model).__name__} is an "
                "encoder-decoder; choose a causal language model"
            )
        self._refuse_bound()
        self.survey = survey(given, norms)

    @functools.cached_property
    def decoder(self) -> nn.Module:
        """The module that a forward pass enters with the tokens."""
        return probe.entry(self.model)

    @functools.cached_property
    def axes_of_tokens(self) -> list[int]:
        """Which dimension of each layer's output runs over tokens."""
        return token_axes(self.model, self.survey.layers)

    @contextmanager
    def held(self) -> Iterator[ExitStack]:
        """The layers marked as bound; what is put on the stack is undone at the end.

        Raises:
            UserError: if the model is bound already, or compiled.
        """
        self._refuse_bound()
        self._refuse_compiled()
        with ExitStack() as stack:
            for layer in self.survey.layers:
                setattr(layer.module, _BOUND, True)
                stack.callback(vars(layer.module).pop, _BOUND, None)
            yield stack

    def add(self, stack: ExitStack, shifts: Sequence[Shift | None]) -> None:
        """Add a shift to each layer's output, None to none, until the stack is left."""
        stack.callback(guard_generate(self.model))
        for layer, shift in zip(self.survey.layers, shifts, strict=True):
            if shift is not None:
                hook = Adding(shift, layer)
                handle = layer.module.register_forward_hook(hook, with_kwargs=True)
                stack.callback(handle.remove)
        for name, module in self.survey.unreached.items():
            stack.callback(module.register_forward_hook(refuse_call(name)).remove)

    def _refuse_bound(self) -> None:
        if any(hasattr(module, _BOUND) for module in self.model.modules()):
            raise UserError(
                "members: this model is bound to members already, and noise must not be added "
                "twice; leave the outer `with population.members(...)` block first"
            )

    def _refuse_compiled(self) -> None:
        """A compiled graph keeps the hooks that it was traced with, and ignores new ones."""
        for module in (self._given, *self.model.modules()):
            compiled = getattr(module, "_compiled_call_impl", None) is not None
            if compiled or hasattr(module, "_orig_mod"):
                raise UserError(
                    f"model: must not be compiled, but {type(module).__name__} is: its graph "
                    "would ignore the noise; pass the model as it was before torch.compile"
                )
