"""A process that has used vLLM ends, whatever refers to the engine to the last."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import small_checkpoints
import vllm_lm  # skips where vLLM is not installed

# as on lm_eval's command line, finalizers are there before multiprocessing, and so run after it
HELD = """
import sys, weakref

early = type("Early", (), {})()
weakref.finalize(early, int)
from vllm_lm import vllm_lm

if __name__ == "__main__":  # vLLM's own processes import this again
    lm = vllm_lm(sys.argv[1])
    if sys.argv[2] == "mistake":
        sys.exit(2)
"""
HERE = Path(vllm_lm.__file__).parent


@pytest.mark.parametrize("end, code", [("done", 0), ("mistake", 2)])
def test_a_process_ends(tmp_path, end, code):
    path = small_checkpoints.save(tmp_path / "model")
    (tmp_path / "held.py").write_text(HELD)
    places = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(
        [sys.executable, str(tmp_path / "held.py"), path, end],
        env={**os.environ, "PYTHONPATH": places},
        capture_output=True,
        timeout=400,  # it would wait for ever
        check=False,
    )
    assert run.returncode == code, run.stderr.decode()[-2000:]
