"""Run as a file of its own: enters new namespaces, builds files, and starts one command there.

Linux 5.12 or later, as root or as anybody, where user namespaces are allowed. The command is the
first process of its own process namespace, so its end is the end of all that it started. It has no
network, no capability, no /proc, no home; it sees what is bound, read-only, and an empty /tmp.

The standard library only; started without site and environment.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import platform
import resource
import signal
import sys
from typing import Any

NOT_STARTED, OUT_OF_TIME = 125, 124
"""Exit codes of the launcher's own: no sandbox, and a command that used up its CPU time."""

_NEW_USER = 0x10000000
_NEW_OTHERS = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000
_BIND, _REC, _PRIVATE, _NOSUID, _NODEV = 4096, 16384, 1 << 18, 2, 4
_DETACH, _RECURSIVE, _HERE = 2, 0x8000, -100
_MOUNT_SETATTR = 442  # on every architecture
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217}
_PARENT_DEATH, _NO_NEW_PRIVILEGES = 1, 38
_NOBODY = 65534
_DEVICES = ("null", "zero", "full", "random", "urandom")

_libc = ctypes.CDLL(None, use_errno=True)


class _Attributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]


def _call(name: str, *arguments: Any) -> None:
    """A function of the C library.

    Raises:
        OSError: naming it.
    """
    if getattr(_libc, name)(*map(_as_c, arguments)) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _as_c(value: Any) -> Any:
    if isinstance(value, str):
        return ctypes.c_char_p(value.encode())
    return ctypes.c_long(value) if isinstance(value, int) else value


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str = "") -> None:
    try:
        _call("mount", source, target, kind, flags, data or None)
    except OSError as error:
        raise OSError(error.errno, f"mount of {source} on {target}: {error.strerror}") from error


def _enter_user_namespace() -> bool:
    """A user namespace in which this process may mount.

    Returns:
        Whether it can become nobody there. Root must: root has no limit of processes.
    """
    uid, gid = os.geteuid(), os.getegid()
    if uid:
        _call("unshare", _NEW_USER)
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{uid} {uid} 1")
        _write("/proc/self/gid_map", f"{gid} {gid} 1")
        return False
    os.setgroups([])
    me = os.getpid()
    ready, go = os.pipe()
    helper = os.fork()
    if not helper:  # two users are mapped from outside
        try:
            os.close(go)
            os.read(ready, 1)
            for which in ("uid", "gid"):
                _write(f"/proc/{me}/{which}_map", f"0 0 1\n{_NOBODY} {_NOBODY} 1")
        except BaseException:
            os._exit(1)
        os._exit(0)
    _call("unshare", _NEW_USER)
    os.close(go)
    os.close(ready)
    if os.waitpid(helper, 0)[1]:
        raise OSError(errno.EPERM, "users cannot be mapped")
    return True


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _build(root: str, binds: list[list[str]], links: list[list[str]], disk_mib: int) -> None:
    """A file system at ``root``: what is bound, and a /tmp of its own."""
    _mount(None, "/", None, _REC | _PRIVATE)
    _mount("tmpfs", root, "tmpfs", _NOSUID | _NODEV, "size=1m,mode=755")
    for source, target in [*binds, *([f"/dev/{each}"] * 2 for each in _DEVICES)]:
        place = root + target
        if os.path.isdir(source):
            os.makedirs(place, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o644))
        _mount(source, place, None, _BIND | _REC)
    for name, target in links:
        os.symlink(target, root + name)
    os.mkdir(root + "/tmp")
    read_only = _Attributes(set=1 | 2)  # and no setuid
    _syscall(_MOUNT_SETATTR, _HERE, root, _RECURSIVE, ctypes.byref(read_only), 32)
    options = f"size={disk_mib}m,nr_inodes=4096,mode=1777"
    _mount("tmpfs", root + "/tmp", "tmpfs", _NOSUID | _NODEV, options)
    os.chdir(root)
    _syscall(_PIVOT_ROOT[platform.machine()], ".", ".")
    _call("umount2", ".", _DETACH)
    os.chdir("/")


def _syscall(number: int, *arguments: Any) -> None:
    _call("syscall", number, *arguments)


def _become(nobody: bool) -> None:
    """Give up what the first process of the namespaces still has; its end follows ours."""
    if nobody:
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    _call("prctl", _PARENT_DEATH, int(signal.SIGKILL), 0, 0, 0)
    _call("prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)


def main(text: str) -> int:
    """Start the command and wait for it.

    Args:
        text: JSON of ``root`` (an empty folder), ``binds`` ([from, to]), ``links``
            ([name, target]), ``disk_mib``, ``cpu_seconds``, and ``command``.

    Returns:
        Its exit code, 128 and the number of the signal that ended it, or one of our own.
    """
    _call("prctl", _PARENT_DEATH, int(signal.SIGKILL), 0, 0, 0)
    asked = json.loads(text)
    try:
        if platform.machine() not in _PIVOT_ROOT:
            raise OSError(errno.ENOSYS, f"pivot_root is not known on {platform.machine()}")
        nobody = _enter_user_namespace()
        with contextlib.suppress(
            OSError
        ):  # a read-only /proc; without it there is only more to try
            _write("/proc/sys/user/max_user_namespaces", "0")
        _call("unshare", _NEW_OTHERS)
        _build(asked["root"], asked["binds"], asked["links"], asked["disk_mib"])
        child = os.fork()
        if not child:
            try:
                _become(nobody)
                command = asked["command"]
                os.execve(command[0], command, dict(os.environ))
            except BaseException as error:
                print(error, file=sys.stderr, flush=True)
                os._exit(NOT_STARTED)
    except OSError as error:
        print(error.strerror or error, file=sys.stderr)
        return NOT_STARTED
    _, status, used = os.wait4(child, 0)
    if not os.WIFSIGNALED(status):
        return os.WEXITSTATUS(status)
    # the kernel counts in ticks, and the limit to the last of them
    spent = used.ru_utime + used.ru_stime >= 0.9 * asked["cpu_seconds"]
    return OUT_OF_TIME if spent else 128 + os.WTERMSIG(status)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.exit(main(sys.argv[1]))
