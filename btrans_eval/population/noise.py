"""Member -> noise: the same float32 numbers on every machine, engine and release.

``eps`` is keyed by names, not drawn in sequence, so a member does not depend on the device, the
dtype, the batch, the rank, the number of members, or which other layers are chosen.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
from numpy.typing import NDArray

SCHEME = 1
"""Number of the recipe below. Any change of the values it gives needs a new number."""


def eps(
    seed: int, member: int, layer: str, width: int, token: int | None = None
) -> NDArray[np.float32]:
    """Standard normal draws for one layer of one member, shape (width,).

    The first 128 bits (big-endian) of SHA-256 over the compact UTF-8 JSON array
    ``[SCHEME, seed, member, layer]`` (with ``token`` appended where given) key Philox4x64, whose
    raw 64-bit stream numpy guarantees. Pairs of 53-bit uniforms in (0, 1] go through Box-Muller
    in float64, cosine before sine, and are rounded to float32. Libraries differ in the last bit
    of ``log`` and ``cos``, so values are pinned within 1 ulp.

    Args:
        seed: seed of the population.
        member: number of the member, from 0.
        layer: canonical name of the layer, e.g. ``model.layers.0.input_layernorm``.
        width: size of the last dimension of the layer's output, at least 1.
        token: index of the token without padding, from 0, for noise that is new at every token.
    """
    key = [SCHEME, seed, member, layer] + ([] if token is None else [token])
    text = json.dumps(key, separators=(",", ":"), ensure_ascii=False)
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    generator = np.random.Philox(key=int.from_bytes(digest[:16], "big"))
    return _box_muller(generator.random_raw(width + width % 2))[:width]


def _box_muller(raw: NDArray[np.uint64]) -> NDArray[np.float32]:
    """Standard normals from an even number of raw 64-bit words; word 2i gives the radius."""
    uniform = ((raw >> np.uint64(11)).astype(np.float64) + 1.0) * 2.0**-53
    radius = np.sqrt(-2.0 * np.log(uniform[0::2]))
    angle = 2.0 * np.pi * uniform[1::2]
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return pairs.reshape(-1).astype(np.float32)


def shift(
    sigma: float | NDArray[np.float64],
    mu: float | NDArray[np.float64],
    standard: NDArray[np.float32],
) -> NDArray[np.float32]:
    """``z = mu + sigma * eps``, computed in float64 and rounded once to float32, shape (width,)."""
    return (mu + sigma * standard.astype(np.float64)).astype(np.float32)
