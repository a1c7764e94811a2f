"""Inside a sandbox of its own: runs the tests of a row against functions that live in another.

The standard library only. The program never runs here: its functions are remote, what they return
is plain data built here, and so the comparisons are those of Python's own types.
"""

from __future__ import annotations

import builtins
import json
import os
import random
from collections.abc import Iterator
from typing import Any, BinaryIO

from btrans_eval.execution import wire
from btrans_eval.execution.limits import begin

LONGEST_TEXT = 300


class Untestable(Exception):
    """The row's own tests cannot be run: no program is to blame."""


class Program:
    """The other side of the pipes.

    Attributes:
        fault: why it cannot be asked any more; None while it can.
        errors: what its functions have raised, as it is raised here.
    """

    def __init__(self, requests: BinaryIO, replies: BinaryIO) -> None:
        self._requests, self._replies = requests, replies
        self._asked = 0
        self._handles: dict[int, Remote] = {}
        self.fault: str | None = None
        self.errors: list[BaseException] = []

    def ask(self, do: str, *arguments: Any, named: dict[str, Any] | None = None) -> Any:
        """What the program says.

        Raises:
            Ended: if it says nothing, or something out of turn.
            Exception: what its function raised, as the nearest built-in exception.
        """
        if self.fault is not None:
            raise wire.Ended(self.fault)
        self._asked += 1
        message = {"n": self._asked, "do": do, "with": [self._plain(each) for each in arguments]}
        message["named"] = {name: self._plain(each) for name, each in (named or {}).items()}
        try:
            wire.write(self._requests, message)
            return self._value(wire.read(self._replies))
        except wire.Ended as end:
            self.fault = str(end)
            raise

    def load(self, names: list[str]) -> list[str]:
        """Run the program at its top level; which of the names it has."""
        found = self.ask("load", *names)
        if not isinstance(found, list):
            self.fault = "an answer that is no value"
            raise wire.Ended(self.fault)
        return [each for each in names if each in found]

    def _plain(self, value: Any) -> Any:
        if isinstance(value, Remote):
            return {"h": value._number}
        return wire.encode(value, _no_handle)

    def _value(self, said: dict[str, Any]) -> Any:
        if said.get("n") != self._asked:
            raise wire.Ended("an answer out of turn")
        if "raised" in said:
            error = _error(said["raised"])
            self.errors.append(error)
            raise error
        try:
            return wire.decode(said.get("value"), self._remote)
        except Exception as error:
            raise wire.Ended("an answer that is no value") from error

    def _remote(self, number: int) -> Remote:
        return self._handles.setdefault(number, Remote(self, number))


class Remote:
    """An object of the program: it can be called, asked for attributes, and gone through.

    It equals itself alone, whatever the program says.
    """

    __slots__ = ("_program", "_number")
    _program: Program
    _number: int

    def __init__(self, program: Program, number: int) -> None:
        object.__setattr__(self, "_program", program)
        object.__setattr__(self, "_number", number)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._program.ask("call", self, *arguments, named=named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._program.ask("get", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._program.ask("set", self, name, value)

    def __getitem__(self, key: Any) -> Any:
        return self._program.ask("item", self, key)

    def __iter__(self) -> Iterator[Any]:
        going = self._program.ask("iter", self)
        while found := self._program.ask("next", going):
            yield found[0]


def _no_handle(value: Any) -> int:
    raise Untestable(f"tests hand over a {type(value).__name__}, which is no plain data")


def _error(said: Any) -> Exception:
    """The nearest built-in exception to what was raised there; never one that ends this process."""
    known = said["is"] if isinstance(said, dict) and isinstance(said.get("is"), list) else []
    for name in known:
        kind = getattr(builtins, str(name), None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            try:
                return kind(f"{said.get('name')}: {said.get('text')}")
            except TypeError:  # a UnicodeError wants more than a text
                continue
    return RuntimeError(f"{said.get('name')}: {said.get('text')}" if known else "an exception")


def verdict(job: dict[str, Any], program: Program) -> dict[str, str]:
    """Run the tests; never raises.

    Args:
        job: ``context``, run before the tests, here; ``tests``; ``names``, which of the names are
            the program's.
    """
    random.seed(0)  # some tests draw their inputs
    try:
        names = program.load(job["names"])
        space: dict[str, Any] = {"__name__": "tests"}
        try:
            # with asserts, however Python was started
            context = compile(job["context"], "<context>", "exec", optimize=0)
            tests = compile(job["tests"], "<tests>", "exec", optimize=0)
            exec(context, space)
        except Exception as error:
            raise Untestable(f"{type(error).__name__}: {error}") from error
        for name in job["names"]:
            space.pop(name, None)
            if name in names:
                space[name] = program.ask("name", name)
        exec(tests, space)
    except Untestable as error:
        return {"kind": "untestable", "why": str(error)}
    except wire.Ended as error:
        return {"kind": "ended", "why": str(error)}
    except BaseException as error:
        is_its_own = any(error is each for each in program.errors)
        is_its_own |= isinstance(error, NameError) and error.name in job["names"]
        told = "".join(f": {each}" for each in error.args[:1] if isinstance(each, str))
        why = (str(error) if is_its_own else type(error).__name__ + told)[:LONGEST_TEXT]
        return {"kind": "raised" if is_its_own else "failed", "why": why}
    if program.fault is not None:  # tests that catch everything
        return {"kind": "ended", "why": program.fault}
    return {"kind": "passed", "why": ""}


def main(limits: str, requests: str, replies: str, says: str) -> None:
    """The whole life of the process; the verdict is one line on ``says``."""
    out = os.fdopen(int(says), "w")
    program = Program(os.fdopen(int(requests), "wb"), os.fdopen(int(replies), "rb"))
    job = begin(limits)
    try:
        is_there = wire.read(program._replies).get("ready") is True
    except wire.Ended:
        is_there = False
    if is_there:
        print("ready", file=out, flush=True)
        print(json.dumps(verdict(job, program)), file=out, flush=True)
    os._exit(0)
