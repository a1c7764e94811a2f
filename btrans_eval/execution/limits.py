"""What a program may use. Applied in the sandbox: the standard library only."""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any, NamedTuple

MIB = 1 << 20


class Limits(NamedTuple):
    """Limits of one program; its tests have the same.

    Attributes:
        cpu_seconds: of CPU time, of one process; whole seconds. Of all together one more.
        wall_seconds: from when the program is loaded to the verdict.
        memory_mib: address space of one process.
        resident_mib: memory of all processes of a program together, looked at every 0.1 s.
        processes: processes and threads.
        file_mib: size of one file.
        disk_mib: size of its /tmp, which is in memory.
        files: open files.
    """

    cpu_seconds: int = 5
    wall_seconds: float = 20.0
    memory_mib: int = 1024
    resident_mib: int = 1536
    processes: int = 32
    file_mib: int = 4
    disk_mib: int = 32
    files: int = 48


def _apply(limits: Limits) -> None:
    """Bind this process, and all that it starts, for good."""
    memory, size = limits.memory_mib * MIB, limits.file_mib * MIB
    for which, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, size),
        (resource.RLIMIT_NPROC, limits.processes),
        (resource.RLIMIT_NOFILE, limits.files),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, limits.cpu_seconds),
    ):
        resource.setrlimit(which, (most, most))  # at the soft limit alone a signal could be caught


def begin(limits: str) -> dict[str, Any]:
    """Read what is to be done, leave nothing of the user's open, and apply the limits, as JSON."""
    job: dict[str, Any] = json.load(os.fdopen(os.dup(0), "rb"))
    nothing = os.open(os.devnull, os.O_RDWR)
    for each in (0, 1, 2):
        os.dup2(nothing, each)
    os.close(nothing)
    _apply(Limits(**json.loads(limits)))
    os.chdir(job["folder"])
    sys.path[:] = [each for each in sys.path if each]
    return job
