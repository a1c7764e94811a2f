"""Find the normalization layers of a model, by names that every wrapper agrees on."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from btrans_eval.config import check_pattern
from btrans_eval.errors import UserError

_NORM_CLASS = re.compile(r"Norm(?![a-z]|Head)")  # not NormalizedLinear, not Baichuan's NormHead
_CHANNEL_NORMS = re.compile(r"^(Sync|Lazy)?(Batch|Instance|Group)Norm")  # not over the last dim
_QUERY_KEY = re.compile(r"(^|[._])(q|k|query|key)_?(layer_?)?norm", re.IGNORECASE)

PROBE_ROWS, PROBE_LENGTH = 2, 13  # a length that no number of heads or rows is taken for


@dataclass(frozen=True)
class NormLayer:
    """One normalization layer.

    Attributes:
        name: module path in the base model, the same under PEFT, accelerate or torch.compile.
        module: the module whose output the noise is added to.
        width: size of the last dimension of its output.
        is_flat: whether its output holds the rows of a batch one after another in one dimension,
            (rows * tokens, width), and not in a dimension of their own.
    """

    name: str
    module: nn.Module
    width: int
    is_flat: bool = False


def unwrap(model: nn.Module) -> nn.Module:
    """The transformers model inside torch.compile, DistributedDataParallel and PEFT wrappers."""
    while True:
        if isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod  # type: ignore[assignment]
        elif isinstance(model, nn.parallel.DistributedDataParallel):
            model = model.module
        elif hasattr(model, "get_base_model"):
            model = model.get_base_model()  # type: ignore[operator]
        else:
            return model


def find_norms(model: nn.Module, norms: str = "all") -> list[NormLayer]:
    """The chosen normalization layers of ``model`` in the order of its modules.

    One forward pass over two rows tells the shape of each layer's output; a layer that it does
    not reach (an unused cross-attention, a vision tower) is left out.

    Args:
        model: a model as loaded, wrapped or not.
        norms: ``all``; ``residual`` (as wide as the hidden state, no query or key norms); or a
            regular expression searched for in the layers' names.

    Raises:
        UserError: if the model has no normalization layer, if none is chosen, or if the rows of
            a batch cannot be told apart in the output of one that is.
    """
    model = unwrap(model)
    modules = dict(_normalization_modules(model))
    if not modules:
        kinds = sorted({type(module).__name__ for module in model.modules()})
        raise UserError(
            f"norms: the model must have normalization layers, but {type(model).__name__} has "
            f"none among its modules ({', '.join(kinds)}); choose another model"
        )
    shapes = output_shapes(model, list(modules.values()), PROBE_ROWS, PROBE_LENGTH)
    widths = {name: shape[-1] for name, shape in zip(modules, shapes, strict=True) if shape}
    chosen = [name for name in widths if _is_chosen(name, widths[name], norms, model)]
    if not chosen:
        names = ", ".join(list(widths)[:8])
        more = f", and {len(widths) - 8} more" if len(widths) > 8 else ""
        raise UserError(
            f"norms: must choose at least one layer, but {norms!r} matches none of "
            f"{names}{more}; use norms=all, norms=residual or a regular expression on these names"
        )
    shape_of = dict(zip(modules, shapes, strict=True))
    return [
        NormLayer(name, modules[name], widths[name], _is_flat(shape_of[name], name))
        for name in chosen
    ]


def _is_flat(shape: tuple[int, ...], name: str) -> bool:
    if shape[0] == PROBE_ROWS:
        return False
    if len(shape) == 2 and shape[0] % (PROBE_ROWS * PROBE_LENGTH) == 0:
        return True
    raise UserError(
        f"norms: rows of a batch must come first in a layer's output, but {name} returned "
        f"{shape} for {PROBE_ROWS} rows of {PROBE_LENGTH} tokens; leave it out with a regular "
        "expression, or use norms=residual"
    )


@torch.no_grad()
def output_shapes(
    model: nn.Module, modules: Sequence[nn.Module], rows: int, length: int
) -> list[tuple[int, ...]]:
    """Shape of each module's output for so many rows and tokens; () if it was not called."""
    shapes: list[tuple[int, ...]] = [()] * len(modules)

    def note(index: int, module: nn.Module, args: Any, output: Tensor) -> None:
        shapes[index] = tuple(output.shape)

    with ExitStack() as stack:
        for index, module in enumerate(modules):
            hook = functools.partial(note, index)
            stack.callback(module.register_forward_hook(hook).remove)
        device = next(model.parameters()).device
        model(torch.ones((rows, length), dtype=torch.long, device=device))
    return shapes


