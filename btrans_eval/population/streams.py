"""Random numbers of a response: the same whatever else is generated, in what order and where."""

from __future__ import annotations

import hashlib
import json

import numpy as np
from numpy.typing import NDArray

SCHEME = 1
"""Number of the recipe below. Any change of the values it gives needs a new number."""

_BLOCK = 256


class Stream:
    """One uniform number in (0, 1] for each token of one response, float64.

    The first 128 bits (big-endian) of SHA-256 over the compact UTF-8 JSON array
    ``["sample", SCHEME, seed, prompt, arguments, member, sample]`` key Philox4x64; its raw 64-bit
    words, one for each token, give 53-bit uniforms.

    Args:
        seed: seed of the run.
        prompt: digest of the prompt's tokens.
        arguments: the generation arguments, as text.
        member: the member that answers.
        sample: which of this member's responses it is, from 0.
    """

    def __init__(self, seed: int, prompt: str, arguments: str, member: int, sample: int) -> None:
        key = ["sample", SCHEME, seed, prompt, arguments, member, sample]
        text = json.dumps(key, separators=(",", ":"), ensure_ascii=False)
        digest = hashlib.sha256(text.encode("utf-8")).digest()
        self._generator = np.random.Philox(key=int.from_bytes(digest[:16], "big"))
        self._drawn: NDArray[np.float64] = np.empty(0)

    def uniform(self, token: int) -> float:
        """The number of the token with this index, from 0."""
        while token >= len(self._drawn):
            raw = self._generator.random_raw(_BLOCK)
            block = ((raw >> np.uint64(11)).astype(np.float64) + 1.0) * 2.0**-53
            self._drawn = np.concatenate([self._drawn, block])
        return float(self._drawn[token])
