"""Validate an export with the ``every-eval-ever`` package itself, which needs Python 3.12.

    python benchmarks/validate_every_eval_ever.py [OUT/exports/every-eval-ever] [--venv FOLDER]

Without an export, one is made of the tests' four canned arms. The package gets a virtual
environment of its own (its huggingface_hub is older than ours), in a temporary folder unless
``--venv`` names one. Then a copy is spoilt in three ways, which the validator must refuse.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

PACKAGE = "every-eval-ever==0.3.0"
TESTS = Path(__file__).resolve().parents[1] / "tests" / "leaderboards"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("export", nargs="?", type=Path)
    parser.add_argument("--python", default=newer_python(), help="an interpreter, 3.12 or newer")
    parser.add_argument("--venv", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        export = given.export or canned(place / "comparison")
        validator = installed(given.venv or place / "venv", given.python)
        print(f"{PACKAGE}: validate {export}\n", flush=True)
        code = validate(validator, export)
        print(f"exit code {code}: {'clean' if code == 0 else 'errors or warnings'}")
        caught = [spoilt(validator, export, place / name, change) for name, change in SPOILT]
        return code or (0 if all(caught) else 1)


def newer_python() -> str | None:
    """A Python 3.12 or newer: this one, on the path, or one of pyenv's."""
    if sys.version_info >= (3, 12):
        return sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [str(path) for path in sorted(pyenv.glob("3.1[2-9]*/bin/python"))]
    found += [path for name in ("python3.12", "python3.13") if (path := shutil.which(name))]
    return next((path for path in found if works(path)), None)


def works(python: str) -> bool:
    """Whether it starts: a shim of pyenv may lead nowhere."""
    return subprocess.run([python, "-c", ""], capture_output=True).returncode == 0


def installed(venv: Path, python: str | None) -> Path:
    """The package's command in a virtual environment, made where it is not there."""
    command = venv / "bin" / "every_eval_ever"
    if not command.exists():
        if python is None:
            sys.exit("needs a Python 3.12 or newer; name one with --python")
        subprocess.run([python, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin" / "pip", "install", "--quiet", PACKAGE], check=True)
    return command


def canned(folder: Path) -> Path:
    """An export of the tests' comparison: two tasks, one pooled of two."""
    sys.path.insert(0, str(TESTS))
    from four_arms import options, write

    from btrans_eval.leaderboards import export

    output = folder / "export"
    for name, settings in {
        "tasks": {},
        "group": {"tasks": ("part_a", "part_b"), "group": "whole"},
    }.items():
        write(folder / name, **settings)
        export("every-eval-ever", folder / name, options(organization="Me", output=output))
    return output


def validate(command: Path, export: Path) -> int:
    """Exit code of the validator on all files: 0 clean, 1 errors, 2 warnings only."""
    files = [str(path.relative_to(export)) for path in sorted(export.rglob("data/*/*/*/*.json*"))]
    return subprocess.run([command.resolve(), "validate", *files], cwd=export).returncode


def spoilt(
    command: Path, export: Path, copy: Path, change: Callable[[dict[str, Any]], None]
) -> bool:
    """Whether the validator refuses a copy of the export with one log changed."""
    shutil.copytree(export, copy)
    file = sorted(copy.rglob("data/*/*/*/*.json"))[0]
    log = json.loads(file.read_text())
    change(log)
    file.write_text(json.dumps(log))
    files = [str(path.relative_to(copy)) for path in sorted(copy.rglob("data/*/*/*/*.json*"))]
    done = subprocess.run([command.resolve(), "validate", "--format", "github", *files], cwd=copy,
                          capture_output=True, text=True)  # fmt: skip
    first = done.stdout.splitlines()[0] if done.stdout else "nothing said"
    print(f"{copy.name}: exit code {done.returncode}; {first}", flush=True)
    return done.returncode == 1


SPOILT: list[tuple[str, Callable[[dict[str, Any]], None]]] = [
    (
        "a score above its bound",
        lambda log: log["evaluation_results"][0]["score_details"].update(score=41.0),
    ),
    ("a field of no schema", lambda log: log.update(btrans={})),
    ("another model's rows", lambda log: log["model_info"].update(id="some/other")),
]

if __name__ == "__main__":
    sys.exit(main())
