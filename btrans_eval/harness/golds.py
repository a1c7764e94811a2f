"""The gold answer of a row as a task states it: its form tells what responses vote on."""

from __future__ import annotations

from typing import Any


def gold_of(task: Any, doc: Any) -> Any:
    """The gold answer of a row; None where the task names none.

    A task that judges responses by other means than a gold answer (IFEval) still has to have a
    target: a constant index without choices, or a blank.
    """
    target = task.doc_to_target(doc)
    if task.config.doc_to_choice is not None:
        choices = task.doc_to_choice(doc)
        is_index = type(target) is int and 0 <= target < len(choices)
        return choices[target] if is_index else target
    if type(task.config.doc_to_target) is int or (isinstance(target, str) and not target.strip()):
        return None
    return target
