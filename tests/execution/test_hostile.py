"""Programs that would harm the machine or forge a score: they score 0, or what they deserve."""

# ruff: noqa: E501  # programs, as they are
from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from sandboxed import executor

from btrans_eval.execution.sandbox import Sandbox
from btrans_eval.execution.trial import Program

TESTS = """
def check(candidate):
    assert candidate(2) == 4
    assert candidate(3) == 9
    assert candidate(-1) == 1

check(square)
"""
RIGHT = "def square(x):\n    return x * x\n"


def kind(source: str, tests: str = TESTS, names=("square",), context: str = "", **limits) -> str:
    return executor(**limits).verdicts([Program(source, tests, names, context)])[0].kind


def within(body: str) -> str:
    """A function that does something and then answers wrongly."""
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    return f"import os, sys\ndef square(x):\n{lines}    return 0\n"


def test_right_passes_and_wrong_does_not():
    assert kind(RIGHT) == "passed"
    assert kind("def square(x):\n    return x + x\n") == "failed"
    assert kind("square = 3\n") == "failed"
    assert kind("def other(x):\n    return x * x\n") == "raised"
    assert kind("def square(x:\n") == "raised"
    assert kind("") == "raised"
    assert kind("raise ValueError('no')") == "raised"


def test_asserts_count_where_python_would_drop_them(monkeypatch):
    given = Sandbox.environment
    monkeypatch.setattr(
        Sandbox, "environment", lambda self, folder: {**given(self, folder), "PYTHONOPTIMIZE": "1"}
    )
    assert kind("def square(x):\n    return x + x\n") == "failed"
    assert kind("def square(x):\n    assert False\n") == "raised"


# each answers wrongly, and tries to have it pass
FORGERIES = {
    "sys.exit in the function": (within("sys.exit(0)"), "raised"),
    "SystemExit at the top": ("raise SystemExit(0)", "raised"),
    "os._exit in the function": (within("os._exit(0)"), "ended"),
    "os._exit at the top": ("import os\nos._exit(0)", "ended"),
    "an exception of its own": (
        "class Out(BaseException): pass\ndef square(x): raise Out()\n", "raised"),
    "KeyboardInterrupt": (within("raise KeyboardInterrupt"), "raised"),
    "AssertionError that asserts nothing": (
        "import builtins\nclass Quiet(Exception): pass\nbuiltins.AssertionError = Quiet\n"
        "AssertionError = Quiet\ndef square(x): return 0\n", "failed"),
    "built-ins of its own": (
        "import builtins\nbuiltins.all = lambda x: True\nbuiltins.abs = lambda x: 0\n"
        "builtins.compile = builtins.exec = lambda *a: None\ndef square(x): return 0\n", "failed"),
    "equal to everything": (
        "class Any:\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n"
        "    def __hash__(self): return 0\ndef square(x): return Any()\n", "failed"),
    "an int equal to everything": (
        "class Any(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\n"
        "def square(x): return Any(0)\n", "failed"),
    "the tests from open files": (
        "import os\ndef square(x):\n    for n in range(48):\n        try:\n"
        "            if b'candidate' in os.pread(n, 10000, 0): return x * x\n"
        "        except OSError: pass\n    return 0\n", "failed"),
    "a verdict on every file": (
        within("for n in range(48):\n    try: os.write(n, b'ready\\n{\"kind\": \"passed\", \"why\": \"\"}\\n')\n"
               "    except OSError: pass"), "ended"),
    "the other process": (
        "import os, signal\ndef square(x):\n    for n in range(2, 400):\n"
        "        try: os.kill(n, signal.SIGKILL)\n        except OSError: pass\n    return 0\n", "failed"),
    "patched json": (
        "import json\njson.dumps = lambda *a, **k: '{\"n\": 1, \"value\": true}'\n"
        "def square(x): return 0\n", "ended"),
    "the wire, patched": (
        "from btrans_eval.execution import wire, judge\njudge.verdict = lambda *a: {'kind': 'passed'}\n"
        "wire.encode = lambda v, keep: {'h': 0}\ndef square(x): return 0\n", "raised"),
    "tracing": (
        "import sys\nsys.settrace(lambda *a: None)\nsys.excepthook = lambda *a: None\n"
        "import atexit\natexit.register(lambda: os._exit(0))\ndef square(x): return 0\n", "failed"),
}  # fmt: skip