def _normalization_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    inside: tuple[str, ...] = ()
    for name, module in model.named_modules():
        if inside and name.startswith(inside):
            continue
        if is_norm(module) or is_norm(_wrapped_by_peft(module)):
            inside = (*inside, name + ".")
            yield name, module


def _wrapped_by_peft(module: nn.Module) -> nn.Module | None:
    """The layer that a PEFT tuner or a saved copy stands in for; its noise is added once."""
    for attribute in ("base_layer", "original_module"):
        inner = getattr(module, attribute, None)
        if isinstance(inner, nn.Module):
            return inner
    return None


def is_norm(module: nn.Module | None) -> bool:
    """Whether a module is a normalization layer over its last dimension, by its class's name."""
    if module is None or next(module.children(), None) is not None:
        return False
    name = type(module).__name__
    return bool(_NORM_CLASS.search(name)) and not _CHANNEL_NORMS.search(name)


def _is_chosen(name: str, width: int, norms: str, model: nn.Module) -> bool:
    if norms == "all":
        return True
    if norms == "residual":
        return width == hidden_size(model) and not _QUERY_KEY.search(name)
    return check_pattern("norms", norms).search(name) is not None


def hidden_size(model: nn.Module) -> int:
    """Width of the residual stream."""
    config: Any = model.config
    return int(config.get_text_config().hidden_size)


@torch.no_grad()
def gain_rms(layer: NormLayer) -> float:
    """Root mean square of the gain that the layer multiplies by, in float64.

    The gain is ``weight``, ``1 + weight`` (Gemma's convention) or 1 (no weight). Which of the
    first two holds is read from what the layer does to a vector of +1 and -1, not from its name.
    """
    norm = layer.module
    if _wrapped_by_peft(norm) is not None:
        raise UserError(
            f"prior: scaled needs the gain of every layer, but that of {layer.name} is trained by "
            "the adapter; use prior=isotropic, or merge the adapter"
        )
    weight = getattr(norm, "weight", None)
    if weight is None:
        return 1.0
    if weight.is_meta:
        raise UserError(
            f"prior: scaled needs the weight of {layer.name}, which is not on a device "
            "(offloaded); use prior=isotropic or keep the layer in memory"
        )
    gain = weight.detach().to("cpu", torch.float64).numpy()
    if _adds_one(norm, weight, layer.name):
        gain = 1.0 + gain
    return float(np.sqrt(np.mean(np.square(gain))))


def _adds_one(norm: nn.Module, weight: Tensor, name: str) -> bool:
    signs = torch.ones((1, *weight.shape), dtype=weight.dtype, device=weight.device)
    signs[..., 1::2] = -1.0
    try:
        outputs = [norm(signs), norm(-signs)]
        up, down = (each[0] if isinstance(each, tuple) else each for each in outputs)
        # half the difference of f(x) and f(-x): the bias of a LayerNorm cancels
        measured = (up - down) / 2 * signs
    except TypeError:
        raise UserError(
            f"prior: scaled needs the gain of every layer, but {name} ({type(norm).__name__}) "
            "cannot be called alone; use prior=isotropic or leave it out with norms="
        ) from None
    off = (measured - weight).float().abs().mean()
    return bool((measured - 1 - weight).float().abs().mean() < off)
