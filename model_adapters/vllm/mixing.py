"""Members that share one of vLLM's batches, inside its workers: which bias each token gets.

Every normalization layer has a table of biases, and all of them share one buffer that says which
row of the tables each token of a step takes. Both are part of the graph that vLLM compiles or
captures, and only their values change, in place. Row 0 of a table is zero: requests that name no
member, and what fills a graph up, take it. Row 1 is whose turn it is where members answer one after
another, and the others hold members that share batches.

Which token is whose, no public interface of vLLM tells a worker. One method of its model runner is
wrapped, and that is all that is private here:

- ``_prepare_inputs`` of ``vllm.v1.worker.gpu_model_runner.GPUModelRunner`` (also CPUs'), after
  which ``input_batch.req_ids`` is the order of the requests;
- ``prepare_inputs`` of ``vllm.v1.worker.gpu.model_runner.GPUModelRunner``, vLLM's second runner,
  which returns that order as ``req_ids``, with ``num_scheduled_tokens``.

Both are given vLLM's ``SchedulerOutput``. Another runner, or a method that is missing or has other
parameters, is told by `Layout.tap`; an attribute that is missing stands in `Trial.faults` after the
trial at the start (`trial.py`), which also finds out where one has come to mean something else.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from vllm.config import get_current_vllm_config_or_none

KEY = "btrans_member"
"""In ``SamplingParams.extra_args``: whose noise the request gets."""
NOBODY = "the model itself"
"""The key of row 0."""
SLOTS = "btrans_eval_slots"
"""In vLLM's ``additional_config``: how many members a table holds."""
ONE, FIRST = 1, 2
"""Rows of a table: whose turn it is, and the first of those that share batches."""
_HEADS = 256
"""Rows of a layer's output for each token, at most. A layer that splits a token into more rows than
one cannot be told whose they are, which the trial at the start finds; until then it must run."""
_RUNNERS = {
    "vllm.v1.worker.gpu_model_runner": "_prepare_inputs",
    "vllm.v1.worker.gpu.model_runner": "prepare_inputs",
}


def slots() -> int:
    """How many members share batches in the engine that is being built; 0: none do."""
    config = get_current_vllm_config_or_none()
    return 0 if config is None else int(config.additional_config.get(SLOTS, 0))


def table(count: int, width: int, device: torch.device) -> Tensor:
    """A table for so many members, of zeros."""
    return torch.zeros(FIRST + count, width, dtype=torch.float32, device=device)


def rows(device: torch.device) -> Tensor:
    """The buffer of row numbers, with room for the tokens of the largest step; row 1 for all."""
    tokens = get_current_vllm_config_or_none().scheduler_config.max_num_batched_tokens
    return torch.full((tokens * _HEADS,), ONE, dtype=torch.int32, device=device)


def tokens_at() -> int:
    """Which dimension of a layer's output the tokens are in, in the engine that is being built.

    Modules of transformers, which vLLM runs for some models, see a batch of one before it.
    """
    config = get_current_vllm_config_or_none()
    return int(config is not None and config.model_config.using_transformers_backend())


def biases(output: Any, table: Tensor, rows: Tensor, at: int = 0) -> Tensor:
    """The bias of each token of a layer's output, in a shape that can be added to it.

    Args:
        output: at least two dimensions; or a tuple that begins with it.
        table: float32, shape (rows, width).
        rows: which of them each token takes.
        at: which dimension the tokens are in, where there are more than two.
    """
    first = output[0] if isinstance(output, tuple) else output
    at = min(at, first.ndim - 2)
    found = table.index_select(0, rows[: first.shape[at]])
    after = [1] * (first.ndim - 2 - at)
    return found.view(*[1] * at, found.shape[0], *after, found.shape[1])


@dataclass
class Trial:
    """What was seen in a trial.

    Attributes:
        faults: what went wrong.
        read: how many prompts have been read in one step.
        written: how many responses have been continued in one step.
    """

    faults: list[str] = field(default_factory=list)
    read: int = 0
    written: int = 0

    def note(self, step: Sequence[tuple[int, int]]) -> None:
        """See the table's row and the tokens of each request of a step."""
        self.read = max(self.read, sum(count > 1 for _, count in step))
        self.written = max(self.written, sum(count == 1 for _, count in step))


