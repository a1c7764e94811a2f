"""Arguments as the harness's own command takes them (``a=1,b=x``, or JSON), and as YAML files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from btrans_eval.errors import UserError


def parse_pairs(name: str, given: Sequence[str] | str | None) -> dict[str, Any]:
    """The arguments that ``lm_eval run --<name>`` would understand; its own parser reads them.

    Raises:
        UserError: if it would refuse them.
    """
    from lm_eval._cli.utils import key_val_to_dict, try_parse_json

    texts = [given] if isinstance(given, str) else list(given or ())
    found: dict[str, Any] = {}
    try:
        if len(texts) == 1 and isinstance(parsed := try_parse_json(texts[0]), dict):
            return parsed
        for text in texts:
            found |= key_val_to_dict(text)
    except ValueError as error:
        raise UserError(
            f"{name}: must be name=value,name=value or a JSON object, got {' '.join(texts)!r} "
            f"({error}); for example --{name} a=1,b=x"
        ) from None
    return found


def read_entries(path: Path, command: str, wanted: str) -> dict[str, Any]:
    """The entries of a YAML file that a command takes.

    Args:
        wanted: what it must hold, for messages.

    Raises:
        UserError: if it cannot be read, or holds no entries.
    """
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{command}: {path} cannot be read ({error})") from None
    if not isinstance(given, dict):
        raise UserError(f"{command}: {path} must hold {wanted}")
    return given
