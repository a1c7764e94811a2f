"""One forward pass of a model, to see what its modules take and return."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

ROWS, LENGTH = 2, 13  # a length that no number of heads or rows is taken for
LONG = 269  # some layers come into play after 128 tokens

_WHOLE = {"layer_norm", "rms_norm", "normalize"}
_LENGTHS = {"rsqrt", "sqrt", "norm", "vector_norm", "linalg_vector_norm", "linalg_norm"}


@dataclass(frozen=True)
class Call:
    """What a module was called with and what it returned, by shapes.

    Attributes:
        length: tokens of each row of the pass.
        inputs: shape and dtype of every tensor among its arguments, in the order of its signature.
        outputs: shape of each tensor that it returned; of one, unless `is_tuple`.
        is_tuple: whether it returned several things.
    """

    length: int
    inputs: tuple[tuple[tuple[int, ...], torch.dtype], ...]
    outputs: tuple[tuple[int, ...], ...]
    is_tuple: bool


@torch.no_grad()
def calls(
    model: nn.Module,
    modules: Sequence[nn.Module],
    rows: int,
    length: int,
    are_alike: bool = True,
) -> list[Call | None]:
    """How each module was called by `run`, the last time; None: not at all."""
    found: dict[nn.Module, Call] = {}

    def note(module: nn.Module, args: Any, given: Any, output: Any) -> None:
        inputs = [each for each in _in_order(module, args, given) if isinstance(each, Tensor)]
        outputs = output if isinstance(output, tuple) else (output,)
        found[module] = Call(
            length,
            tuple((tuple(each.shape), each.dtype) for each in inputs),
            tuple(tuple(each.shape) if isinstance(each, Tensor) else () for each in outputs),
            isinstance(output, tuple),
        )

    with ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_hook(note, with_kwargs=True).remove)
        run(model, rows, length, are_alike)
    return [found.get(module) for module in modules]


def _in_order(module: nn.Module, args: Any, given: Mapping[str, Any]) -> list[Any]:
    """The arguments of a call in the order in which the module declares them."""
    try:
        bound = inspect.signature(module.forward).bind(*args, **given)
    except (TypeError, ValueError):  # it is not written in Python
        return [*args, *given.values()]
    return [*bound.args, *bound.kwargs.values()]


def run(model: nn.Module, rows: int, length: int, are_alike: bool = True) -> None:
    """A forward pass over so many tokens, all the same or two in turn."""
    tokens = torch.ones((rows, length), dtype=torch.long, device=next(model.parameters()).device)
    if not are_alike:
        tokens[:, ::2] = 0
    model(tokens)


@torch.no_grad()
def entry(model: nn.Module) -> nn.Module:
    """The module that a forward pass enters with the tokens, as generation and adapters do too.

    The base model; where that is never called as a whole, the first part that takes tokens.
    """
    base = getattr(model, "base_model", model)
    entered: list[nn.Module] = []
    with ExitStack() as stack:
        for module in model.modules():
            if _takes_tokens(module):
                hook = module.register_forward_pre_hook(lambda each, args: entered.append(each))
                stack.callback(hook.remove)
        run(model, ROWS, LENGTH)
    if base in entered:
        return base
    return next((module for module in entered if module is not model), model)


def _takes_tokens(module: nn.Module) -> bool:
    try:
        return "input_ids" in inspect.signature(module.forward).parameters
    except (TypeError, ValueError):  # it is not written in Python
        return False


@torch.no_grad()
def functional_norms(model: nn.Module, norms: Sequence[nn.Module]) -> dict[str, nn.Module]:
    """Modules, other than these, that normalize vectors in their own code, by name.

    They divide by a vector's length, or call one of torch's functions that do, in a forward pass
    over a few tokens; or their code names the l2norm of a kernel that does.
    """
    watch = _Watch(set(norms))
    with ExitStack() as stack:
        for module in model.modules():
            stack.enter_context(_inside(module, watch))
        stack.enter_context(watch)
        run(model, ROWS, LENGTH)
    found = watch.found | {each for each in watch.entered if _names_l2norm(each)}
    return {name: module for name, module in model.named_modules() if module in found}


class _Watch(TorchFunctionMode):
    def __init__(self, norms: set[nn.Module]) -> None:
        super().__init__()
        self.norms = norms
        self.stack: list[nn.Module] = []
        self.entered: set[nn.Module] = set()
        self.found: set[nn.Module] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        of_vectors = name in _WHOLE or (
            name in _LENGTHS
            and isinstance(output, Tensor)
            and output.ndim > 2
            and output.shape[-1] == 1
        )
        if of_vectors and self.stack and not self.norms.intersection(self.stack):
            self.found.add(self.stack[-1])
        return output


@contextmanager
def _inside(module: nn.Module, watch: _Watch) -> Iterator[None]:
    def enter(module: nn.Module, args: Any) -> None:
        watch.stack.append(module)
        watch.entered.add(module)

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        watch.stack.pop()

    hooks = [
        module.register_forward_pre_hook(enter),
        module.register_forward_hook(leave, always_call=True),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _names_l2norm(module: nn.Module) -> bool:
    try:
        return "l2norm" in inspect.getsource(type(module).forward)
    except (OSError, TypeError):  # its code is not at hand
        return False
