"""A worker of vLLM whose tokens can be given to others on purpose."""

from __future__ import annotations

from typing import Any

from btrans_eval.model_adapters.vllm.worker import NoisyWorker


class BreakableWorker(NoisyWorker):
    def btrans_break(self, how: str) -> None:
        """From now on, rows are laid out wrongly; ``not``: as they should be."""
        layout = self.btrans_layout
        fill = type(layout)._fill

        def broken(wanted: list[tuple[int, int]]) -> None:
            rows = [row for row, _ in wanted]
            counts = [count for _, count in wanted]
            if how == "others":
                rows = rows[::-1]
            elif how == "nobody":
                rows = [0] * len(rows)
            elif how == "before":  # those of the step before
                rows, self.btrans_before = getattr(self, "btrans_before", rows), rows
                rows = (rows * len(counts))[: len(counts)]
            elif how == "late":  # a token too late
                counts = [counts[0] + 1, *counts[1:]]
            elif how == "decoding" and max(counts) == 1:
                rows = [rows[0]] * len(rows)
            elif how == "missing":
                raise AttributeError("'InputBatch' object has no attribute 'req_ids'")
            fill(layout, list(zip(rows, counts, strict=True)))

        layout._fill = layout_fill(layout, fill) if how == "not" else broken


def layout_fill(layout: Any, fill: Any) -> Any:
    return lambda wanted: fill(layout, wanted)
