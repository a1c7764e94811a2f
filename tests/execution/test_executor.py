"""Many programs: verdicts in order, the same every time; what cannot be judged is told."""

# ruff: noqa: E501  # programs, as they are
from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import sandboxed

import btrans_eval
from btrans_eval.errors import UserError
from btrans_eval.execution import executor as executors
from btrans_eval.execution import trial
from btrans_eval.execution.executor import UNPROTECTED, Executor, Untestable, check_testable, proven
from btrans_eval.execution.limits import Limits
from btrans_eval.execution.probes import lacking
from btrans_eval.execution.sandbox import BWRAP, NAMESPACES, NONE, Sandbox, candidates
from btrans_eval.execution.trial import Program, Verdict


def program(body: str, tests: str = "assert f(3) == 4", names=("f",), context: str = "") -> Program:
    return Program(f"def f(x):\n    {body}\n", tests, names, context)


def test_verdicts_are_in_order_and_equal_programs_run_once(monkeypatch):
    runs = sandboxed.executor()
    right, wrong = program("return x + 1"), program("return x")
    asked = []
    monkeypatch.setattr(
        executors, "attempt", lambda one, *rest: asked.append(one) or trial.attempt(one, *rest)
    )
    found = runs.verdicts([wrong, right, None, right, wrong])
    assert [each.kind for each in found] == ["failed", "passed", "no program", "passed", "failed"]
    assert sorted(asked, key=str) == sorted([right, wrong], key=str)
    assert runs.verdicts([right])[0].kind == "passed" and len(asked) == 2
    assert runs.verdicts([]) == []
    counts = runs.counts(found)
    assert counts == {"failed": 2, "passed": 2, "no program": 1}


def test_orders_and_draws_are_the_same_every_time():
    runs = sandboxed.executor()
    assert _order(runs, 0) == _order(runs, 1)
    # the tests' own draws: whatever is drawn, the program is told the same
    source = "import os\ndef f(x):\n    raise ValueError(x)\n# {}\n"
    tests = "import random\nf(random.random())"
    said = {runs.verdicts([Program(source.format(n), tests, ("f",))])[0].why for n in range(3)}
    assert len(said) == 1


def _order(runs: Executor, copy: int) -> str:
    """What a program says of the order of a set, told by the exception that it raises."""
    source = f"def f():\n    raise ValueError(list({{'a', 'b', 'c', 'd', 'e'}}))\n# {copy}\n"
    verdict = runs.verdicts([Program(source, "f()", ("f",))])[0]
    assert verdict.kind == "raised"
    return verdict.why


def test_exceptions_are_the_nearest_that_python_has():
    runs = sandboxed.executor()
    source = "class Own(KeyError): pass\ndef f(x):\n    raise Own('a')\n"
    tests = "try:\n    f(1)\nexcept KeyError:\n    pass\nelse:\n    assert False\n"
    assert runs.verdicts([Program(source, tests, ("f",))])[0].kind == "passed"
    one = Program(source, tests.replace("KeyError", "ValueError"), ("f",))
    assert runs.verdicts([one])[0].kind == "raised"


def test_objects_of_a_program_can_be_built_and_handed_back():
    source = (
        "class Node:\n    def __init__(self, data):\n        self.data, self.left, self.right = data, None, None\n"
        "def height(node):\n    return 0 if node is None else 1 + max(height(node.left), height(node.right))\n"
        "def up(n):\n    yield from range(n)\n"
    )
    tests = (
        "root = Node(1)\nroot.left = Node(2)\nroot.left.right = Node(3)\n"
        "assert height(root) == 3\nassert root.left.data == 2\nassert list(up(3)) == [0, 1, 2]\n"
        "assert root.left == root.left and root != root.left\nassert height(root.right) == 0\n"
    )
    one = Program(source, tests, ("Node", "height", "up"))
    assert sandboxed.executor().verdicts([one]) == [Verdict("passed")]


@pytest.mark.parametrize(
    "tests, context",
    [("assert f(3) == ", ""), ("assert f(3) == 4", "def g(:"), ("assert f(lambda: 1) == 4", "")],
    ids=["syntax", "context", "an argument that is no data"],
)
def test_tests_that_cannot_be_run_are_no_programs_failure(tests, context):
    runs = sandboxed.executor()
    found = runs.verdicts([program("return x + 1", tests, context=context)])
    assert found[0].kind == "untestable"
    with pytest.raises(Untestable, match="the row's tests cannot be run"):
        check_testable(found)


def test_numpy_is_there_and_nothing_else_that_is_installed():
    runs = sandboxed.executor()
    source = "import numpy as np\ndef f(x):\n    return np.asarray([x, 1]).sum()\n"
    assert runs.verdicts([Program(source, "assert f(3) == 4", ("f",))]) == [Verdict("passed")]
    found = runs.verdicts([Program("import torch\n", "f(3)", ("f",))])[0]
    assert found.kind == "raised" and "torch" in found.why


