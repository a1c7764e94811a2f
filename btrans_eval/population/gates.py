"""Norms that multiply by a gate: whether the gate comes after the gain, and what it multiplies by.

Some modules return Norm(x) * w * g(gate), and the bias belongs before g. Others gate their input
and return Norm(x * g(gate)) * w, and the bias belongs after them. What a module does is measured,
and so is g: its own forward pass with weights of 1 and of 0, over vectors whose norm is known,
differs by g alone, whatever g is and whatever kernel computes it.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from btrans_eval.errors import UserError
from btrans_eval.population.probe import Call

LARGE = 128.0
"""Of numbers beside whose squares a norm's epsilon vanishes, and whose squares fit 16 bits."""
_EQUAL = 0.02  # of numbers of 16 bits

Gate = Callable[[Sequence[Any], Mapping[str, Any]], Tensor]


def gate_of(module: nn.Module, name: str) -> Gate:
    """What the module multiplies by after its gain, from the arguments that it is called with.

    Raises:
        UserError: if its weight is not on a device.
    """
    weight = module._parameters.get("weight")
    if weight is not None and weight.is_meta:
        raise UserError(
            f"norms: the noise of {name} goes before its gate, which needs its weight in memory, "
            "but that is offloaded; keep it in memory, or leave it out with norms="
        )
    one = _with_weight(module, 1.0)
    none = None if weight is None else _with_weight(module, 0.0)

    def gate(args: Sequence[Any], given: Mapping[str, Any]) -> Tensor:
        bound = inspect.signature(module.forward).bind(*args, **given)
        first = next(name for name in bound.arguments if isinstance(bound.arguments[name], Tensor))
        signs = signs_like(bound.arguments[first])
        bound.arguments[first] = LARGE * signs
        found: Tensor = type(one).forward(one, *bound.args, **bound.kwargs)
        if none is not None:  # what is left where the weight is 0: a gain of 1 that it adds to
            found = found - type(none).forward(none, *bound.args, **bound.kwargs)
        return found * signs

    return gate


@torch.no_grad()
def is_gated(module: nn.Module, call: Call, name: str) -> bool:
    """Whether a module multiplies by a gate after its gain.

    Raises:
        UserError: if its other arguments change its output in another way.
    """
    if len(call.inputs) < 2:
        return False
    alone, device = callable_alone(module)
    (shape, dtype), *others = call.inputs
    x = torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(0)).to(device)
    if not all(kind.is_floating_point for _, kind in others):
        return False

    def gates(value: float) -> list[Tensor]:
        return [torch.full(size, value, dtype=kind, device=device) for size, kind in others]

    low, high = (_returned(alone, [x, *gates(value)], name) for value in (1.0, 3.0))
    if _near(low, high):
        return False
    ratio = (low * high).sum() / low.square().sum()
    if _near(high, ratio * low):
        found = gate_of(alone, name)([x, *gates(1.0)], {})
        if _near(found, found.mean()):
            return True
    elif _near(low, _returned(alone, [3 * x, *gates(3.0)], name)):  # it is the norm of a sum
        return False
    raise UserError(
        f"norms: {name} ({type(module).__name__}) combines its output with another input, and "
        "where its noise belongs cannot be told; leave it out with a regular expression"
    )


@torch.no_grad()
def normalized_parts(module: nn.Module, call: Call, name: str) -> list[int]:
    """Which of the things that a module returns are vectors whose length its inputs do not change.

    They hold as many numbers as an input, whose heads may be joined. A module that returns a norm
    and the sum that it was taken of has noise in the norm only.
    """
    sizes = [math.prod(shape) for shape, _ in call.inputs]
    parts = [
        place for place, shape in enumerate(call.outputs) if shape and math.prod(shape) in sizes
    ]
    if not call.is_tuple:
        return parts
    alone, device = callable_alone(module)
    generator = torch.Generator().manual_seed(0)
    inputs = [
        torch.randn(shape, dtype=dtype, generator=generator).to(device)
        for shape, dtype in call.inputs
    ]
    some = _returned(alone, inputs, name)
    others = _returned(alone, [3 * each for each in inputs], name)
    return [place for place in parts if _near(some[place], others[place])]


def _returned(module: nn.Module, inputs: Sequence[Tensor], name: str) -> Any:
    try:
        return module.forward(*inputs)
    except Exception as error:  # it may be anybody's code
        raise UserError(
            f"norms: {name} ({type(module).__name__}) cannot be called alone "
            f"({' '.join(str(error).split())}), so where its noise belongs cannot be told; leave "
            "it out with a regular expression"
        ) from error


def callable_alone(module: nn.Module) -> tuple[nn.Module, torch.device]:
    """The module, or one like it with weights of 1 where it has none, and where it computes."""
    if device_of(module).type != "meta":
        return module, device_of(module)
    alone = copy.deepcopy(module).to_empty(device="cpu")
    for parameter in alone.parameters():
        nn.init.ones_(parameter)
    return alone, torch.device("cpu")


def device_of(module: nn.Module) -> torch.device:
    """Where a module computes; the CPU where it has nothing that tells."""
    first = next((each for each in (*module.parameters(), *module.buffers())), None)
    return torch.device("cpu") if first is None else first.device


def _near(some: Tensor, others: Tensor) -> bool:
    return bool((some - others).abs().max() <= _EQUAL * some.abs().max())


def signs_like(x: Tensor) -> Tensor:
    """+1 and -1 in turn, so that their mean is 0 and their root mean square 1."""
    signs = torch.ones_like(x)
    signs[..., 1::2] = -1.0
    return signs


def _with_weight(module: nn.Module, value: float) -> nn.Module:
    """The same module with another weight; neither it nor its hooks are touched."""
    other = copy.copy(module)
    weight = module._parameters.get("weight")
    if weight is not None:
        filled = nn.Parameter(torch.full_like(weight, value), requires_grad=False)
        other.__dict__["_parameters"] = {**module._parameters, "weight": filled}
    return other
