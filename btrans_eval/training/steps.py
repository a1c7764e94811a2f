"""What is written as a run goes: a line for each step, a line for each rollout, and progress."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback

STEPS, ROLLOUTS = "steps.jsonl", "rollouts.jsonl"


class Lines:
    """A JSON-lines file of a run that may go on where another stopped.

    Args:
        path: the file; lines of steps after ``step`` are cut off.
        step: of the checkpoint that the run goes on from; 0: it begins.
    """

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        kept = [line for line in lines(path) if line["step"] <= step] if step else []
        part = path.with_name(f"{path.name}.part")
        part.write_text("".join(map(_text, kept)), encoding="utf-8")
        os.replace(part, path)

    def write(self, line: dict[str, Any]) -> None:
        """Append one line; its ``step`` is the number of the step that it belongs to, from 1."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_text(line))


def _text(line: dict[str, Any]) -> str:
    plain = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in line.items()
    }
    return json.dumps(plain, ensure_ascii=False, allow_nan=False) + "\n"


def lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file; what a kill has cut off is none."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").split("\n"):  # a text may hold U+2028
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return found


class StepLog(TrainerCallback):
    """Writes what trl logs of every step, and shows how far the run is.

    Args:
        file: where to.
        name: of the run, for the progress bar.
    """

    def __init__(self, file: Lines, name: str) -> None:
        self._file, self._name = file, name
        self._bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """The bar begins where the run does."""
        self._bar = tqdm(
            total=state.max_steps,
            initial=state.global_step,
            desc=self._name,
            unit="step",
            disable=not state.is_world_process_zero,
        )

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **others: Any) -> None:
        """A step is done."""
        if not state.is_world_process_zero or "loss" not in (logs or {}):
            return
        tokens = logs.get("completions/mean_length")
        self._file.write({"step": state.global_step, **logs, "rollout_tokens": tokens})
        if logs.get("reward") is not None:  # with num_iterations not every step generates
            self._bar.set_postfix(reward=f"{logs['reward']:.3f}", refresh=False)
        self._bar.update(state.global_step - self._bar.n)

    def on_train_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """The bar ends."""
        self._bar.close()