def test_a_late_or_unstarted_program_is_tried_once_more_alone(monkeypatch):
    said = {"a": ["waited", "passed"], "b": ["waited", "waited"], "c": ["not started", "failed"],
            "d": ["failed"], "e": ["timed out"]}  # fmt: skip
    taken: dict[str, list[str]] = {name: [*kinds] for name, kinds in said.items()}
    monkeypatch.setattr(
        executors, "attempt", lambda one, *rest: Verdict(taken[one.source].pop(0), "why")
    )
    runs = Executor(Sandbox(NONE), Limits(), workers=2)
    found = runs.verdicts([Program(name, "", ()) for name in said])
    assert [each.kind for each in found] == ["passed", "timed out", "failed", "failed", "timed out"]
    assert not any(taken.values())
    taken["f"] = ["not started", "not started"]
    with pytest.raises(UserError, match="a program could not be started"):
        runs.verdicts([Program("f", "", ())])


def test_without_protection_the_run_is_refused_unless_the_risk_is_named(monkeypatch):
    monkeypatch.setattr(executors, "lacking", lambda sandbox: "the network is within reach")
    monkeypatch.delenv(UNPROTECTED, raising=False)
    with pytest.raises(
        UserError, match=f"namespaces: the network is within reach.*{UNPROTECTED}=1"
    ):
        proven()
    monkeypatch.setenv(UNPROTECTED, "1")
    runs = proven(Limits(cpu_seconds=2, processes=4096))
    assert runs.sandbox.kind == NONE
    found = runs.verdicts(
        [program("return x + 1"), program("return x"), program("while True: pass")]
    )
    assert [each.kind for each in found] == ["passed", "failed", "timed out"]


def test_the_probes_find_what_is_not_protected():
    found = lacking(Sandbox(NONE))
    assert found is not None and found.startswith("failed")


def test_the_probes_hold_here():
    assert sandboxed.executor().sandbox.kind in (BWRAP, NAMESPACES)


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
def test_bubblewrap_protects_an_ordinary_user():
    if BWRAP not in candidates():
        pytest.skip("root has no limit of processes within bubblewrap")
    assert lacking(Sandbox(BWRAP)) is None


def test_a_launcher_that_cannot_start_is_told_in_its_own_words():
    runs = sandboxed.executor()
    if runs.sandbox.kind != NAMESPACES:
        pytest.skip("not our own launcher")
    broken = Sandbox(NAMESPACES)
    broken._own = "/nowhere"
    verdict = trial.attempt(program("return x"), broken, Limits())
    assert verdict.kind == "not started" and "/nowhere" in verdict.why


SYSTEM_PYTHON = "/usr/bin/python3"


@pytest.mark.skipif(os.geteuid() != 0, reason="is an ordinary user already")
@pytest.mark.skipif(not os.path.exists(SYSTEM_PYTHON), reason=f"no {SYSTEM_PYTHON} for anybody")
def test_an_ordinary_user_is_protected_too():
    """Root maps two users into its sandbox, anybody else one: both ways are tried out."""
    sandboxed.executor()
    done = subprocess.run([SYSTEM_PYTHON, "-c", "import sys; sys.exit(sys.version_info < (3, 10))"])
    if done.returncode:
        pytest.skip(f"{SYSTEM_PYTHON} is older than 3.10")
    ours = Path(btrans_eval.__file__).parent
    with tempfile.TemporaryDirectory() as folder:  # tmp_path is root's alone
        os.chmod(folder, 0o755)
        package = Path(folder, "btrans_eval")
        shutil.copytree(ours / "execution", package / "execution")
        for name in ("__init__.py", "errors.py"):
            shutil.copy(ours / name, package / name)
        code = (
            "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
            "from btrans_eval.execution.executor import proven\n"
            "from btrans_eval.execution.trial import Program\n"
            "if __name__ == '__main__':\n"
            "    runs = proven()\n"
            "    one = Program('def f(x): return x', 'assert f(1) == 1', ('f',))\n"
            "    print(runs.sandbox.kind, *runs.verdicts([one]))\n"
        )
        done = subprocess.run(
            [SYSTEM_PYTHON, "-s", "-c", code],
            capture_output=True,
            text=True,
            cwd=folder,
            env={"PYTHONPATH": folder, "PATH": "/usr/bin:/bin", "TMPDIR": "/tmp"},
        )
    passed = "Verdict(kind='passed', why='')"
    assert done.stdout.strip() in (f"namespaces {passed}", f"bwrap {passed}"), done.stderr
