"""Arguments as the harness's own command takes them: ``a=1,b=x``, several such, or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
