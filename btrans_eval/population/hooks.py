"""Forward hooks that add noise to a layer's output, checked against the rows that are bound."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from btrans_eval.errors import UserError
from btrans_eval.population import probe
from btrans_eval.population.gates import gate_of
from btrans_eval.population.key_values import cache_in
from btrans_eval.population.norms import NormLayer
from btrans_eval.population.windows import WHOLE, Window, entering

Shift = Callable[[Tensor], Tensor]
"""From a layer's output to what is added to it, of a shape that broadcasts to the output's."""

_PROBE_LENGTHS = (13, 17, 19, 23)


class Adding:
    """A forward hook, with keyword arguments, that adds to one layer's output.

    Args:
        shift: what is added.
        layer: where; before the gate of a layer that has one.
    """

    def __init__(self, shift: Shift, layer: NormLayer) -> None:
        self._shift, self._layer = shift, layer
        self._gate = gate_of(layer.module, layer.name) if layer.is_gated else None

    def __call__(self, module: nn.Module, args: Any, given: Any, output: Any) -> Any:
        """The output with the shift added."""
        if self._layer.part is not None:
            parts = list(output)
            parts[self._layer.part] = output[self._layer.part] + self._shift(
                output[self._layer.part]
            )
            return tuple(parts)
        shift = self._shift(output)
        return output + (shift if self._gate is None else shift * self._gate(args, given))


def refuse_call(name: str) -> Callable[..., None]:
    """A forward hook of a layer that carries no noise though it was chosen.

    Args:
        name: of the layer.
    """

    def hook(module: nn.Module, args: Any, output: Any) -> None:
        raise UserError(
            f"norms: {name} was chosen but carries no noise, because the passes that look for "
            "norms did not reach it, and now it is called; leave it out with a regular expression"
        )

    return hook


def per_row(shifts: Tensor, layer: NormLayer, window: Window = WHOLE) -> Shift:
    """Adds ``shifts[i]`` to row i of the layer's output, at every token.

    Args:
        shifts: float32, shape (rows, width); cast to the output's dtype before it is added.
        layer: where they are added.
        window: which of the rows the forward pass under way holds.
    """
    ready: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def shift(output: Tensor) -> Tensor:
        place = (output.device, output.dtype)
        if place not in ready:
            ready[place] = shifts.to(*place)
        given = ready[place][window.rows]
        rows = given.shape[0]
        check_output(output, rows, layer)
        if layer.is_flat:
            return given.repeat_interleave(output.shape[0] // rows, dim=0)
        return given.view(rows, *[1] * (output.ndim - 2), layer.width)

    return shift


@dataclass(frozen=True)
class Where:
    """The tokens that get noise.

    Attributes:
        rows: the member of each row.
        starts: the index of each row's first token that gets noise, padding not counted.
        positions: index of each token without padding, for the forward pass under way.
        axis: which dimension of the layer's output runs over tokens.
        is_head: whether the layer comes after the decoder, where only the last tokens may be kept.
        window: which of the rows the forward pass under way holds.
    """

    rows: Sequence[int]
    starts: Sequence[int]
    positions: TokenPositions
    axis: int
    is_head: bool = False
    window: Window = WHOLE

    def tokens(self, output: Tensor, layer: NormLayer) -> NDArray[np.int64]:
        """Index of each token of a layer's output, shape (rows, tokens).

        Raises:
            UserError: if these are others than the model was given.
        """
        given, count = self.positions.current, output.shape[self.axis]
        if count == given.shape[1] or (self.is_head and count < given.shape[1]):
            return given[:, given.shape[1] - count :]
        raise UserError(
            "noise: token, and noise_from=generation, need the place of every token, but "
            f"{layer.name} was given {count} of them where the model was given {given.shape[1]}; "
            "use noise=sequence and noise_from=prompt"
        )


def per_token(
    shift: Callable[[int, int], NDArray[np.float32]], where: Where, layer: NormLayer
) -> Shift:
    """Adds ``shift(member, token)`` at every token of a row from its start on.

    Args:
        shift: the bias of a member at a token, float32, shape (width,).
        where: which tokens.
        layer: where they are added.
    """
    none = np.zeros(layer.width, dtype=np.float32)

    def added(output: Tensor) -> Tensor:
        rows, starts = where.rows[where.window.rows], where.starts[where.window.rows]
        check_output(output, len(rows), layer)
        tokens = where.tokens(output, layer)
        shifts = np.stack(
            [
                np.stack([shift(member, int(t)) if t >= start else none for t in row])
                for member, start, row in zip(rows, starts, tokens, strict=True)
            ]
        )  # (rows, tokens, width)
        shape = [len(rows), *[1] * (output.ndim - 2), layer.width]
        shape[where.axis] = tokens.shape[1]
        return torch.from_numpy(shifts).to(output.device, output.dtype).view(shape)

    return added


def from_start(shifts: Tensor, where: Where, layer: NormLayer) -> Shift:
    """Adds ``shifts[i]`` to row i of the layer's output, from its start on.

    Args:
        shifts: float32, shape (rows, width).
        where: which tokens.
        layer: where they are added.
    """
    starts = np.asarray(where.starts)[:, None]

    def added(output: Tensor) -> Tensor:
        given = shifts[where.window.rows].to(output.device, output.dtype)
        rows = given.shape[0]
        check_output(output, rows, layer)
        tokens = where.tokens(output, layer)
        mask = torch.from_numpy(tokens >= starts[where.window.rows]).to(output.device, output.dtype)
        per_token, per_row = [rows, *[1] * (output.ndim - 1)], [rows, *[1] * (output.ndim - 1)]
        per_token[where.axis], per_row[-1] = tokens.shape[1], layer.width
        return mask.view(per_token) * given.view(per_row)

    return added


def check_output(output: Tensor, rows: int, layer: NormLayer) -> None:
    """Refuse an output that the biases of ``rows`` members do not fit, row for row."""
    given = output.shape[0]
    if layer.is_flat and given % rows == 0:
        return
    if given != rows:
        raise UserError(
            f"members: bind one member for each row that the model sees, but {rows} are bound "
            f"and {layer.name} was given {given} rows (with num_return_sequences=n name "
            "len(prompts) * n members, prompt-major)"
        )


class TokenPositions:
    """Index of each token without padding, from 0, of the forward pass under way.

    Read where the decoder is entered: from the attention mask if there is one (left or right
    padding), else from the position ids, else counted on from the cache.
    """

    def __init__(self, decoder: nn.Module, rows: int, window: Window = WHOLE) -> None:
        self.current: NDArray[np.int64] = np.zeros((0, 0), dtype=np.int64)  # (rows, tokens)
        self._rows, self._window = rows, window
        self.remove = decoder.register_forward_pre_hook(self._enter, with_kwargs=True).remove

    def _enter(self, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        tokens = entering(args, kwargs)
        rows = len(range(self._rows)[self._window.rows])
        if tokens.shape[0] != rows:
            raise UserError(
                f"members: bind one member for each row that the model sees, but {rows} "
                f"are bound and the model was given {tokens.shape[0]} rows"
            )
        self.current = _token_index(kwargs, tokens.shape[0], tokens.shape[1]).cpu().numpy()


def _token_index(kwargs: dict[str, Any], rows: int, length: int) -> Tensor:
    mask, ids = kwargs.get("attention_mask"), kwargs.get("position_ids")
    if isinstance(mask, Tensor) and mask.ndim == 2:
        return (mask.long().cumsum(1) - 1).clamp(min=0)[:, -length:]
    if isinstance(ids, Tensor) and ids.ndim == 2:
        return ids.expand(rows, length)
    if mask is not None:
        raise UserError(
            "noise: token, and noise_from=generation, need the place of every token, but the "
            "model was given an attention mask that is not (rows, tokens) and no position ids; "
            "use noise=sequence and noise_from=prompt"
        )
    cache = cache_in(kwargs)
    if cache is None:
        cache = next((kwargs[name] for name in kwargs if _is_state(name, kwargs[name])), None)
    try:
        start = 0 if cache is None else int(cache.get_seq_length())
    except (AttributeError, TypeError, ValueError) as error:  # a state-space model's, or an older
        raise UserError(
            "noise: token, and noise_from=generation, need the place of every token, but this "
            f"model keeps its state without counting them ({type(cache).__name__}); use "
            "noise=sequence and noise_from=prompt"
        ) from error
    return torch.arange(start, start + length).expand(rows, length)


def _is_state(name: str, value: Any) -> bool:
    """Whether an argument carries what was read before, by a name of the model's own."""
    named = re.search(r"(^|_)(past|mems|states?)(_|$)", name) and not name.startswith("encoder")
    return bool(named) and value is not None and not isinstance(value, bool)


