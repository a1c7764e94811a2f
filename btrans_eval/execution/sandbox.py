"""Where programs run: bubblewrap, our own launcher, or, if the user names the risk, nowhere."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from btrans_eval.execution.limits import Limits

BWRAP, NAMESPACES, NONE = "bwrap", "namespaces", "none"
_OURS = "/ours"
_SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/gnu/store",
)
_ROLE = "import sys; from btrans_eval.execution.{0} import main; main(*sys.argv[1:])"


@dataclass(frozen=True)
class View:
    """What a program sees of the machine's files, all of it read-only.

    Attributes:
        binds: (path here, path there).
        links: (path there, what it names).
    """

    binds: tuple[tuple[str, str], ...]
    links: tuple[tuple[str, str], ...]


class Sandbox:
    """How one process is kept from the machine.

    Args:
        kind: ``BWRAP``, ``NAMESPACES`` or ``NONE``.

    Attributes:
        folder: where a program may write, as it sees it; None: in one that is made for it.
        view: what it sees, but in ``NONE``.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        own = tempfile.mkdtemp(prefix="btrans-eval-")  # what mounts cover
        weakref.finalize(self, shutil.rmtree, own, ignore_errors=True)
        self._own = own
        self.folder = None if kind == NONE else "/tmp"
        self.view = _view()

    def command(self, role: str, limits: Limits, arguments: Sequence[str]) -> list[str]:
        """The command that runs ``main`` of a module of this package with arguments."""
        python = os.path.realpath(sys.executable)
        inner = [python, "-S", "-s", "-B", "-c", _ROLE.format(role), *arguments]
        if self.kind == BWRAP:
            return self._bwrap(limits, inner)
        if self.kind == NAMESPACES:
            spec = {
                "root": self._own,
                "binds": self.view.binds,
                "links": self.view.links,
                "disk_mib": limits.disk_mib,
                "cpu_seconds": limits.cpu_seconds,
                "command": inner,
            }
            launcher = str(Path(__file__).with_name("launcher.py"))
            return [python, "-S", "-s", "-B", launcher, json.dumps(spec)]
        return inner

    def environment(self, folder: str) -> dict[str, str]:
        """The whole environment of a command: nothing of the user's."""
        path = _OURS if self.kind != NONE else os.pathsep.join(_here())
        return {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": path,
            "PYTHONHASHSEED": "0",  # sets in one order
            "LC_ALL": "C.UTF-8",
            "HOME": folder,
            "TMPDIR": folder,
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }

    def _bwrap(self, limits: Limits, inner: Sequence[str]) -> list[str]:
        files = [each for bind in self.view.binds for each in ("--ro-bind", *bind)]
        links = [each for name, target in self.view.links for each in ("--symlink", target, name)]
        size = str(limits.disk_mib << 20)
        return [
            *(str(shutil.which("bwrap")), "--unshare-all", "--die-with-parent", "--new-session"),
            *("--cap-drop", "ALL", "--dev", "/dev", *files, *links),
            *("--size", size, "--tmpfs", "/tmp", "--remount-ro", "/", "--chdir", "/", "--"),
            *inner,
        ]


def candidates() -> list[str]:
    """What may work here, best first."""
    if sys.platform != "linux":
        return []
    # root has no limit of processes within bubblewrap
    has_bwrap = shutil.which("bwrap") is not None and os.geteuid() != 0
    return [BWRAP, NAMESPACES] if has_bwrap else [NAMESPACES]


def _view() -> View:
    links, binds = [], []
    for path in _SYSTEM:
        if os.path.islink(path):
            links.append((path, os.readlink(path)))
        elif os.path.isdir(path):
            binds.append((path, path))
    if os.path.exists("/etc/ld.so.cache"):
        binds.append(("/etc/ld.so.cache", "/etc/ld.so.cache"))
    base = os.path.realpath(sys.base_prefix)
    for path in (base, os.path.dirname(os.path.realpath(sys.executable))):
        if not any(Path(path).is_relative_to(there) for _, there in binds):
            binds.append((path, path))
    binds.append((str(Path(__file__).parent), f"{_OURS}/btrans_eval/execution"))
    binds += [(str(each), f"{_OURS}/{each.name}") for each in _numpy()]
    return View(tuple(binds), tuple(links))


def _numpy() -> list[Path]:
    """Folders of numpy, which the reference of HumanEval has too, and the libraries beside it."""
    spec = importlib.util.find_spec("numpy")
    places = [Path(each) for each in (spec.submodule_search_locations or ())] if spec else []
    return [each for place in places for each in (place, place.with_name("numpy.libs"))
            if each.is_dir()]  # fmt: skip


def _here() -> list[str]:
    """Where our own package, and numpy, are imported from without a sandbox."""
    return [str(Path(__file__).resolve().parents[2]), *(str(each.parent) for each in _numpy()[:1])]
