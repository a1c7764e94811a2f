"""The pages of docs/reference that are made from the code are as the code is."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest

from btrans_eval.config import PopulationConfig

ROOT = Path(__file__).resolve().parents[2]


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "docs" / "generate.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATE = load_generator()
PAGES = GENERATE.pages()


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_is_what_the_code_says(name: str):
    written = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert written == PAGES[name], "stale: run `make reference` and commit what it writes"


def test_every_model_argument_has_its_row_and_no_constant_its_name():
    rows = [line for line in PAGES["arguments.md"].splitlines() if line.startswith("| `")]
    names = [row.split("`")[1] for row in rows]
    assert names == [field.name for field in fields(PopulationConfig)]
    for held in ("PRIORS", "NOISES", "DEFAULT_", "demo.SIGMA"):
        assert held not in PAGES["arguments.md"]
    assert "`isotropic`, `scaled`, `balanced`" in PAGES["arguments.md"]


def test_every_command_of_the_usage_has_its_section():
    from btrans_eval.cli import USAGE

    lines = [line for line in USAGE.splitlines()[1:] if re.match(r"  [a-z]", line)]
    commands = {line.split()[0] for line in lines}
    assert {"run", "compare", "store"} <= commands
    for name in commands:
        assert f"\n## btrans-eval {name}\n" in PAGES["commands.md"]


def test_every_public_name_has_its_section():
    import btrans_eval
    from btrans_eval import training

    for name in {*btrans_eval.__all__, *training.__all__} - {"__version__"}:
        assert f"\n## {name}\n" in PAGES["python.md"]


def test_every_task_and_group_stands_on_its_page():
    page = (ROOT / "docs" / "reference" / "tasks.md").read_text(encoding="utf-8")
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "tasks").rglob("*.yaml")]
    names = {name for text in texts
             for name in re.findall(r"^(?:task|group): *(\w+)$", text, flags=re.M)}  # fmt: skip
    assert len(names) > 50 and {"btrans_gsm8k", "btrans_math"} <= names
    assert sorted(name for name in names if f"`{name}`" not in page) == []


def test_every_room_stands_under_what_lies_where():
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    table = page.split("\n## What lies where\n")[1].split("\n## ")[0]
    rooms = {path.parent.name for path in (ROOT / "btrans_eval").glob("*/__init__.py")}
    assert {"store", "face"} <= rooms
    assert sorted(name for name in rooms if not re.search(rf"[`/]{name}/`", table)) == []


def test_every_module_has_its_row():
    for folder in ("btrans_eval", "model_adapters", "leaderboards", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            assert f"| `{path.name}` |" in PAGES["files.md"], f"{path} says nothing of itself"
