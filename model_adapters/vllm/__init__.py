"""The vLLM engine, and its model type ``btrans-vllm``."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from btrans_eval.model_adapters.vllm.lm import BTransVLLM

__all__ = ["BTransVLLM"]


def __getattr__(name: str) -> object:
    # what a worker or a test needs of this package is not all of the harness
    if name == "BTransVLLM":
        from btrans_eval.model_adapters.vllm.lm import BTransVLLM

        return BTransVLLM
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
