"""The transformers engine, and its model type ``btrans-hf``."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from btrans_eval.model_adapters.hf.lm import BTransHF

__all__ = ["BTransHF"]


def __getattr__(name: str) -> object:
    # what a worker or a test needs of this package is not all of the harness
    if name == "BTransHF":
        from btrans_eval.model_adapters.hf.lm import BTransHF

        return BTransHF
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