def token_axes(model: nn.Module, layers: Sequence[NormLayer]) -> list[int]:
    """Which dimension of each layer's output runs over tokens.

    Norms over heads come as (rows, tokens, heads, width) in some models and as (rows, heads,
    tokens, width) in others; one forward pass over a length that nothing else has tells.
    """
    modules = [layer.module for layer in layers]
    for length in _PROBE_LENGTHS:
        seen = probe.calls(model, modules, probe.ROWS, length)
        shapes = [
            call.outputs[layer.part or 0] if call else ()
            for call, layer in zip(seen, layers, strict=True)
        ]
        fits = [[axis for axis, size in enumerate(shape) if size == length] for shape in shapes]
        if all(len(axes) == 1 for axes in fits):
            return [axes[0] for axes in fits]
    unclear = [layer.name for layer, axes in zip(layers, fits, strict=True) if len(axes) != 1]
    raise UserError(
        "noise: token, and noise_from=generation, need to know which dimension runs over tokens, "
        f"which is unclear for {', '.join(unclear[:4])}; use noise=sequence and "
        "noise_from=prompt, or leave them out with norms="
    )


def guard_generate(model: Any) -> Callable[[], None]:
    """Make ``model.generate`` refuse beam search and not compile; returns the undo.

    Beam search copies the cache of one row over another, so rows would change members. A graph
    that was compiled without the hooks would go on without them, and silently.
    """
    generate, is_own = getattr(model, "generate", None), "generate" in vars(model)
    if generate is None:
        return lambda: None

    def guarded(*args: Any, **kwargs: Any) -> Any:
        given = kwargs.get("generation_config", args[1] if len(args) > 1 else None)
        asked = [kwargs.get("num_beams"), getattr(given, "num_beams", None)]
        asked.append(getattr(model.generation_config, "num_beams", None))
        beams = next((number for number in asked if number is not None), 1)
        if beams > 1:
            raise UserError(
                f"num_beams: must be 1 under a population, got {beams}: beam search copies rows "
                "over one another, and a row belongs to one member; sample instead"
            )
        if not getattr(given, "disable_compile", False):
            kwargs.setdefault("disable_compile", True)
        return generate(*args, **kwargs)

    model.generate = guarded
    if is_own:  # and not the class's: it stays there
        return lambda: setattr(model, "generate", generate)
    return lambda: delattr(model, "generate")
