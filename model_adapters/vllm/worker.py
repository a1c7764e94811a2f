"""Noise inside vLLM's workers: a bias in every normalization layer, from before it is compiled.

vLLM imports this module in each worker before the model is built, because ``worker_extension_cls``
names a class of it. From then on every normalization layer that becomes part of a model has a
buffer ``btrans_shift``, zero at first, which it adds to its output once, whatever kernel computes
that output. The buffer is part of the graph that vLLM compiles or captures, and its values change
in place. It is no part of the state dict. In an engine where members share batches it is one row of
a table (`mixing`), of which each token adds the row of its member.

The hook on module registration is torch's public one; vLLM's own registry of replacements knows
only layers that are a ``CustomOp``, and would leave out ``nn.LayerNorm`` and layers that a model
file defines for itself.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_module_registration_hook

from btrans_eval.errors import UserError
from btrans_eval.model_adapters.vllm import mixing
from btrans_eval.model_adapters.vllm.weights import WeightReader
from btrans_eval.population.gains import gain_rms
from btrans_eval.population.norms import NormLayer, is_norm


@functools.cache
def _shifted(kind: type[nn.Module], tokens_at: int | None) -> type[nn.Module]:
    """A class of normalization layers that add their ``btrans_shift``; named as it was.

    Args:
        kind: the class without noise.
        tokens_at: where each token adds its own row of the layer's table instead, the dimension
            that tokens are in.
    """

    class Shifted(kind):  # type: ignore[misc, valid-type]  # made at run time
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            output = super().forward(*args, **kwargs)
            if tokens_at is None:
                return add(output, self.btrans_shift)
            table, rows = self.btrans_table, self.btrans_rows
            return add(output, mixing.biases(output, table, rows, tokens_at))

    Shifted.__name__, Shifted.__qualname__ = kind.__name__, kind.__qualname__
    Shifted.__module__ = kind.__module__
    return Shifted


def add(output: Any, shift: Tensor) -> Any:
    """A layer's output with the shift added, once, in its dtype.

    Args:
        output: of any shape whose last dimension is the layer's width; or a tuple that begins
            with it, and goes on with the residual, which noise is no part of.
        shift: float32, shape (width,), or with a dimension for each of the output's.
    """
    if isinstance(output, tuple):
        return (add(output[0], shift), *output[1:])
    return output + shift.to(output.dtype)


class Preparation:
    """Makes normalization layers noisy as they become part of a model."""

    def __init__(self) -> None:
        self._rows: dict[torch.device, Tensor] = {}

    def __call__(self, parent: nn.Module, name: str, module: nn.Module | None) -> None:
        if module is None or not is_norm(module) or hasattr(module, "btrans_shift"):
            return
        width = width_of(module)
        if width is None:
            return  # a layer that noise is wanted in is then missed, and told
        weight = getattr(module, "weight", None)
        # some weights get their device later; buffers are made where they stay
        device = weight.device if isinstance(weight, Tensor) and not weight.is_meta else None
        device = torch.empty(0, device=device).device  # by name, also where it is the usual one
        slots = mixing.slots()
        if slots:
            table = mixing.table(slots, width, device)
            if device not in self._rows:
                self._rows[device] = mixing.rows(device)
            module.register_buffer("btrans_table", table, persistent=False)
            module.register_buffer("btrans_rows", self._rows[device], persistent=False)
            shift = table[mixing.ONE]
        else:
            shift = torch.zeros(width, dtype=torch.float32, device=device)
        module.register_buffer("btrans_shift", shift, persistent=False)
        tokens_at = mixing.tokens_at() if slots else None
        module.__class__ = _shifted(type(module), tokens_at)  # type: ignore[arg-type]  # memoized


def width_of(norm: nn.Module) -> int | None:
    """Size of the last dimension of a layer's output; None if it does not say."""
    weight = getattr(norm, "weight", None)
    if isinstance(weight, Tensor) and weight.ndim:
        return int(weight.shape[-1])
    for name in ("normalized_shape", "hidden_size"):
        found = getattr(norm, name, None)
        if found is not None:
            return int(found if isinstance(found, int) else found[-1])
    return None


_hook = register_module_module_registration_hook(Preparation())


