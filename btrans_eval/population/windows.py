"""Which of the rows that are bound a forward pass holds: all, the next few, or all in one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from btrans_eval.config import check_whole
from btrans_eval.errors import UserError
from btrans_eval.population.norms import NormLayer


class Window:
    """The rows of the forward pass under way, among those that are bound.

    Attributes:
        rows: their slice; all of them, unless forward passes take them in turn.
    """

    def __init__(self) -> None:
        self.rows = slice(None)

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Within the block the rows are those of the forward pass under way."""
        yield


WHOLE = Window()
"""Every forward pass holds all rows."""


class NextRows(Window):
    """Each forward pass holds the next n of the rows, n being how many it is given; then again.

    So prefill and decoding of all rows, and a pass over all of them in chunks, are bound alike.
    Under gradient checkpointing layers run again in the backward pass, which nothing announces:
    where gradients are wanted a pass must hold all rows.

    Args:
        decoder: the module that a forward pass enters with the tokens.
        count: how many rows there are.
    """

    def __init__(self, decoder: nn.Module, count: int) -> None:
        super().__init__()
        self._decoder, self._count, self._next = decoder, count, 0

    @contextmanager
    def followed(self) -> Iterator[None]:
        hook = self._decoder.register_forward_pre_hook(self._enter, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()

    def _enter(self, module: nn.Module, args: Any, kwargs: Mapping[str, Any]) -> None:
        given = int(entering(args, kwargs).shape[0])
        end = self._next + given
        if end > self._count:
            raise UserError(
                f"windows: a forward pass must hold the next of {self._count} rows, but after "
                f"{self._next} of them it was given {given}; give chunks that end with the last row"
            )
        if given < self._count and torch.is_grad_enabled():
            raise UserError(
                f"windows: a forward pass with gradients must hold all {self._count} rows, but it "
                f"was given {given}; bind these alone with members(...) until after backward"
            )
        self.rows = slice(self._next, end)
        self._next = end % self._count


def checked_rows(
    rows: Sequence[int], first: Sequence[int] | None, noise_from: str
) -> tuple[int, ...]:
    """The members of rows, if they and where their noise begins are what ``noise_from`` wants."""
    bound = tuple(check_whole("members", member, minimum=0) for member in rows)
    if not bound:
        raise UserError("members: name at least one member, one for each row of the batch")
    if (first is not None) != (noise_from == "generation"):
        raise UserError(
            "first: must be given with noise_from=generation, and only with it, got "
            f"{first!r} with noise_from={noise_from}"
        )
    if first is not None and len(first) != len(bound):
        raise UserError(f"first: must have one index for each of {len(bound)} rows")
    return bound


def entering(args: Any, kwargs: Mapping[str, Any]) -> Tensor:
    """The tokens, or their embeddings, that a forward pass enters with."""
    tokens = kwargs.get("input_ids", args[0] if args else None)
    found: Tensor = kwargs["inputs_embeds"] if tokens is None else tokens
    return found


def checked_shifts(shifts: Tensor, layer: NormLayer) -> Tensor:
    """What was given to be added to a layer's output, shape (rows, width).

    Raises:
        UserError: if the shape is another.
    """
    if shifts.ndim != 2 or shifts.shape[1] != layer.width:
        raise UserError(
            f"shifts: must have shape (rows, {layer.width}) at {layer.name}, got "
            f"{tuple(shifts.shape)}"
        )
    return shifts


def per_packed_row(
    shifts: Tensor, lengths: Sequence[int], layer: NormLayer, axis: int
) -> Callable[[Tensor], Tensor]:
    """Adds ``shifts[i]`` to the tokens of row i, all rows standing one after another in one.

    Args:
        shifts: float32, shape (rows, width); cast to the output's dtype before it is added.
        lengths: tokens of each row.
        layer: where they are added.
        axis: which dimension of the layer's output runs over tokens.
    """
    tokens = sum(lengths)
    ready: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}

    def spread(output: Tensor) -> Tensor:
        """Shape (tokens, width); made at every call, since kept for each layer it is much."""
        place = (output.device, output.dtype)
        if place not in ready:
            ready[place] = shifts.to(*place), torch.tensor(lengths, device=output.device)
        rows, repeats = ready[place]
        return rows.repeat_interleave(repeats, dim=0, output_size=tokens)

    def shift(output: Tensor) -> Tensor:
        if layer.is_flat and output.shape[0] % tokens == 0:
            return spread(output).repeat_interleave(output.shape[0] // tokens, dim=0)
        if layer.is_flat or output.shape[0] != 1 or output.shape[axis] != tokens:
            raise UserError(
                f"packed: the rows have {tokens} tokens in all, but {layer.name} was given "
                f"{tuple(output.shape)}; give the model one row of all of them"
            )
        shape = [1] * (output.ndim - 1) + [layer.width]
        shape[axis] = tokens
        return spread(output).view(shape)

    return shift
