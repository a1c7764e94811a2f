"""How responses were scored, for the results file: what the columns alone do not say."""

from __future__ import annotations

from typing import Any

_notes: dict[str, Any] = {}


def note(name: str, value: Any) -> None:
    """Keep a fact about the scoring of the run under way."""
    _notes[name] = value


def add(name: str, amount: int) -> None:
    """Count something in the run under way."""
    _notes[name] = _notes.get(name, 0) + amount


def take() -> dict[str, Any]:
    """All facts noted since the last call."""
    taken = dict(_notes)
    _notes.clear()
    return taken
