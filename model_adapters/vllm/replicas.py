"""vLLM engines that are told which member answers: one here, or several as actors of ray."""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

_OF_THE_DRIVER = ("RANK", "RANK_LOCAL", "SIZE", "MASTER_IP", "MASTER_PORT")


class Engines(Protocol):
    """Engines with equal weights, that always answer as the same member."""

    def tell(self, method: str, *args: Any) -> list[list[Any]]:
        """Call a method of every worker; for each engine, what its workers returned."""

    def forget(self) -> None:
        """Empty the caches of prompts.

        Raises:
            RuntimeError: if an engine does not, because a request of it is still running.
        """

    def generate(
        self, prompts: Sequence[Any], parameters: Sequence[Any], adapter: Any
    ) -> list[Any]:
        """The ``RequestOutput`` of each prompt, in order."""


class OneEngine:
    """A ``vllm.LLM``, used by its public methods alone."""

    def __init__(self, llm: Any) -> None:
        self._llm = llm
        # after multiprocessing's own, so before it: that one waits for vLLM's processes, which end
        # when the engine is forgotten, and here it is held to the last
        atexit.register(_end, weakref.ref(llm))

    def tell(self, method: str, *args: Any) -> list[list[Any]]:
        return [self._llm.collective_rpc(method, args=args)]

    def forget(self) -> None:
        if not self._llm.reset_prefix_cache():
            raise RuntimeError(
                "vLLM did not empty its prefix cache: a request is still running, so what is "
                "generated next could read another member's keys and values"
            )

    def generate(
        self, prompts: Sequence[Any], parameters: Sequence[Any], adapter: Any
    ) -> list[Any]:
        outputs: list[Any] = self._llm.generate(
            list(prompts),
            sampling_params=list(parameters),
            use_tqdm=False,
            lora_request=adapter,
        )
        return outputs

    def generate_together(self, prompts: Sequence[Any], parameters: Sequence[Any]) -> list[Any]:
        """As `generate`, of prompts that are all there when the first is scheduled."""
        self._llm.sleep(level=0)  # nothing is scheduled any more, and nothing else changes
        self._llm.enqueue(list(prompts), sampling_params=list(parameters), use_tqdm=False)
        self._llm.wake_up(tags=["scheduling"])
        outputs: list[Any] = self._llm.wait_for_completion(use_tqdm=False)
        return outputs


def _end(engine: weakref.ref[Any]) -> None:
    """End an engine's processes, if it is still there."""
    llm = engine()
    if llm is not None:
        with suppress(AttributeError):  # an engine in this process has none
            llm.llm_engine.engine_core.shutdown()


class Replica(OneEngine):
    """An engine of its own in an actor of ray."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        # the driver's own place among replicas is none of this engine's
        for name in _OF_THE_DRIVER:
            os.environ.pop(f"VLLM_DP_{name}", None)
        from vllm import LLM

        super().__init__(LLM(**arguments))


class Replicas:
    """Several engines; prompts are dealt out in turn.

    The harness starts engines anew at every call; these stay.

    Args:
        arguments: of ``vllm.LLM``.
        count: how many engines, at least 2.
        gpus: of each one, where the machines have any.
    """

    def __init__(self, arguments: dict[str, Any], count: int, gpus: int) -> None:
        import ray

        if not ray.is_initialized():
            ray.init()
        # ray within an actor of ray would wait for the GPUs that the actor holds
        inner = {k: v for k, v in arguments.items() if k != "distributed_executor_backend"}
        has_gpus = ray.cluster_resources().get("GPU", 0) > 0
        actor = ray.remote(num_gpus=gpus if has_gpus else 0)(Replica)
        self._ray = ray
        self._actors = [actor.remote(inner) for _ in range(count)]
        self.tell("btrans_fingerprint")  # wait until they are loaded, and fail here if they fail

    def tell(self, method: str, *args: Any) -> list[list[Any]]:
        told = self._ray.get([each.tell.remote(method, *args) for each in self._actors])
        return [workers for (workers,) in told]

    def forget(self) -> None:
        self._ray.get([each.forget.remote() for each in self._actors])

    def generate(
        self, prompts: Sequence[Any], parameters: Sequence[Any], adapter: Any
    ) -> list[Any]:
        count = len(self._actors)
        shares = [
            each.generate.remote(prompts[turn::count], parameters[turn::count], adapter)
            for turn, each in enumerate(self._actors)
            if prompts[turn::count]
        ]
        found: list[Any] = [None] * len(prompts)
        for turn, share in enumerate(self._ray.get(shares)):
            found[turn::count] = share
        return found
