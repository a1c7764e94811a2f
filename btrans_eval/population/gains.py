"""What a normalization layer multiplies by."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from btrans_eval.errors import UserError
from btrans_eval.population import gates
from btrans_eval.population.norms import NormLayer, wrapped_by_peft


@torch.no_grad()
def gain_rms(layer: NormLayer) -> float:
    """Root mean square of the gain that the layer multiplies by, in float64.

    The gain is ``weight``, ``1 + weight`` (Gemma's convention) or 1 (no weight). Which of the
    first two holds is read from what the layer does to a vector of +1 and -1, not from its name;
    and so is the gain of a layer whose weight alone does not tell.
    """
    norm = layer.module
    if wrapped_by_peft(norm) is not None:
        raise UserError(
            f"prior: scaled needs the gain of every layer, but that of {layer.name} is trained by "
            "the adapter; use prior=isotropic, or merge the adapter"
        )
    weight = getattr(norm, "weight", None)
    if weight is None and layer.part is None:
        return 1.0
    if any(each.is_meta for each in norm.parameters()):
        raise UserError(
            f"prior: scaled needs the weight of {layer.name}, which is not on a device "
            "(offloaded); use prior=isotropic or keep the layer in memory"
        )
    try:
        if weight is None or _joins_heads(layer):
            return _measured(layer)
        gain = weight.detach().to("cpu", torch.float64).numpy()
        if _adds_one(layer, weight):
            gain = 1.0 + gain
        return float(np.sqrt(np.mean(np.square(gain))))
    except TypeError:
        raise UserError(
            f"prior: scaled needs the gain of every layer, but {layer.name} "
            f"({type(norm).__name__}) cannot be called alone; use prior=isotropic or leave it out "
            "with norms="
        ) from None


def _joins_heads(layer: NormLayer) -> bool:
    """Whether it returns the heads of a token side by side."""
    call = layer.call
    return call is not None and call.outputs[0][-1] != call.inputs[0][0][-1]


def _adds_one(layer: NormLayer, weight: Tensor) -> bool:
    norm = layer.module
    signs = torch.ones((1, *weight.shape), dtype=weight.dtype, device=weight.device)
    signs[..., 1::2] = -1.0
    gate = [torch.ones_like(signs)] if layer.is_gated else []
    outputs = [norm(signs, *gate), norm(-signs, *gate)]
    up, down = (each[0] if isinstance(each, tuple) else each for each in outputs)
    # half the difference of f(x) and f(-x): the bias of a LayerNorm cancels
    measured = (up - down) / 2 * signs
    if gate:
        measured = measured / gates.gate_of(norm, layer.name)([signs, *gate], {})
    off = (measured - weight).float().abs().mean()
    return bool((measured - 1 - weight).float().abs().mean() < off)


def _measured(layer: NormLayer) -> float:
    """From what the layer does to vectors of equal numbers with signs, shaped as it is called."""
    norm, call = layer.module, layer.call
    if call is None:
        raise TypeError("it is not known how the layer is called")
    device = gates.device_of(norm)
    inputs = [
        gates.LARGE * gates.signs_like(torch.ones(shape, dtype=kind, device=device))
        for shape, kind in call.inputs
    ]
    up, down = norm(*inputs), norm(*(-each for each in inputs))
    if layer.part is not None:
        up, down = up[layer.part], down[layer.part]
    return float(((up - down).double() / 2).square().mean().sqrt())
