"""What a worker process runs: one verdict of math_verify per line, within limits."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import signal
import sys
from typing import Any

from btrans_eval.answers.exactness import equal


def serve(cpu_seconds: float, memory_bytes: float) -> None:
    """The worker's whole life: limits, imports, a self-test, then one verdict per line."""
    with contextlib.suppress(ValueError, OSError):  # macOS has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (int(memory_bytes), int(memory_bytes)))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    logging.disable(logging.CRITICAL)
    says = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # antlr prints to standard output
    print(json.dumps(_self_test()), file=says, flush=True)
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
        try:
            said = verdict(*json.loads(line))
        except MemoryError:
            os._exit(70)
        except Exception:  # what cannot be compared is not equal
            said = False
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(said), file=says, flush=True)


def _self_test() -> str:
    """ "ready", or what is wrong: with the wrong antlr math_verify finds everything unequal."""
    try:
        right = verdict("\\frac{x_{1}}{2}", "x_{1}\\cdot 2^{-1}") and not verdict("x_{1}", "x_{2}")
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "ready" if right else "math_verify fails its self-test; perhaps antlr4 is not 4.11"


def verdict(a: str, b: str) -> bool | None:
    """Whether two encoded formulas are equal; None where neither can be shown.

    math_verify reads them, and sympy decides: no bound takes a small difference for none.
    Runs in a worker: sympy may take for ever.
    """
    x, y = _parsed(a), _parsed(b)
    if x is None or y is None:
        return False
    return equal(x, y)


def _parsed(text: str) -> Any:
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse

    plain = NormalizationConfig(basic_latex=False, boxed="none")
    config = LatexExtractionConfig(normalization_config=plain)
    found = parse(f"${text}$", [config], fallback_mode="no_fallback", parsing_timeout=None)
    return found[0] if found else None