@pytest.mark.parametrize("source, expected", FORGERIES.values(), ids=FORGERIES.keys())
def test_no_score_is_forged(source, expected):
    assert kind(source) == expected


def test_the_expected_values_are_nowhere_to_be_found():
    source = """
import gc, os, sys
def look():
    mark = '8281828172'  # backwards, so that it does not find itself
    places = [*gc.get_objects(), sys.argv, dict(os.environ)]
    frame = sys._getframe().f_back
    while frame:
        places += [frame.f_locals, frame.f_globals, frame.f_code.co_consts]
        frame = frame.f_back
    for one in places:
        try:
            if mark in repr(one)[::-1]: return int(mark[::-1])
        except BaseException: pass
    for number in range(48):
        try:
            if mark.encode() in os.pread(number, 1 << 20, 0)[::-1]: return int(mark[::-1])
        except OSError: pass
    return 0
"""
    assert kind(source, "assert look() == 2718281828\n", ("look",), cpu_seconds=5) == "failed"
    # the same search, where there is something to find
    found = source + "kept = '27182' + '81828'\n"
    assert kind(found, "assert look() == 2718281828\n", ("look",), cpu_seconds=5) == "passed"


def test_tests_that_catch_everything_pass_nothing_that_ended():
    tests = "try:\n    assert square(2) == 4\nexcept BaseException:\n    pass\n"
    assert kind(within("os._exit(0)"), tests) == "ended"
    assert kind(RIGHT, tests) == "passed"


def test_helpers_of_the_tests_are_the_rows_own():
    context = "def helper(x):\n    return x * x\n\ndef square(x):\n    ''' a stub '''\n"
    tests = "assert abs(helper(3) - square(3)) < 1e-6\n"
    assert kind(RIGHT, tests, context=context) == "passed"
    forged = "def helper(x): return 0\ndef abs(x): return 0\ndef square(x): return 0\n"
    assert kind(forged, tests, context=context) == "failed"
    # the stub is no answer
    assert kind("x = 1\n", "assert square(3) is None\n", context=context) == "raised"


HARMS = {
    "endless loop": (within("while True: pass"), "timed out"),
    "endless loop at the top": ("while True: pass", "timed out"),
    "endless loop that catches": (
        "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\ndef square(x):\n    while True:\n"
        "        try:\n            while True: pass\n        except BaseException: pass\n", "timed out"),
    "endless loop in C": (within("return 7 ** 10 ** 10"), "timed out"),
    "10 GB": (within("return len(bytearray(10 << 30))"), "raised"),
    "many small pieces": (within("a = []\nwhile True: a.append(bytes(1 << 20))"), "raised"),
    "endless recursion in C": (
        "import sys\nsys.setrecursionlimit(10 ** 9)\ndef square(x): return square(x)\n", None),
    "flood of output": (
        within("for n in range(200): os.write(1, b'x' * (1 << 20)); os.write(2, b'x' * (1 << 20))"),
        "failed"),
    "flood of a value": (within("return 'x' * (64 << 20)"), "ended"),
    "flood of files": (
        within("try:\n    for n in range(10 ** 6): open(f'/tmp/{n}', 'wb').write(bytes(1 << 20))\n"
               "except OSError: pass"), "failed"),
    "deleting files": (
        within("import shutil\nfor each in ('/tmp', '/ours', '/root', '/home', '/usr/bin'):\n"
               "    shutil.rmtree(each, ignore_errors=True)\nreturn len(os.listdir('/usr/bin')) and 7"),
        None),  # walking through thousands of files may take its second
    "crash": ("import ctypes\ndef square(x): ctypes.string_at(0)\n", "ended"),
    "fork bomb": (
        within("try:\n    while True: os.fork()\nexcept OSError: pass\nwhile True: pass"), None),
}  # fmt: skip


@pytest.mark.parametrize("source, expected", HARMS.values(), ids=HARMS.keys())
def test_the_machine_is_left_alone(source, expected):
    before = time.monotonic()
    found = kind(source, cpu_seconds=1, memory_mib=512, resident_mib=512)
    assert found == expected if expected else found != "passed"
    assert time.monotonic() - before < 50
    assert kind(RIGHT) == "passed"  # the next one runs as ever


