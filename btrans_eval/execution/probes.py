"""What protects is tried out before any model's program runs."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import tempfile
from pathlib import Path

from btrans_eval.execution.limits import Limits
from btrans_eval.execution.sandbox import Sandbox
from btrans_eval.execution.trial import PASSED, TOO_MUCH, Program, Verdict, attempt

_TRIES = """
import os, socket

def network(port):
    for address in (("127.0.0.1", port), ("1.1.1.1", 53)):
        try:
            socket.create_connection(address, timeout=1)
        except OSError:
            continue
        return "reached " + address[0]
    return "none"

def outside(path, home, allowed):
    seen = []
    for do in (lambda: open(path).read(), lambda: open(path, "w"), lambda: os.remove(path),
               lambda: open("/usr/btrans-eval", "w"),
               lambda: open("/btrans-eval", "w"), lambda: os.listdir("/proc/1")):
        try:
            do()
        except OSError:
            continue
        seen.append(do.__code__.co_names)
    try:
        return seen + [each for each in os.listdir(home) if each not in allowed]
    except OSError:
        return seen

def own():
    with open("/tmp/mine", "w") as file:
        file.write("mine")
    return open("/tmp/mine").read()

def memory():
    try:
        bytearray(10 << 30)
    except MemoryError:
        return "none"
    return "ten GiB"

def files(most):
    try:
        with open("/tmp/long", "wb") as file:
            file.write(bytes(most + 1))
            file.flush()
    except OSError:
        return "none"
    return "a long file"

def disk(most):
    written = 0
    try:
        for number in range(64):
            with open(f"/tmp/part{number}", "wb") as file:
                written += file.write(bytes(1 << 20))
    except OSError:
        return "none"
    return written

def processes(most):
    for number in range(most + 1):
        try:
            if not os.fork():
                import time
                time.sleep(60)
                os._exit(0)
        except OSError:
            return "none"
    return "too many"
"""
_TESTS = """
assert network({port}) == "none", "network"
assert outside({path!r}, {home!r}, {allowed!r}) == [], "files"
assert own() == "mine", "no place to write"
assert memory() == "none", "memory"
assert files({file}) == "none", "file size"
assert disk({disk}) == "none", "disk"
assert processes({processes}) == "none", "processes"
"""
_NAMES = ("network", "outside", "own", "memory", "files", "disk", "processes")
_SPREADS = """
import os, time
def spread():
    for number in range(4):
        if not os.fork():
            hold = b"x" * (40 << 20)
            time.sleep(60)
    time.sleep(60)
"""
_LEAVES = """
import os, time
def leave():
    if not os.fork():
        os.setsid()
        if os.fork():
            os._exit(0)
        time.sleep(600)
        os._exit(0)
    return "left"
"""


def lacking(sandbox: Sandbox) -> str | None:
    """What a sandbox does not protect from; None where every protection holds."""
    limits = Limits(cpu_seconds=5, wall_seconds=30.0, processes=8, disk_mib=8, file_mib=2)
    return _tried(sandbox, limits) or _left(sandbox, limits) or _spread(sandbox, limits)


def _tried(sandbox: Sandbox, limits: Limits) -> str | None:
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        kept = Path(folder, "kept")
        kept.write_text("kept")
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        home = os.path.realpath(os.path.expanduser("~"))
        tests = _TESTS.format(
            port=server.getsockname()[1],
            path=str(kept),
            home=home,
            allowed=_bound_below(sandbox, home),
            file=limits.file_mib << 20,
            disk=limits.disk_mib << 20,
            processes=limits.processes,
        )
        verdict = attempt(Program(_TRIES, tests, _NAMES), sandbox, limits)
        if verdict.kind != PASSED:
            return _said(verdict)
        if select.select([server], [], [], 0)[0] or kept.read_text() != "kept":
            return "the network or files are within reach"
    return None


def _bound_below(sandbox: Sandbox, home: str) -> list[str]:
    """What a program sees in the home: the way to a Python that is installed there, if it is."""
    seen = [*(there for _, there in sandbox.view.binds), "/tmp", "/dev"]
    seen += [name for name, _ in sandbox.view.links]
    below = [Path(each).relative_to(home).parts for each in seen if Path(each).is_relative_to(home)]
    return sorted({parts[0] for parts in below if parts})


def _left(sandbox: Sandbox, limits: Limits) -> str | None:
    """Whether a process that is left behind dies with the program: its end of a pipe says so."""
    ours, theirs = os.pipe()
    try:
        program = Program(_LEAVES, 'assert leave() == "left"', ("leave",))
        verdict = attempt(program, sandbox, limits, handed=[theirs])
    finally:
        os.close(theirs)
    try:
        if verdict.kind != PASSED:
            return _said(verdict)
        is_over = select.select([ours], [], [], 5)[0]
        return None if is_over else "processes that are left behind live on"
    finally:
        os.close(ours)


def _spread(sandbox: Sandbox, limits: Limits) -> str | None:
    """Whether memory is counted over all of a program's processes."""
    program = Program(_SPREADS, "spread()", ("spread",))
    verdict = attempt(program, sandbox, limits._replace(resident_mib=128))
    return None if verdict.kind == TOO_MUCH else f"memory of several processes: {_said(verdict)}"


def _said(verdict: Verdict) -> str:
    return f"{verdict.kind}: {verdict.why}" if verdict.why else verdict.kind
