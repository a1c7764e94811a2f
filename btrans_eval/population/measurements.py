"""Measurements that are kept in the user's cache folder, and what they depend on."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from btrans_eval.errors import UserError
from btrans_eval.population import cache_folder, fingerprint
from btrans_eval.population.divergence import shipped_text
from btrans_eval.population.noise import SCHEME as NOISE_SCHEME

logger = logging.getLogger(__name__)

SCHEME = 1
"""Number of the way in which noise is measured. Any change of what it finds needs a new number."""


@dataclass(frozen=True)
class Weights:
    """What a measurement was made with.

    Attributes:
        model, tokenizer: their fingerprints.
        dtype: of the model's first parameter, as torch names it.
        autocast: the precision that the model ran in, if another.

    Not its attention nor transformers' release, which change last bits only: an engine in another
    environment is to find what was measured.
    """

    model: str
    dtype: str
    tokenizer: str
    autocast: str | None = None

    @property
    def is_half(self) -> bool:
        """Whether numbers have 16 bits."""
        return bool({self.dtype, self.autocast} & _HALF)


_HALF = {"torch.bfloat16", "torch.float16"}


def is_half(model: nn.Module) -> bool:
    """Whether a model computes in numbers of 16 bits."""
    return bool({str(next(model.parameters()).dtype), _autocast(model)} & _HALF)


def _autocast(model: nn.Module) -> str | None:
    device = next(model.parameters()).device.type
    return str(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else None


def weights_of(model: nn.Module, tokenizer: Any) -> Weights | None:
    """Those of a loaded model; None where it has no fingerprint (offloaded)."""
    try:
        digest = fingerprint.of_model(model)
    except UserError:
        return None
    return Weights(
        digest,
        str(next(model.parameters()).dtype),
        fingerprint.of_tokenizer(tokenizer),
        _autocast(model),
    )


def key(
    weights: Weights,
    text: str | None,
    settings: Mapping[str, Any],
    unusual: Mapping[str, list[str]],
) -> dict[str, Any]:
    """What a measurement is kept under.

    Args:
        unusual: of the model's `norms.Survey`; a release that did not know of it measured
            another noise.
    """
    whole = shipped_text() if text is None else text
    return {
        "scheme": [SCHEME, NOISE_SCHEME],
        **{name: value for name, value in asdict(weights).items() if value is not None},
        "text": hashlib.sha256(whole.encode()).hexdigest(),
        **settings,
        **({"placement": dict(unusual)} if unusual else {}),
    }


def once(
    facts: Mapping[str, Any] | None,
    asked: Mapping[str, Any],
    measure: Callable[[], dict[str, Any]],
) -> dict[str, Any]:
    """What was measured before under these facts, else what is measured now, which is kept."""
    if not facts:
        return measure()
    found = cache_folder.read({**facts, **asked})
    if found is None:
        found = measure()
        cache_folder.write({**facts, **asked}, found)
    else:
        logger.info("%s: measured before, taken from %s", dict(asked), cache_folder.folder())
    return found
