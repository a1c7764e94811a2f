"""What the tables of an engine's workers hold: the noise of the members that share batches."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from typing import Any

from btrans_eval.model_adapters.vllm.mixing import FIRST, KEY
from btrans_eval.model_adapters.vllm.replicas import Engines


class Tables:
    """The rows of the tables, all of which change only while no request is running.

    Args:
        engines: as started.
        slots: how many members a table holds; 0: there are none.
    """

    def __init__(self, engines: Engines, slots: int) -> None:
        self._engines, self.slots = engines, slots
        self._rows: dict[str, int] = {}

    @property
    def held(self) -> Set[str]:
        """The keys of those whose noise is there."""
        return self._rows.keys()

    def give(self, key: str, shifts: Mapping[str, bytes], keep: Collection[str]) -> None:
        """Put noise into the tables.

        Args:
            key: of the requests that get it.
            shifts: by layer, float32, little-endian.
            keep: whose noise has to stay; with this one's as much as there is room for, at most.
        """
        taken = {row for each, row in self._rows.items() if each != key}
        free = [row for row in range(FIRST, FIRST + self.slots) if row not in taken]
        if not free:
            oldest = next(each for each in self._rows if each not in keep)
            free.append(self._rows.pop(oldest))
        check_taken(shifts, self._engines.tell("btrans_give", key, free[0], dict(shifts)))
        self._rows[key] = free[0]

    def mix(self) -> None:
        """From now on, each request has the noise of its key."""
        self._engines.tell("btrans_mix")


def name(parameters: Any, key: str) -> None:
    """Say in vLLM's ``SamplingParams`` of one request whose noise it gets."""
    parameters.extra_args = {**(parameters.extra_args or {}), KEY: key}


def check_taken(shifts: Mapping[str, bytes], told: Sequence[Sequence[Sequence[str]]]) -> None:
    """See that the workers have all layers that they were given noise of.

    Args:
        shifts: by layer.
        told: for each engine, the layers that each worker has.

    Raises:
        RuntimeError: if one is missing.
    """
    for workers in told:
        done = {layer for worker in workers for layer in worker}
        if done != set(shifts):
            missing = sorted(set(shifts) - done)
            raise RuntimeError(f"vLLM's workers did not take the noise of {missing}")
