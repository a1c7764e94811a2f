"""How much noise each layer gets: the priors, and their file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from btrans_eval.errors import UserError
from btrans_eval.population.gains import gain_rms
from btrans_eval.population.norms import NormLayer

Floats = NDArray[np.float64]

FORMAT = "btrans-eval noise 1"
"""Of a file: for each layer ``<name>.mu`` and ``<name>.sigma``, float64, shape (width,)."""


@dataclass(frozen=True)
class LayerNoise:
    """Mean and standard deviation of one layer's bias: one number, or one for each dimension."""

    mu: float | Floats
    sigma: float | Floats

    @property
    def is_none(self) -> bool:
        """Whether the bias is always 0."""
        return not (np.any(self.mu) or np.any(self.sigma))

    def facts(self) -> Any:
        """The numbers, bit for bit, for a digest."""
        if isinstance(self.sigma, float) and isinstance(self.mu, float):
            return self.sigma.hex()
        return [np.asarray(each, dtype="<f8").tobytes().hex() for each in (self.mu, self.sigma)]


def scales_of(
    prior: str, layers: Sequence[NormLayer], measured: Mapping[str, float] | None
) -> list[float]:
    """What sigma is multiplied by in each layer.

    Args:
        prior: isotropic (1), scaled (RMS of the layer's gain) or balanced (as measured).
        measured: of a balanced prior, by layer: ``btrans_eval.calibrate`` finds them; of a
            scaled one where the weights lie in another process; else None.

    Raises:
        UserError: if a balanced prior lacks a layer's scale.
    """
    if prior == "isotropic":
        return [1.0] * len(layers)
    if prior == "scaled" and measured is None:
        return [gain_rms(layer) for layer in layers]
    if measured is None:
        raise UserError(
            "prior: balanced needs the scale of every layer, which btrans_eval.calibrate(model, "
            "tokenizer, prior='balanced') measures"
        )
    missing = [layer.name for layer in layers if layer.name not in measured]
    if missing:
        raise UserError(f"scales: must name every layer, but {missing[0]} is missing")
    return [float(measured[layer.name]) for layer in layers]


def read(path: str | os.PathLike[str], layers: Sequence[NormLayer]) -> list[LayerNoise]:
    """The noise of each layer from a file, checked by name and shape.

    Raises:
        UserError: if it cannot be read, lacks or adds a layer, has another shape, a negative
            sigma or a number that is not finite.
    """
    found: dict[str, Floats] = {}
    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (it is no dict)
                found[name] = file.get_tensor(name).double().numpy()  # numpy knows no bfloat16
    except (OSError, SafetensorError, TypeError) as error:
        raise UserError(f"prior: {path} cannot be read as safetensors ({error})") from None
    wanted = {f"{layer.name}.{part}": layer.width for layer in layers for part in ("mu", "sigma")}
    for name in (*wanted, *found):
        if name not in found or name not in wanted:
            lacks = "lacks" if name not in found else "has, and the chosen layers have not,"
            raise UserError(
                f"prior: {path} {lacks} {name}; it must hold mu and sigma of the layers that "
                "norms= chooses, as Population.save writes them"
            )
    for name, width in wanted.items():
        given = found[name]
        if given.shape != (width,) or not np.isfinite(given).all():
            raise UserError(
                f"prior: {name} in {path} must be {width} finite numbers, got shape {given.shape}"
                + ("" if given.shape != (width,) else " with numbers that are not finite")
            )
        if name.endswith(".sigma") and (given < 0).any():
            raise UserError(f"prior: {name} in {path} must be at least 0, got {given.min():g}")
    return [LayerNoise(found[f"{each.name}.mu"], found[f"{each.name}.sigma"]) for each in layers]


def write(
    path: str | os.PathLike[str], layers: Sequence[NormLayer], noises: Sequence[LayerNoise]
) -> None:
    """Write the noise of each layer; the file appears whole or not at all."""
    tensors = dict(_tensors(layers, noises))
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(place.name + ".part")
    part.write_bytes(save(tensors, metadata={"format": FORMAT}))
    part.replace(place)


def digest(mode: list[Any], layers: Sequence[NormLayer], noises: Sequence[LayerNoise]) -> str:
    """Hex digest of a mode and the noise of each layer by name."""
    facts = [
        [layer.name, layer.width, noise.facts(), *["before the gate"] * layer.is_gated]
        for layer, noise in zip(layers, noises, strict=True)
    ]
    return hashlib.sha256(json.dumps([*mode, facts]).encode()).hexdigest()


def _tensors(
    layers: Sequence[NormLayer], noises: Sequence[LayerNoise]
) -> Iterator[tuple[str, Floats]]:
    for layer, noise in zip(layers, noises, strict=True):
        yield f"{layer.name}.mu", np.broadcast_to(noise.mu, layer.width).astype(np.float64)
        yield f"{layer.name}.sigma", np.broadcast_to(noise.sigma, layer.width).astype(np.float64)
