"""Runs at every start of Python (btrans_eval.pth): waits for lm_eval, and costs next to nothing.

lm_eval 0.4.13 discovers no plug-ins. When one of its modules named below is imported, the
function of the same name in ``btrans_eval.harness.bridge`` is called with it. Nothing of lm_eval
is imported from here, and nothing happens in a program that does not import it.
``BTRANS_EVAL_AUTOLOAD=0`` turns this off.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # see __init__.py
if TYPE_CHECKING:
    from typing import Any

_BRIDGED = {
    "lm_eval.models": "register_models",
    "lm_eval.filters": "register_filters",
    "lm_eval.tasks.manager": "show_tasks",
    "lm_eval.config.evaluate_config": "prepare_run",
    "lm_eval.evaluator": "note_scoring",
    "lm_eval._cli.run": "explain_errors",
}


class _Finder:
    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        if name not in _BRIDGED:
            return None
        for finder in sys.meta_path:
            if finder is not _Finder and hasattr(finder, "find_spec"):
                spec = finder.find_spec(name, path, target)
                if spec is not None and spec.loader is not None:
                    loader: Any = spec.loader
                    loader.exec_module = _then_bridge(name, loader.exec_module)
                    return spec
        return None


def _then_bridge(name: str, exec_module: Any) -> Any:
    def run(module: Any) -> None:
        exec_module(module)
        try:
            from btrans_eval.harness import bridge

            getattr(bridge, _BRIDGED[name])(module)
        except Exception as error:  # a broken checkout of ours must not take lm_eval down
            print(f"btrans_eval is not available to lm_eval: {error!r}", file=sys.stderr)

    return run


def install() -> None:
    """Wait for lm_eval; installing twice is the same as once."""
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)


if os.environ.get("BTRANS_EVAL_AUTOLOAD") != "0":
    install()
