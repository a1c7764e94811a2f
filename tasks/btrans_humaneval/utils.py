"""HumanEval: the program of a response, and the tests that it must pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from btrans_eval.answers.programs import program_in
from btrans_eval.execution.trial import Program


def program(doc: Mapping[str, Any], response: str) -> Program | None:
    """The program of a response; None where it is empty.

    The tests' helpers (``poly``, ``encode_cyclic``, ``encode_shift``) are the prompt's own.
    """
    name = doc["entry_point"]
    source = program_in(response, [name], doc["prompt"])
    if source is None:
        return None
    return Program(source, f"{doc['test']}\ncheck({name})\n", (name,), doc["prompt"])
