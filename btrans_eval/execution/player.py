"""Inside the sandbox: loads a program and calls its functions with what it is asked for.

The standard library only. Nothing that is said from here is believed but as the value of a call.
"""

from __future__ import annotations

import builtins
import contextlib
import os
import sys
import types
from collections.abc import Callable
from typing import Any

from btrans_eval.execution import wire
from btrans_eval.execution.limits import begin

LONGEST_TEXT = 200


_DOES: dict[str, Callable[..., Any]] = {
    "get": getattr,
    "set": setattr,
    "iter": iter,
    "item": lambda target, key: target[key],
}


class Player:
    """The program's module and the objects that tests hold handles of."""

    def __init__(self, source: str) -> None:
        self.source = source
        # a module that can be found, because dataclasses look theirs up
        self.module = sys.modules.setdefault("program", types.ModuleType("program"))
        self.held: list[Any] = []
        self.numbers: dict[int, int] = {}

    def keep(self, value: Any) -> int:
        """Number of an object's handle; the same object has the same."""
        number = self.numbers.setdefault(id(value), len(self.held))
        if number == len(self.held):
            self.held.append(value)  # kept alive, so that its id stays its own
        return number

    def answer(self, asked: dict[str, Any]) -> Any:
        """Do what a request asks for."""
        do, arguments = asked["do"], [self._decoded(each) for each in asked.get("with", ())]
        if do == "load":
            exec(compile(self.source, "<program>", "exec", optimize=0), self.module.__dict__)
            return [name for name in arguments if hasattr(self.module, name)]
        if do == "name":
            return getattr(self.module, *arguments)
        target, *others = arguments
        if do == "call":
            return target(*others, **{k: self._decoded(v) for k, v in asked["named"].items()})
        if do == "next":
            return list(next(([each] for each in target), []))
        return _DOES[do](target, *others)

    def _decoded(self, item: Any) -> Any:
        return wire.decode(item, self.held.__getitem__)


def raised(error: BaseException) -> dict[str, Any]:
    """What is said of an exception: its name, the built-in ones it extends, and its text."""
    known = [each.__name__ for each in type(error).__mro__
             if getattr(builtins, each.__name__, None) is each]  # fmt: skip
    text = ""
    with contextlib.suppress(BaseException):  # its __str__ is the program's
        text = str(error)[:LONGEST_TEXT]
    return {"name": str(type(error).__name__)[:LONGEST_TEXT], "is": known, "text": text}


def main(limits: str, requests: str, replies: str) -> None:
    """The whole life of the process.

    Args:
        limits: as JSON.
        requests, replies: numbers of open files.
    """
    asked_on, said_on = os.fdopen(int(requests), "rb"), os.fdopen(int(replies), "wb")
    job = begin(limits)
    player = Player(job["source"])
    wire.write(said_on, {"n": 0, "ready": True})
    while True:
        try:
            asked = wire.read(asked_on)
        except wire.Ended:
            os._exit(0)
        try:
            said = {"n": asked["n"], "value": wire.encode(player.answer(asked), player.keep)}
        except BaseException as error:  # sys.exit, too
            said = {"n": asked["n"], "raised": raised(error)}
        try:
            wire.write(said_on, said)
        except wire.Ended:
            os._exit(0)
