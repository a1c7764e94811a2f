"""What is used of vLLM: all of it is in the installed release, and what goes is told."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest
import vllm_names

SPEC = find_spec("vllm")
if SPEC is None:
    pytest.skip("vLLM is not installed (make test-vllm has it)", allow_module_level=True)
FOLDER = Path(SPEC.origin).parent
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed() -> vllm_names.Sources:
    return vllm_names.Sources(FOLDER)


def without(
    sources: vllm_names.Sources, use: vllm_names.Use, names: Sequence[str]
) -> vllm_names.Sources:
    """The sources with names replaced in all modules that define them, inherited ones too."""
    own = use.place.partition(":")[2]
    told, places = vllm_names.look(sources, use)
    for _ in range(9):
        left = [name for name in names if not tells(told, name)]
        if not left or not places:
            break
        texts: dict[str, str] = {}
        for name in left:
            # arguments and words of a body stand where it does
            module, _ = places.get(name, places[own])
            text = texts.get(module) or sources.text(module)
            texts[module] = re.sub(rf"\b{name}\b", f"{name}_gone", text)
        sources = sources.altered(texts)
        told, places = vllm_names.look(sources, use)
    return sources


def tells(told: Sequence[str], name: str) -> bool:
    return any(re.search(rf"(has no|take|say) {name}( |$)", line) for line in told)


def test_all_that_is_used_is_in_the_installed_release(installed):
    assert vllm_names.missing(installed) == []
    assert vllm_names.changed(installed, vllm_names.Sources(FOLDER)) == []


@pytest.mark.parametrize("use", vllm_names.USES, ids=lambda use: use.place)
def test_what_has_gone_is_told(installed, use):
    own = use.place.partition(":")[2].split(".")[-1]
    (line,) = vllm_names.look(without(installed, use, [own]), use)[0]
    assert line.startswith(f"{use.place}: is not there (")
    words = f"{use.members} {use.takes} {use.says}".split()
    names = [word for word in words if word not in ("1", own)]
    told, _ = vllm_names.look(without(installed, use, names), use)
    assert [name for name in names if not tells(told, name)] == []
    assert len(told) >= len(names)


def test_a_function_that_takes_something_else_first_is_told(installed):
    module = "v1.worker.gpu_model_runner"
    text = installed.text(module).replace(
        "def _prepare_inputs(\n        self,", "def _prepare_inputs(\n        self,\n        step,"
    )
    altered = installed.altered({module: text})
    (line,) = vllm_names.missing(altered)
    assert "takes ['step'] first, not scheduler_output (mixing: wrapped)" in line
    (other,) = vllm_names.changed(altered, installed)
    assert (
        other.startswith(f"{module}:") and "GPUModelRunner._prepare_inputs reads otherwise" in other
    )


def imported(path: Path) -> set[tuple[str, str]]:
    """What a file imports of vLLM: (module, name); not what it falls back to."""
    found = set()
    tree = ast.parse(path.read_text())
    fallbacks = {
        id(each)
        for handler in ast.walk(tree)
        if isinstance(handler, ast.ExceptHandler)
        for each in ast.walk(handler)
    }
    for each in ast.walk(tree):
        if isinstance(each, ast.ImportFrom) and id(each) not in fallbacks and not each.level:
            package, _, module = (each.module or "").partition(".")
            if package == "vllm":
                found |= {(module or "__init__", alias.name) for alias in each.names}
    return found


def test_the_table_holds_all_that_is_imported(installed):
    harness = Path(find_spec("lm_eval").origin).parent / "models" / "vllm_causallms.py"
    adapters = sorted((ROOT / "model_adapters" / "vllm").glob("*.py"))
    wanted = set().union(*(imported(path) for path in (harness, *adapters)))
    assert {("__init__", "LLM"), ("lora.request", "LoRARequest")} < wanted
    known = set()
    for use in vllm_names.USES:
        module, _, path = use.place.partition(":")
        known.add(installed.find(module, path.partition(".")[0]))
    assert [each for each in sorted(wanted) if installed.find(*each) not in known] == []


def test_the_command_says_what_is_missing(tmp_path, capsys):
    assert vllm_names.main([str(FOLDER)]) == 0
    assert f"all of {len(vllm_names.USES)} uses are there" in capsys.readouterr().out
    assert vllm_names.main([str(tmp_path)]) == 2
    assert "FOLDER: " in capsys.readouterr().out
    (tmp_path / "__init__.py").write_text("")
    assert vllm_names.main([str(tmp_path)]) == 1
    assert "__init__:LLM: is not there" in capsys.readouterr().out
    assert vllm_names.main([]) == 2
