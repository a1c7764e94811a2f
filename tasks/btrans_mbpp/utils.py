"""MBPP: the program of a response, the tests that it must pass, and the examples of the prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from btrans_eval.answers.programs import imports_of, names_under_test, program_in
from btrans_eval.execution.trial import Program

EXAMPLES = (2, 3, 4)
"""``task_id`` of the three examples of the paper (arXiv 2108.07732) and of the harness."""


def program(doc: Mapping[str, Any], response: str) -> Program | None:
    """The program of a response; None where it is empty.

    The tests import what the row's own solution imports (some use ``math``).
    """
    tests = "\n".join([doc["test_setup_code"], *doc["test_list"], ""])
    names = names_under_test(tests, doc["code"])
    source = program_in(response, names)
    if source is None:
        return None
    return Program(source, tests, names, imports_of(doc["code"]))


def examples(docs: Any) -> list[dict[str, Any]]:
    """The rows that the prompt shows with their solutions, in order.

    Raises:
        ValueError: if the split lacks one.
    """
    rows = {row["task_id"]: row for row in docs}
    if missing := [number for number in EXAMPLES if number not in rows]:
        raise ValueError(f"the split prompt of MBPP lacks the rows {missing}")
    return [{**rows[number], "is_example": True} for number in EXAMPLES]
