"""What a stored response depends on, and the key that all of it makes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def canonical(facts: Any) -> str:
    """JSON that is the same for equal facts, whatever the order of their names."""
    return _ENCODER.encode(facts)


def digest_of(text: str) -> bytes:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def digest_of_tokens(*parts: Sequence[int]) -> str:
    """Hex digest of a prompt as it is fed, as token ids; of several parts, where they meet, too."""
    return digest_of(canonical([list(part) for part in parts])).hex()


@dataclass(frozen=True)
class Context:
    """Everything but the prompt, the member and the sample.

    Attributes:
        model: name of the model, for listings.
        noise: the noise in words, for listings.
        facts: all that a response depends on: fingerprints, dtype, engine, noise as resolved,
            seed, and the generation arguments (None for loglikelihoods).
    """

    model: str
    noise: str
    facts: Mapping[str, Any]

    @property
    def digest(self) -> bytes:
        """SHA-256 of the facts."""
        return digest_of(canonical(self.facts))


def key(context: bytes, prompt: str, member: int, sample: int) -> bytes:
    """Key of one response (or loglikelihood): SHA-256, 32 bytes.

    Args:
        context: digest of the context.
        prompt: digest of the prompt's tokens.
        member: the member that answers.
        sample: which of this member's responses it is, from 0.
    """
    return digest_of(canonical([context.hex(), prompt, member, sample]))


def checksum(*values: Any) -> bytes:
    """Eight bytes that change with any of a row's values; SQLite itself notices no flipped bit."""
    return digest_of(canonical(values))[:8]
