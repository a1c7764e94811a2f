"""Several processes sharing one run, also where the harness sees only one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, TypeVar

import torch.distributed

Key = TypeVar("Key")


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this is.

    The harness shards documents itself, but only where it sees more than one GPU, and it fails on
    fewer documents than processes (docs/lm-eval.md). So each process takes its share of the
    questions here, and the harness is told that it is alone: every process gets all responses,
    and the first one writes the results.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def of(cls, lm: Any) -> Ranks:
        """The processes that a loaded ``HFLM`` was launched with; the harness's view is set."""
        accelerator = getattr(lm, "accelerator", None)
        if accelerator is None:
            return cls()
        lm._rank, lm._world_size = 0, 1
        if accelerator.process_index:
            # the harness lets LOCAL_RANK 0 write, of which every machine has one
            os.environ["LOCAL_RANK"] = str(accelerator.process_index)
        return cls(accelerator.process_index, accelerator.num_processes)

    def share(self, part: tuple[int, int]) -> tuple[int, int]:
        """This process's part of a part (i, n) of the work, from 0, and of how many in all.

        Part i is the same work for any number of processes: what is i modulo n.
        """
        return part[0] + part[1] * self.rank, part[1] * self.size

    def from_first(self, value: Any) -> Any:
        """The value that process 0 has."""
        if self.size == 1:
            return value
        values = [value]
        torch.distributed.broadcast_object_list(values, src=0)
        return values[0]

    def union(self, part: dict[Key, Any]) -> dict[Key, Any]:
        """All processes' parts in one, in every process."""
        if self.size == 1:
            return part
        parts: list[dict[Key, Any]] = [{}] * self.size
        torch.distributed.all_gather_object(parts, part)
        return {key: value for each in parts for key, value in each.items()}

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            torch.distributed.barrier()


def on_this_machine() -> int:
    """How many processes of the launch run on this machine; 1 where there was none.

    Told by the environment: a model without weights (``from_store``) or of another type has no
    accelerator to ask.
    """
    told = os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("WORLD_SIZE") or "1"
    return max(1, int(told)) if told.isdigit() else 1


def prepare_launch() -> None:
    """Let a launch of several processes on a machine without a GPU be one; call before loading.

    accelerate takes ``WORLD_SIZE`` into account on CPU only where this variable says so; without
    it, each process would answer everything and write its own results.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.cuda.is_available():
        os.environ.setdefault("ACCELERATE_USE_CPU", "1")