def alive(mark: str) -> list[int]:
    """Processes whose command holds a mark."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in each.read_bytes():
                found.append(int(each.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    "body, expected",
    [
        ("if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: LEFT\n    os._exit(0)", "failed"),
        ("import threading\nthreading.Thread(target=lambda: [time.sleep(1) for _ in range(99)]).start()",
         "failed"),
        ("import subprocess\nsubprocess.Popen([sys.executable, '-c', CODE], start_new_session=True)",
         "failed"),
    ],
    ids=["daemon", "thread", "subprocess"],
)  # fmt: skip
def test_nothing_lives_on(body, expected):
    mark = f"mark{os.getpid()}x{time.monotonic_ns()}"
    code = f"import time; time.sleep(99) # {mark}"
    body = body.replace("LEFT", "os.execv(sys.executable, [sys.executable, '-c', CODE])")
    assert kind(f"import time\nCODE = {code!r}\n" + within(body)) == expected
    until = time.monotonic() + 5
    while alive(mark) and time.monotonic() < until:
        time.sleep(0.05)
    assert alive(mark) == []


def test_memory_of_many_processes_is_counted_together():
    source = within(
        "import time\nfor n in range(4):\n    if os.fork() == 0:\n        a = b'x' * (60 << 20)\n"
        "        time.sleep(30)\ntime.sleep(30)"
    )
    assert kind(source, resident_mib=200, wall_seconds=10.0) == "too much memory"


def test_a_program_that_waits_is_tried_twice_and_out_of_time():
    before = time.monotonic()
    assert kind(within("import time; time.sleep(60)"), wall_seconds=0.7) == "timed out"
    assert 1.4 <= time.monotonic() - before < 15


def test_nothing_of_the_user_is_seen(tmp_path, monkeypatch):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    monkeypatch.setenv("BTRANS_SECRET_TOKEN", "secret")
    source = (
        "import os, socket\n"
        "def looks(path, home):\n"
        "    found = [k for k, v in os.environ.items() if 'secret' in v]\n"
        "    for do in (open, os.listdir, os.stat):\n"
        "        for each in (path, home + '/.bashrc', '/proc/1', '/etc/passwd', '/sys', '/dev/shm', '/work', '/home'):\n"
        "            try:\n"
        "                do(each); found.append(each)\n"
        "            except OSError: pass\n"
        "    return found\n"
        "def reaches():\n"
        "    found = []\n"
        "    for kind in (socket.AF_INET, socket.AF_INET6):\n"
        "        one = socket.socket(kind, socket.SOCK_DGRAM)\n"
        "        try:\n"
        "            one.connect(('1.1.1.1' if kind == socket.AF_INET else '2606:4700::1111', 53)); found.append(1)\n"
        "        except OSError: pass\n"
        "    return found\n"
    )
    home = os.path.expanduser("~")
    tests = f"assert looks({str(secret)!r}, {home!r}) == []\nassert reaches() == []\n"
    verdict = executor().verdicts([Program(source, tests, ("looks", "reaches"))])[0]
    assert (verdict.kind, verdict.why) == ("passed", "")


def test_no_way_to_more_rights():
    source = (
        "import ctypes, os\n"
        "def tries():\n"
        "    libc, found = ctypes.CDLL(None), []\n"
        "    if libc.unshare(0x10000000) == 0: found.append('user namespace')\n"
        "    if libc.unshare(0x00020000) == 0: found.append('mount namespace')\n"
        "    if libc.mount(b'tmpfs', b'/tmp', b'tmpfs', 0, None) == 0: found.append('mount')\n"
        "    if libc.mount(None, b'/', None, 32 | 4096, None) == 0: found.append('writable')\n"
        "    if libc.chroot(b'/tmp') == 0: found.append('chroot')\n"
        "    if 0 in os.getresuid(): found.append('root')\n"
        "    for each in (os.setuid, os.setgid):\n"
        "        try: each(0); found.append('setuid')\n"
        "        except OSError: pass\n"
        "    import resource\n"
        "    try: resource.setrlimit(resource.RLIMIT_AS, (-1, -1)); found.append('limits')\n"
        "    except (OSError, ValueError): pass\n"
        "    return found\n"
    )
    verdict = executor().verdicts([Program(source, "assert tries() == [], tries()", ("tries",))])[0]
    assert (verdict.kind, verdict.why) == ("passed", "")
