"""Do runs with the code of one checkout, and gather what they leave behind.

Started as a program of its own: ``python perform.py CHECKOUT PLACE INTO NAME ...``. Everything is
imported once; every command is a fork of this process, so that none sees another's state.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import gather
import table_model
from runs import CANNED, RUNS, Run, Step

_PATIENCE = 600


def main(checkout: Path, place: Path, into: Path, names: list[str]) -> None:
    """Each run goes to a folder of its name in ``into``."""
    _prepare(checkout)
    inputs = {path.name for path in place.iterdir()} | {"cache", "calibration"}
    for name in names:
        began = time.monotonic()
        # not a TemporaryDirectory: every fork would remove it at its end
        folder = Path(tempfile.mkdtemp()).resolve() / name
        shutil.copytree(place, folder)
        _perform(RUNS[name], folder, checkout)
        gather.gather(folder, into / name, inputs, portable=name in CANNED)
        shutil.rmtree(folder.parent)
        print(f"{name} {time.monotonic() - began:.1f} s", flush=True)


def _prepare(checkout: Path) -> None:
    """Import what every run needs, and do once what the harness does the same way in each."""
    import imported_once  # noqa: F401

    table_model.register()
    _check_origin(checkout)


def _check_origin(checkout: Path) -> None:
    """A run with half of another checkout's code would compare nothing."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.split(".")[0] == "btrans_eval" and file:
            if not Path(file).resolve().is_relative_to(checkout):
                raise RuntimeError(f"{name} is {file}, which is not in {checkout}")


def _perform(run: Run, folder: Path, checkout: Path) -> None:
    """Do all steps and write what they print, and how they end, to ``steps.txt``."""
    said = []
    for step in run.steps:
        out, err = folder / "cache-out", folder / "cache-err"
        if step.processes > 1:
            code = _launched(step, folder, out, err)
        else:
            code = _forked_in_time(step, folder, out, err, checkout)
        ours = [line for line in err.read_text().splitlines() if line.startswith("btrans-eval")]
        if code not in (0, 2, 3, 130, -signal.SIGKILL) or (code > 0 and not ours):
            raise RuntimeError(f"{step} ended with {code}: {err.read_text()[-4000:]}")
        said += [f"$ {' '.join((step.program, *step.arguments))}", f"exit code {code}"]
        said += [*out.read_text().splitlines(), "-- stderr", *ours]
        left = [out, err, *(folder.rglob("*.part*") if step.stopped_at else ())]
        for path in left:
            path.unlink()
    (folder / "steps.txt").write_text("".join(f"{line}\n" for line in said))


def _environment(folder: Path) -> dict[str, str]:
    return {
        "BTRANS_EVAL_CACHE": str(folder / "calibration"),
        "HF_DATASETS_CACHE": str(folder / "cache"),
        "HF_DATASETS_OFFLINE": "1",
    }


def _launched(step: Step, folder: Path, out: Path, err: Path) -> int:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc_per_node={step.processes}", "-m", step.program, *step.arguments]
    with out.open("w") as stdout, err.open("w") as stderr:
        environment = {**os.environ, **_environment(folder)}
        return subprocess.run(
            command, cwd=folder, env=environment, stdout=stdout, stderr=stderr, timeout=_PATIENCE
        ).returncode


def _forked_in_time(step: Step, folder: Path, out: Path, err: Path, checkout: Path) -> int:
    """As `_forked`; on a busy machine a step may be over before its signal, and begins anew."""
    there = {*folder.rglob("*")}
    for _ in range(10):
        code = _forked(step, folder, out, err, checkout)
        if step.stopped_at is None or code in (130, -signal.SIGKILL):
            return code
        for path in sorted({*folder.rglob("*")} - there, reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    raise RuntimeError(f"{step} was over before it could be stopped, ten times")


def _forked(step: Step, folder: Path, out: Path, err: Path, checkout: Path) -> int:
    child = os.fork()
    if not child:
        os.setsid()
        os.chdir(folder)
        for path, number in ((out, 1), (err, 2)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
        os.environ.update(_environment(folder))
        import datasets

        datasets.config.HF_DATASETS_CACHE = folder / "cache"
        _command(step)
        _check_origin(checkout)
        raise SystemExit(0)
    end, waits = time.monotonic() + _PATIENCE, True
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return code
        if waits and step.stopped_at and _count(folder / step.stopped_at[0]) >= step.stopped_at[1]:
            os.killpg(child, step.by)
            waits = False
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL)
    raise RuntimeError(f"{step} took more than {_PATIENCE} s")


def _command(step: Step) -> None:
    if step.program == "lm_eval":
        from lm_eval.__main__ import cli_evaluate

        sys.argv = ["lm_eval", *step.arguments]
        cli_evaluate()
    elif step.program == "python":
        exec(*step.arguments, {"__name__": "__main__"})
    else:
        from btrans_eval.cli import main as ours

        ours(step.arguments)


def _count(path: Path) -> int:
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            return int(connection.execute("SELECT count(*) FROM responses").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.Error:  # not made yet
        return 0


if __name__ == "__main__":
    main(*(Path(each).resolve() for each in sys.argv[1:4]), sys.argv[4:])
