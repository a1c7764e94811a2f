"""What a run has left behind, as text files that are equal where the outcome is."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_TIME = re.compile(r"\d{4}-\d\d-\d\d(T\d\d[-:]\d\d[-:]\d\d(\.\d+)?([+-]\d{4})?| \d\d:\d\d UTC)")
_MEMBERS = re.compile(r"members_TIME_\d+")
_FLOAT = re.compile(r"-?\d+\.\d+(e[+-]?\d+)?")
_SIGNIFICANT = 12
_DIGEST = re.compile(r"[0-9a-f]{64}")
_ENGINE = re.compile(r"transformers \d+\.\d+")
_OF_THE_MACHINE = {
    "date", "start_time", "end_time", "total_evaluation_time_seconds", "git_hash",
    "upper_git_hash", "pretty_env_info", "transformers_version", "lm_eval_version",
    "created",
}  # fmt: skip
_OF_THE_ROW = {"id", "created", "seconds", "checksum"}
_OF_LIBRARIES = {"generation_config", "attention", "experts"}
_DIGESTS = {"key", "digest"}
_STORES = (".db", ".sqlite")
_PICTURES = (".png", ".svg", ".pdf")
_BESIDE_STORES = ("-wal", "-shm")  # SQLite's own, read with the store


def gather(folder: Path, into: Path, inputs: set[str], portable: bool) -> None:
    """Write what lies in ``folder``, without what varies from run to run.

    Args:
        into: a new folder.
        inputs: names in ``folder`` that were there before the run.
        portable: also without what varies with the machine: the last digits of floats, and
            digests, which include releases.
    """
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_dir() or name.parts[0] in inputs or path.name.endswith(_BESIDE_STORES):
            continue
        is_text = path.suffix not in (*_STORES, *_PICTURES)
        target = into / _without_time(f"{name}{'' if is_text else '.txt'}")
        if target.exists():
            raise RuntimeError(f"two files of one name: {target}")
        target.parent.mkdir(parents=True, exist_ok=True)
        text = _text(path, portable).replace(str(folder), "FOLDER")
        text = _without_time(text)
        if portable:
            text = _FLOAT.sub(_rounded, text)
        # lone surrogates are kept
        target.write_bytes(text.encode("utf-8", "surrogatepass"))


def _rounded(match: re.Match[str]) -> str:
    """A float without its last digits; what has fewer stays as it is written."""
    is_long = sum(map(str.isdigit, match[0])) > _SIGNIFICANT
    return f"{float(match[0]):.{_SIGNIFICANT}g}" if is_long else match[0]


def _without_time(text: str) -> str:
    return _MEMBERS.sub("members_TIME_PID", _TIME.sub("TIME", text))


def _text(path: Path, portable: bool) -> str:
    if path.suffix in _STORES:
        lines = list(_tables(path, portable))
        text = "".join(f"{line}\n" for line in lines)
        return _ENGINE.sub("transformers", _DIGEST.sub("DIGEST", text)) if portable else text
    data = path.read_bytes()
    if path.suffix in _PICTURES:
        return f"{hashlib.sha256(data).hexdigest()}\n"
    text = data.decode("utf-8", "surrogatepass")
    if path.suffix == ".json":
        found = _without(_OF_THE_MACHINE, json.loads(text))
        return json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    return text


def _without(names: set[str], value: Any) -> Any:
    """The same in the same order, with one word for what has one of these names."""
    if isinstance(value, dict):
        return {
            name: "VARIES" if name in names or _is_release(name, inner) else _without(names, inner)
            for name, inner in value.items()
        }
    return [_without(names, each) for each in value] if isinstance(value, list) else value


def _is_release(name: str, value: Any) -> bool:
    """Whether this is our own version; that of a task is a number."""
    return name == "version" and isinstance(value, str)


def _tables(path: Path, portable: bool) -> Iterator[str]:
    """Every row of a store in the order of its text, and what kind of file it is."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    connection.text_factory = lambda data: data.decode("utf-8", "surrogatepass")
    for pragma in ("application_id", "user_version", "integrity_check"):
        yield f"{pragma}: {connection.execute(f'PRAGMA {pragma}').fetchone()[0]}"
    names = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
    dropped = _OF_THE_ROW | (_DIGESTS if portable else set())
    for (table,) in connection.execute(names).fetchall():
        cursor = connection.execute(f"SELECT * FROM {table}")
        columns = [each[0] for each in cursor.description]
        rows = [dict(zip(columns, row, strict=True)) for row in cursor]
        shown = [
            {name: _shown(value) for name, value in row.items() if name not in dropped}
            for row in rows
        ]
        for row in shown if portable and table == "contexts" else []:
            row["facts"] = _without(_OF_LIBRARIES, json.loads(row["facts"]))
        yield f"{table}: {len(rows)}"
        yield from sorted(json.dumps(row, ensure_ascii=False) for row in shown)
    connection.close()


def _shown(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value
