"""The formats by name, and the one way into them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from btrans_eval.errors import UserError
from btrans_eval.leaderboards.evidence import Evidence, gather
from btrans_eval.leaderboards.options import ExportOptions, check_used

Files = dict[str, str]
"""Contents by path within the output folder."""

FORMATS = {
    "every-eval-ever": "every_eval_ever",
    "eval-results": "eval_results",
    "model-index": "model_index",
}
"""By format, the module whose ``files`` writes it."""


def export(format: str, folder: Path, options: ExportOptions) -> list[Path]:
    """Write a comparison in a leaderboard's format; nothing is sent anywhere.

    Args:
        format: one of ``FORMATS``.
        folder: where ``comparison.json`` lies.
        options: ids, and what else the format needs.

    Returns:
        The files written; files of the same names are replaced. Tasks that leaderboards have no
        place for are left out, with a line on standard error.

    Raises:
        UserError: for an unknown format, an option that is missing or has no place in the
            format, or results that must not be published as they are (see ``gather``).
    """
    if format not in FORMATS:
        close = get_close_matches(format.replace("_", "-").lower(), FORMATS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"try {', '.join(FORMATS)}"
        raise UserError(f"export: no format {format!r}; {hint}")
    check_used(format, options)
    evidence = gather(Path(folder), options)
    module = importlib.import_module(f"btrans_eval.leaderboards.{FORMATS[format]}")
    files: Callable[[Evidence, ExportOptions], Files] = module.files
    contents = files(evidence, options)  # all of them, before the first is written
    if evidence.on_trust is not None:
        print(evidence.on_trust, file=sys.stderr)
    for reason in evidence.left_out:
        print(f"left out {reason}", file=sys.stderr)
    output = options.output or Path(folder) / "exports" / format
    if format == "every-eval-ever":
        _refuse_older_logs(output, contents)
    written = []
    for name, text in sorted(contents.items()):
        path = output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8"))
        written.append(path)
    return written


def _refuse_older_logs(output: Path, contents: Files) -> None:
    """Names are made from contents: an older log of a model would stay beside the new one."""
    for folder in sorted({(output / name).parent for name in contents}):
        older = [path for path in sorted(folder.glob("*.json*"))
                 if path.relative_to(output).as_posix() not in contents]  # fmt: skip
        if older:
            raise UserError(
                f"output: {folder} already holds another log of this model ({older[0].name}); "
                "remove it, or name another --output"
            )
