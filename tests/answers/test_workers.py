"""Workers that hang, die, or outlive their parent. No test asserts a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from btrans_eval.answers import workers
from btrans_eval.answers.workers import Pool, Worker
from btrans_eval.errors import UserError

EQUAL = ("\\sqrt{12}", "2\\sqrt{3}")
UNEQUAL = ("x_{1}", "x_{2}")
TOWER = ("9^{9^{9^{9}}}", "9^{9^{9^{8}}}")


@pytest.fixture
def pool():
    pool = Pool(workers=2, cpu_seconds=1.0)
    yield pool
    pool.close()


def test_verdicts_come_back_in_order(pool):
    assert pool.run([EQUAL, UNEQUAL] * 10) == [True, False] * 10
    assert pool.run([]) == []
    assert 1 <= len(pool.workers) <= 2


def test_nothing_runs_before_it_is_needed():
    assert Pool().workers == []
    assert Pool().run([]) == []


@pytest.mark.parametrize(
    "hanging",
    [
        TOWER,
        ("\\frac{1000000007!}{3}", "\\frac{1000000009!}{3}"),
    ],
)
def test_a_hanging_pair_costs_only_itself(pool, hanging):
    assert pool.run([EQUAL, hanging, EQUAL, UNEQUAL]) == [True, "timed out", True, False]
    assert pool.run([UNEQUAL, EQUAL]) == [False, True]


def test_a_page_of_nested_radicals_has_an_outcome(pool):
    deep, other = "2", "3"
    for _ in range(150):
        deep, other = f"\\sqrt{{2+{deep}}}", f"\\sqrt{{3+{other}}}"
    assert pool.run([(deep, other), EQUAL])[0] in (False, "timed out", "died")
    assert pool.run([EQUAL]) == [True]


def test_a_number_of_ten_thousand_million_digits_has_an_outcome(pool):
    huge = ("10^{10^{10}}", "10^{10^{10}}+1")
    assert pool.run([huge, EQUAL])[0] in (False, "timed out", "died")
    assert pool.run([EQUAL]) == [True]


def kill_at_send(monkeypatch, times):
    """The next workers that are given this pair die of SIGKILL before they answer."""
    send, left = Worker.send, [times]

    def deadly(self, task, pair, wall_seconds):
        if pair == UNEQUAL and left[0]:
            left[0] -= 1
            self.process.kill()
        send(self, task, pair, wall_seconds)

    monkeypatch.setattr(Worker, "send", deadly)


def test_a_pair_whose_worker_is_killed_is_tried_again(pool, monkeypatch):
    kill_at_send(monkeypatch, 1)
    assert pool.run([EQUAL, UNEQUAL, EQUAL]) == [True, False, True]


def test_a_pair_that_kills_twice_is_undecided(pool, monkeypatch):
    kill_at_send(monkeypatch, 2)
    assert pool.run([EQUAL, UNEQUAL, *[EQUAL] * 20]) == [True, "died", *[True] * 20]
    assert pool.run([UNEQUAL]) == [False]


def test_a_worker_killed_while_it_computes(monkeypatch):
    pool = Pool(workers=1, cpu_seconds=1.0)
    assert pool.run([EQUAL]) == [True]
    first = pool.workers[0].process

    def kill_when_busy():
        while not (pool.workers and pool.workers[0].task is not None):
            time.sleep(0.001)
        os.kill(first.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_when_busy)
    killer.start()
    assert pool.run([TOWER, EQUAL]) == ["timed out", True]
    killer.join()
    assert first.returncode == -signal.SIGKILL
    pool.close()


def test_a_worker_that_waits_for_ever_meets_the_wall_limit(monkeypatch):
    monkeypatch.setattr(
        workers, "_PROGRAM", "import sys; print('\"ready\"', flush=True); sys.stdin.read()"
    )
    pool = Pool(workers=1, wall_seconds=0.2)
    assert pool.run([EQUAL]) == ["timed out"]
    pool.close()


def test_memory_is_limited():
    pool = Pool(workers=1, memory_bytes=400 << 20, cpu_seconds=20)
    if sys.platform == "linux":
        assert pool.run([("2^{10^{10}}", "2^{10^{10}}+1")]) in (["died"], ["timed out"], [False])
    assert pool.run([EQUAL]) == [True]
    pool.close()


def test_works_from_another_thread_and_after_close(pool):
    got = []
    thread = threading.Thread(target=lambda: got.append(pool.run([EQUAL])))
    thread.start()
    thread.join()
    pool.close()
    assert got == [[True]] and pool.workers == []
    assert pool.run([EQUAL]) == [True]


def test_close_leaves_no_process(pool):
    pool.run([EQUAL, UNEQUAL])
    processes = [worker.process for worker in pool.workers]
    assert processes
    pool.close()
    assert all(process.returncode is not None for process in processes)  # dead and reaped
    assert not any(psutil.pid_exists(process.pid) for process in processes)


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "os._exit(0)", "sys.exit(0)"])
def test_workers_end_with_their_parent(end):
    program = (
        "import os, sys; from btrans_eval.answers.workers import Pool; pool = Pool(workers=2)\n"
        f"pool.run([{EQUAL!r}, {UNEQUAL!r}])\n"
        "print(*(worker.process.pid for worker in pool.workers), flush=True)\n" + end
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    pids = [int(pid) for pid in run.stdout.split()]
    assert pids
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids):
        time.sleep(0.05)  # a test that hangs here has failed


def test_the_parents_main_is_not_run_again(tmp_path):
    script = tmp_path / "main.py"
    script.write_text(
        "print('once'); from btrans_eval.answers.workers import Pool\n"
        f"print(Pool(workers=1).run([{EQUAL!r}]))\n"
    )
    (tmp_path / "sympy.py").write_text("raise SystemExit('shadowed')")  # beside the script
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd="/")
    assert run.stdout == "once\n[True]\n"


@pytest.mark.parametrize(
    "program, told", [("raise SystemExit(3)", "exit code 3"), ("print('\"no antlr\"')", "no antlr")]
)
def test_a_worker_that_cannot_start_is_an_error(monkeypatch, program, told):
    monkeypatch.setattr(workers, "_PROGRAM", program)
    pool = Pool(workers=1)
    with pytest.raises(UserError, match=told) as caught:
        pool.run([EQUAL])
    assert "pip install" in str(caught.value)
    pool.close()


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"cpu_seconds": 0}])
def test_limits_must_make_sense(wrong):
    with pytest.raises(UserError):
        Pool(**wrong)
