"""Runs with a checkout's code, and the fixtures of the canned ones.

``python tests/characterization/record.py`` writes ``fixtures/`` again. That is right only where a
scheme was raised, where a line of CHANGELOG.md says that the behaviour changes, or where a new
release of the harness writes other files; look at ``git diff`` before you commit. A change of the
code that should leave behaviour as it is must leave the fixtures as they are.
"""

from __future__ import annotations

import difflib
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
FIXTURES = HERE / "fixtures"
_SHOWN = 10


def perform(
    checkout: Path,
    into: Path,
    names: Sequence[str],
    python: str = sys.executable,
    place: Path | None = None,
) -> None:
    """Do runs with the code of ``checkout``; each leaves a folder in ``into``.

    Args:
        python: an interpreter in whose environment the dependencies are.
        place: what `place.write` has written; None: a new one.
    """
    with tempfile.TemporaryDirectory() as temporary:
        if place is None:
            place = Path(temporary) / "place"
            make_place(place, python)
        package = Path(temporary) / "code"
        _lay_out(checkout, package)
        command = [python, str(HERE / "perform.py"), str(checkout), str(place), str(into), *names]
        done = subprocess.run(command, env=_environment(package), cwd=temporary)
    if done.returncode:
        raise SystemExit(f"the runs with {checkout} failed")


def make_place(folder: Path, python: str = sys.executable) -> None:
    """Write tasks and checkpoints, in a process that has no random numbers of ours."""
    code = f"import sys; sys.path.insert(0, {str(HERE)!r}); import place; from pathlib import Path"
    code += f"; place.write(Path({str(folder)!r}))"
    subprocess.run([python, "-c", code], env=_environment(None), check=True)


def _lay_out(checkout: Path, folder: Path) -> None:
    """The package as it is installed: as links, with the folders that are mapped into it."""
    package = folder / "btrans_eval"
    package.mkdir(parents=True)
    for path in (checkout / "btrans_eval").iterdir():
        (package / path.name).symlink_to(path)
    for name in ("leaderboards", "model_adapters", "tasks"):
        (package / name).symlink_to(checkout / name)


def _environment(package: Path | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BTRANS_")}
    kept |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
    kept |= {"PYTHONHASHSEED": "0", "COLUMNS": "120"}
    kept["PYTHONPATH"] = os.pathsep.join(map(str, filter(None, (package, HERE.parent))))
    return kept


def differences(old: Path, new: Path) -> list[str]:
    """How the files of one gathered run differ from those of another; empty if they are equal."""
    one, two = _files(old), _files(new)
    found = []
    for name in sorted({*one, *two}):
        if name not in two:
            found.append(f"{name} is missing")
        elif name not in one:
            found.append(f"{name} is new")
        elif one[name].read_bytes() != two[name].read_bytes():
            found.append(f"{name} differs\n{_diff(one[name], two[name])}")
    return found


def _files(folder: Path) -> dict[str, Path]:
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}


def _diff(old: Path, new: Path) -> str:
    """The first lines that differ; of long ones, the places where they do."""
    lines = [path.read_text("utf-8", "backslashreplace").splitlines() for path in (old, new)]
    shown = list(difflib.unified_diff(*lines, "old", "new", lineterm="", n=0))[2:]
    gone = [line for line in shown if line[0] == "-"][:_SHOWN]
    come = [line for line in shown if line[0] == "+"][:_SHOWN]
    starts = [
        max(0, len(os.path.commonprefix([one[1:], other[1:]])) - 60)
        for one, other in itertools.zip_longest(gone, come, fillvalue="")
    ]
    return "".join(
        f"{line[0]}{line[1:][start : start + 240]}\n"
        for lines in (gone, come)
        for line, start in zip(lines, starts, strict=False)
    )


if __name__ == "__main__":
    from runs import CANNED

    shutil.rmtree(FIXTURES, ignore_errors=True)
    perform(CHECKOUT, FIXTURES, sys.argv[1:] or list(CANNED))