class NoisyWorker(WeightReader):
    """What a worker can be told, as a ``worker_extension_cls`` of vLLM."""

    def btrans_find(self, names: Sequence[str]) -> dict[str, list[Any]]:
        """The layers of this worker that carry noise: by canonical name, [name here, width].

        Args:
            names: of the layers in transformers.
        """
        _hook.remove()  # what else is built in this process stays as it is
        model = self.model_runner.get_model()
        here = _noisy(model)
        mapper = getattr(type(model), "hf_to_vllm_mapper", None)
        found: dict[str, list[Any]] = {}
        for name in names:
            own = name if name in here or mapper is None else _renamed(mapper, name)
            if own in here:
                found[name] = [own, here[own].btrans_shift.shape[0]]
        return found

    def btrans_weights(self, names: Sequence[str]) -> dict[str, bytes]:
        """Weights of those of these layers (names here) that it has and that have one.

        Returns:
            by layer, float32, little-endian, shape (width,).
        """
        here = _noisy(self.model_runner.get_model())
        weights = {name: getattr(here[name], "weight", None) for name in names if name in here}
        return {
            name: weight.detach().float().cpu().numpy().astype("<f4").tobytes()
            for name, weight in weights.items()
            if isinstance(weight, Tensor)
        }

    def btrans_gains(self, names: Sequence[str]) -> dict[str, float | str]:
        """Root mean square of the gain of those of these layers (names here) that it has.

        Returns:
            by layer; where it cannot be known, why.
        """
        here = _noisy(self.model_runner.get_model())
        found: dict[str, float | str] = {}
        for name in names:
            if name in here:
                try:
                    layer = NormLayer(name, here[name], here[name].btrans_shift.shape[0])
                    found[name] = gain_rms(layer)
                except UserError as error:  # errors of workers lose their kind
                    found[name] = str(error)
        return found

    def btrans_set(self, shifts: Mapping[str, bytes]) -> list[str]:
        """Set the noise of all layers: what is given, and 0 elsewhere.

        Args:
            shifts: by layer (names here), float32, little-endian, shape (width,).

        Returns:
            the names of those that this worker has.
        """
        if hasattr(self, "btrans_layout"):
            self.btrans_layout.take_turns()
        here = _noisy(self.model_runner.get_model())
        return _put({name: layer.btrans_shift for name, layer in here.items()}, shifts)

    # ------------------------------------------------- where members share batches
    def btrans_tap(self) -> str:
        """Begin to follow which token is whose, once; why this cannot be, or nothing if it can."""
        if hasattr(self, "btrans_layout"):
            return ""
        self.btrans_layout = mixing.Layout(self.model_runner.get_model())
        return self.btrans_layout.tap(self.model_runner)

    def btrans_give(self, key: str, row: int, shifts: Mapping[str, bytes]) -> list[str]:
        """From now on, a row of all tables is the noise of requests with this key.

        Args:
            key: in their ``extra_args``.
            row: from `mixing.FIRST` on.
            shifts: as for `btrans_set`.
        """
        here = _noisy(self.model_runner.get_model())
        done = _put({name: layer.btrans_table[row] for name, layer in here.items()}, shifts)
        self.btrans_layout.give(key, row)
        return done

    def btrans_mix(self) -> None:
        """From now on, each request has the noise of its key."""
        self.btrans_layout.mix()

    def btrans_try(self, goes_on: bool) -> dict[str, Any]:
        """What was seen in the trial that this ends, or begins anew; nothing is raised in one."""
        seen = self.btrans_layout.trial or mixing.Trial()
        self.btrans_layout.trial = mixing.Trial() if goes_on else None
        return dataclasses.asdict(seen)


def _put(places: Mapping[str, Tensor], shifts: Mapping[str, bytes]) -> list[str]:
    """Write noise to where each layer has it, and 0 where none is given.

    Returns:
        the names of the layers that have been given some.
    """
    for name, place in places.items():
        if place.is_meta:
            raise RuntimeError(f"the noise of {name} is on no device, so it would be lost")
        if name in shifts:
            given = np.frombuffer(shifts[name], dtype="<f4").astype(np.float32)
            place.copy_(torch.from_numpy(given))
        else:
            place.zero_()
    return [name for name in shifts if name in places]


def _noisy(model: nn.Module) -> dict[str, Any]:
    return {name: each for name, each in model.named_modules() if hasattr(each, "btrans_shift")}


def _renamed(mapper: Any, name: str) -> str | None:
    """A layer's name in vLLM, by the names of its weight."""
    renamed = mapper.apply_list([f"{name}.weight"])
    return renamed[0].removesuffix(".weight") if renamed else None
