"""Numbers and names as readers see them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from btrans_eval.results import digest

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
MISSING = "–"


def clean(text: str) -> str:
    """The text without what XML and UTF-8 cannot hold: control characters, half surrogates."""
    return _UNPRINTABLE.sub("\ufffd", text)


def short(text: str, length: int) -> str:
    """The text in one line of at most ``length`` characters."""
    line = " ".join(clean(text).split())
    return line if len(line) <= length else line[: length - 1] + "…"


def file_name(*parts: str) -> str:
    """A file name from names that may hold anything; different names give different files."""
    return "_".join(map(_file_part, parts))


def _file_part(name: str) -> str:
    kept = re.sub(r"[^A-Za-z0-9_.-]+", "_", name)[:60].strip(".")
    return kept if kept == name else f"{kept}-{digest(name)[:6]}"


def number(
    value: float | None, percent: bool = False, signed: bool = False, digits: int = 3
) -> str:
    """A number to three decimals, or in percent (points, where signed) to one."""
    if value is None:
        return "unbounded"
    sign = "+" if signed else ""
    rounded = f"{100 * value:{sign}.1f}" if percent else f"{value:{sign}.{digits}f}"
    if float(rounded) == 0:  # no "-0.0"
        rounded = rounded.lstrip("+-")
    return rounded.replace("-", "−") + ("%" if percent and not signed else "")


def span(
    ends: Mapping[str, Any], percent: bool = False, signed: bool = False, digits: int = 3
) -> str:
    """The ends of an interval: ``29.1 to 51.8``."""
    low, high = (number(ends[end], percent, signed, digits) for end in ("low", "high"))
    return f"{low} to {high}".replace("%", "")


def p_value(p: float | None) -> str:
    """A p-value to two digits, never 0."""
    if p is None:
        return MISSING
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}" if p < 0.01 else f"{p:.3f}"
