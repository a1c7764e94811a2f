"""The harness's own tasks of programs, viewed: the programs are run by us.

Their files fetch a metric from the hub when they are imported (``evaluate.load("code_eval")``),
which runs programs with the user's rights. While tasks are loaded for a view, another object is
loaded in its place, which runs nothing; the view scores what the task's pipeline makes of each
response itself.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from btrans_eval.answers.programs import imports_of, names_under_test
from btrans_eval.errors import UserError
from btrans_eval.execution.trial import Program


class CodeEval:
    """In place of evaluate's metric of the same name.

    Attributes:
        is_loading: whether tasks are being loaded: their files try the metric out, and do nothing
            with what it says.
    """

    def __init__(self) -> None:
        self.is_loading = True

    def compute(self, **_: Any) -> None:
        """Nothing: programs are run by the view.

        Raises:
            UserError: once tasks are loaded.
        """
        if not self.is_loading:
            raise UserError(
                "repeats: tasks that run programs were loaded for --repeats, and cannot be run "
                "without it in the same process; start another"
            )


@contextmanager
def code_eval_replaced() -> Iterator[None]:
    """Within the block, tasks that are loaded get no metric that runs programs."""
    try:
        import evaluate
    except ImportError:  # then no task can load the metric
        yield
        return
    original, instead = evaluate.load, CodeEval()

    @functools.wraps(original)
    def load(path: str, *args: Any, **kwargs: Any) -> Any:
        return instead if path == "code_eval" else original(path, *args, **kwargs)

    evaluate.load = load
    try:
        yield
    finally:
        evaluate.load, instead.is_loading = original, False


def is_code_task(task: Any) -> bool:
    """Whether all of a task's metrics run programs, and are replaced.

    Raises:
        UserError: if it runs programs by other means.
    """
    if not getattr(task, "UNSAFE_CODE", False):
        return False
    metrics = getattr(task, "_metric_fn_list", {}).values()
    # the harness keeps a function's bound ``__call__``
    functions = [getattr(each, "__self__", each) for each in metrics]
    replaced = [any(isinstance(each, CodeEval) for each in getattr(one, "__globals__", {}).values())
                for one in functions]  # fmt: skip
    if not replaced or not all(replaced):
        raise UserError(
            f"repeats: {task.config.task} cannot be viewed as a population task: it runs programs "
            "by means of its own, with your rights"
        )
    return True


def program_of(task: Any, doc: Mapping[str, Any], filtered: Any) -> Program:
    """What is run of a response.

    Args:
        filtered: the program, as the task's pipeline made it; in a list of its own (HumanEval) or
            not.

    Raises:
        ValueError: if it is anything else.
    """
    source = filtered[0] if isinstance(filtered, list) and len(filtered) == 1 else filtered
    tests = task.doc_to_target(doc)
    if not isinstance(source, str) or not isinstance(tests, str):
        raise ValueError(f"{task.config.task} gives a program as {type(filtered).__name__}")
    if isinstance(doc.get("entry_point"), str):
        return Program(source, tests, (doc["entry_point"],), str(doc.get("prompt", "")))
    code = str(doc.get("code", ""))
    return Program(source, tests, names_under_test(tests, code), imports_of(code))
