"""Values between a program and its tests: one JSON line each, and nothing in it that can run.

Only plain data crosses: None, bool, int, float, complex, str, bytes, list, tuple, set, frozenset,
dict, range, Fraction, Decimal, and numpy's scalars as the number they hold. A subclass crosses as
what it extends (a Counter as a dict), so that no method of a program's own reaches the tests, least
of all its ``__eq__``. Anything else stays where it is and crosses as the number of a handle.

Runs in the sandbox: the standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any, BinaryIO

LONGEST = 16 << 20
"""Bytes of one line, either way."""


class Ended(BaseException):
    """The other side has ended, or breaks the form. Tests that catch Exception miss it."""


def encode(value: Any, keep: Callable[[Any], int]) -> Any:
    """What JSON can hold of a value.

    Args:
        keep: number of a handle for an object that is no plain data.

    Raises:
        RecursionError: if it contains itself, or is nested too deeply.
        TypeError: by ``keep`` where there are no handles.
    """
    if value is None or value is True or value is False:
        return value
    for kind, tag, body in _SCALARS:
        if isinstance(value, kind):
            return {tag: body(value)}
    for group, tag in _GROUPS:
        if isinstance(value, group):
            return {tag: [encode(each, keep) for each in group.__iter__(value)]}
    if isinstance(value, dict):
        return {"d": [[encode(k, keep), encode(v, keep)] for k, v in dict.items(value)]}
    if isinstance(value, range):
        return {"r": [hex(value.start), hex(value.stop), hex(value.step)]}
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return encode(value.item(), keep)
    return {"h": keep(value)}


def decode(item: Any, handle: Callable[[int], Any]) -> Any:
    """The value again.

    Args:
        handle: the object that stands for a handle of this number.

    Raises:
        ValueError, TypeError, ...: what is not in the form above.
    """
    if item is None or item is True or item is False:
        return item
    ((tag, body),) = item.items()
    if tag in _READ:
        return _READ[tag](body)
    if tag in _BUILD:
        return _BUILD[tag](decode(each, handle) for each in body)
    if tag == "d":
        return {decode(k, handle): decode(v, handle) for k, v in body}
    if tag == "h" and type(body) is int:
        return handle(body)
    raise ValueError(f"no such kind of value: {tag!r}")


def write(pipe: BinaryIO, message: dict[str, Any]) -> None:
    """Send one message.

    Raises:
        Ended: if it is longer than ``LONGEST``, or nobody reads.
    """
    line = json.dumps(message, separators=(",", ":")).encode()
    if len(line) >= LONGEST:
        raise Ended(f"a value of more than {LONGEST} bytes")
    try:
        pipe.write(line + b"\n")
        pipe.flush()
    except OSError as error:
        raise Ended("the other side has ended") from error


def read(pipe: BinaryIO) -> dict[str, Any]:
    """Wait for one message.

    Raises:
        Ended: at the end, or on a line that is too long or no JSON object.
    """
    line = pipe.readline(LONGEST + 1)
    if not line.endswith(b"\n"):
        raise Ended("a value is too long" if len(line) > LONGEST else "the other side has ended")
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Ended("what was said is no JSON") from error
    if not isinstance(message, dict):
        raise Ended("what was said is no message")
    return message


def _complex(value: complex) -> list[str]:
    return [float.hex(value.real), float.hex(value.imag)]


def _fraction(value: Fraction) -> list[str]:
    return [hex(value.numerator), hex(value.denominator)]


# exact, and without the limit on digits of decimal integers; the methods are the plain type's own
_SCALARS: tuple[tuple[type, str, Callable[[Any], Any]], ...] = (
    (int, "i", lambda value: hex(int.__index__(value))),
    (float, "f", float.hex),
    (str, "s", str.__str__),
    (bytes, "b", bytes.hex),
    (complex, "c", _complex),
    (Fraction, "q", _fraction),
    (Decimal, "m", Decimal.__str__),
)
_GROUPS: tuple[tuple[type[Any], str], ...] = (
    (list, "l"), (tuple, "t"), (set, "e"), (frozenset, "z"),
)  # fmt: skip
_READ: dict[str, Callable[[Any], Any]] = {
    "i": lambda body: int(body, 16),
    "f": float.fromhex,
    "s": str,
    "b": bytes.fromhex,
    "c": lambda body: complex(*map(float.fromhex, body)),
    "q": lambda body: Fraction(*(int(each, 16) for each in body)),
    "m": Decimal,
    "r": lambda body: range(*(int(each, 16) for each in body)),
}
_BUILD: dict[str, Callable[[Any], Any]] = {tag: group for group, tag in _GROUPS}