class Layout:
    """Keeps the buffer of row numbers as vLLM lays out the tokens of each step.

    Args:
        model: whose normalization layers have tables.
    """

    def __init__(self, model: nn.Module) -> None:
        buffers: list[Any] = [
            each.btrans_rows for each in model.modules() if hasattr(each, "btrans_rows")
        ]
        self.is_shared = len({each.data_ptr() for each in buffers}) == 1
        self._rows: Tensor | None = buffers[0] if buffers else None
        self._of_key = {NOBODY: 0}
        self._of_request: dict[str, str] = {}
        self._is_mixed = False
        self._filled = 0
        self.trial: Trial | None = None
        """While this is tried; else what goes wrong is raised."""

    def tap(self, runner: Any) -> str:
        """Follow a model runner from now on.

        Returns:
            why this cannot be; empty if it can.
        """
        if not self.is_shared:
            return "its layers do not share one buffer"
        kinds = {each.__module__ for each in type(runner).__mro__}
        known = [method for module, method in _RUNNERS.items() if module in kinds]
        if not known:
            return f"its model runner is another ({type(runner).__module__})"
        method = known[0]
        prepare = getattr(runner, method, None)
        if prepare is None:
            return f"its model runner has no {method} any more"
        if next(iter(inspect.signature(prepare).parameters), None) != "scheduler_output":
            return f"{method} of its model runner takes other arguments"

        def prepared(scheduler_output: Any, *args: Any, **kwargs: Any) -> Any:
            found = prepare(scheduler_output, *args, **kwargs)
            if self._is_mixed:
                self._follow(runner, scheduler_output, found)
            return found

        setattr(runner, method, prepared)
        return ""

    def give(self, key: str, row: int) -> None:
        """From now on, requests of this key take this row of the tables, and no others do."""
        self._of_key = {each: held for each, held in self._of_key.items() if held != row}
        self._of_key[key] = row

    def mix(self) -> None:
        """From now on, each request takes the row of its key."""
        assert self._rows is not None
        self._of_request.clear()
        self._rows.zero_()
        self._filled, self._is_mixed = 0, True

    def take_turns(self) -> None:
        """From now on, all tokens take the row of whose turn it is."""
        if self._is_mixed and self._rows is not None:
            self._rows.fill_(ONE)
        self._is_mixed = False

    def _follow(self, runner: Any, scheduler_output: Any, prepared: Any) -> None:
        try:
            self._fill(list(self._wanted(runner, scheduler_output, prepared)))
        except Exception as error:
            if self.trial is None:
                raise
            self.trial.faults.append(f"{type(error).__name__}: {error}")

    def _wanted(
        self, runner: Any, scheduler_output: Any, prepared: Any
    ) -> Iterable[tuple[int, int]]:
        """The table's row of each request of a step, and its tokens, in their order."""
        for request in scheduler_output.finished_req_ids:
            self._of_request.pop(request, None)
        for new in scheduler_output.scheduled_new_reqs:
            named = new.sampling_params.extra_args or {}
            self._of_request[new.req_id] = named.get(KEY, NOBODY)
        if hasattr(prepared, "req_ids"):
            order, counts = prepared.req_ids, prepared.num_scheduled_tokens
        else:
            order = runner.input_batch.req_ids
            counts = [scheduler_output.num_scheduled_tokens[request] for request in order]
        for request, count in zip(order, counts, strict=True):
            key = self._of_request[request]
            if key not in self._of_key:
                raise RuntimeError(f"no table holds the noise of {key}")
            yield self._of_key[key], int(count)

    def _fill(self, wanted: list[tuple[int, int]]) -> None:
        assert self._rows is not None
        if self.trial is not None:
            self.trial.note(wanted)
        taken = np.array([row for row, _ in wanted], dtype=np.int32)
        each = torch.from_numpy(taken.repeat([count for _, count in wanted]))
        if self._rows.is_cuda:
            # a step may still run that reads what was copied before; torch keeps pinned memory
            # until its copy is done
            each = each.pin_memory()
        self._rows[: len(each)].copy_(each, non_blocking=self._rows.is_cuda)
        if len(each) < self._filled:
            self._rows[len(each) : self._filled].zero_()
        self._filled = len(each)
