"""What was measured once, as small JSON files in the user's cache folder."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


def folder() -> Path:
    """``BTRANS_EVAL_CACHE``, or ``btrans_eval`` in the user's cache folder."""
    chosen = os.environ.get("BTRANS_EVAL_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "btrans_eval"


def read(facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """What was measured under exactly these facts; None if nothing was."""
    try:
        kept = json.loads(_file(facts).read_text(encoding="utf-8"))
        return dict(kept["value"]) if kept["facts"] == _plain(facts) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # it is measured anew


def write(facts: Mapping[str, Any], value: Mapping[str, Any]) -> None:
    """Keep a measurement; a folder that cannot be written is told, and nothing is lost by it."""
    file = _file(facts)
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps({"facts": facts, "value": value}, indent=1), encoding="utf-8")
        part.replace(file)
    except OSError as error:
        logger.warning("the calibration is not kept for the next run: %s", error)


def _file(facts: Mapping[str, Any]) -> Path:
    text = json.dumps(facts, sort_keys=True)
    return folder() / f"noise_{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def _plain(facts: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(facts))
