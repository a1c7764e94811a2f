"""The house: which module may import which. A new arrow here is a decision, not an accident.

docs/explanation/architecture.md has each rule with its reason, and this table in words.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = {
    "errors": set(),
    "parser": {"errors"},
    "_autoload": {"harness"},
    "config": {"errors"},
    "judged": set(),
    "demo": {"errors"},
    "embeddings": {"errors"},
    "novelty": {"errors"},
    "cli": {
        "errors",
        "parser",
        "_autoload",
        "harness",
        "store",
        "compare",
        "calibration",
        "report",
        "leaderboards",
        "training",
    },
    "calibration": {
        "errors",
        "parser",
        "config",
        "population",
        "model_adapters",
        "harness",
        "report",
    },
    "results": {"demo", "errors", "judged"},
    "compare": {
        "errors",
        "parser",
        "config",
        "demo",
        "results",
        "scores",
        "harness",
        "embeddings",
    },
    "training": {
        "errors",
        "parser",
        "config",
        "calibration",
        "demo",
        "answers",
        "population",
        "harness",
        "model_adapters",
        "compare",
        "results",
        "scores",
        "report",
        "judged",
    },  # fmt: skip
    "report": {"errors", "results", "compare", "embeddings", "scores"},
    "face": {
        "errors",
        "config",
        "judged",
        "answers",
        "results",
        "compare",
        "report",
        "harness",
        "model_adapters",
    },
    "answers": {"errors", "config"},
    "execution": {"errors"},
    "scores": {"errors", "config"},
    "population": {"errors", "config"},
    "store": {"errors"},
    "harness": {
        "errors",
        "config",
        "answers",
        "execution",
        "scores",
        "population",
        "store",
        "embeddings",
        "novelty",
        "judged",
    },
    "model_adapters": {
        "errors",
        "config",
        "demo",
        "answers",
        "scores",
        "population",
        "store",
        "harness",
    },  # fmt: skip
    "tasks": {"errors", "answers", "execution", "scores"},
    "leaderboards": {"errors", "scores", "results", "compare"},
}
NEVER = {
    "answers": {"torch", "lm_eval", "transformers"},
    "scores": {"torch", "lm_eval", "transformers"},
    "execution": {"torch", "lm_eval", "transformers", "numpy"},
    "population": {"lm_eval"},
    "store": {"torch", "lm_eval", "transformers", "pickle"},
    "tasks": {"torch", "transformers"},
    "leaderboards": {"torch", "lm_eval"},
    "report": {"torch", "lm_eval", "transformers"},
}
LONGEST_MODULE = 300


def modules() -> list[Path]:
    folders = ("btrans_eval", "model_adapters", "tasks", "leaderboards")
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def room(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0] if parts[0] != "btrans_eval" else parts[1]


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: import by full name"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def id_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", modules(), ids=id_of)
def test_imports_run_one_way(path: Path):
    if room(path) in ("__init__", "_build"):
        return
    allowed = ROOMS[room(path)] | {room(path), "__version__"}
    ours = {name.split(".")[1] for name in imported(path) if name.startswith("btrans_eval.")}
    assert ours <= allowed
    foreign = {name.split(".")[0] for name in imported(path)}
    assert not foreign & NEVER.get(room(path), set())


# a model type that makes one of its own kinds, which is told by its arguments
KINDS_OF_ITSELF = {("btrans_eval.model_adapters.hf.lm", "btrans_eval.model_adapters.hf.stored")}


def test_no_imports_run_in_a_circle():
    """Within functions, too; but for what only type checkers read."""
    names = {name_of(path): path for path in modules()}
    arrows = {name: needed(path, names.keys()) - {name} for name, path in names.items()}
    for maker, kind in KINDS_OF_ITSELF:
        arrows[maker].remove(kind)
    while arrows:
        leaves = {name for name, needs in arrows.items() if not needs & arrows.keys()}
        assert leaves, f"imports run in a circle among {sorted(arrows)}"
        for name in leaves:
            del arrows[name]


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "btrans_eval" else ("btrans_eval", *parts)
    return ".".join(part for part in parts if part != "__init__")


def needed(path: Path, names: Collection[str]) -> set[str]:
    """Which of our modules a module imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            asked = {f"{node.module}.{alias.name}" for alias in node.names}
            # what is none of a package's modules is its own
            found |= (asked & names) or {str(node.module)}
    return found & names


def test_the_page_on_architecture_has_the_same_rules():
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|(.*?)\|(.*?)\|$", page, flags=re.M)
    names = [(room, set(re.findall(r"\w+", may)), set(re.findall(r"\w+", never)))
             for room, may, never in rows]  # fmt: skip
    assert {room: may for room, may, _ in names} == ROOMS
    assert {room: never for room, _, never in names if never} == NEVER
    assert f"at most {LONGEST_MODULE} lines" in page


@pytest.mark.parametrize("path", modules(), ids=id_of)
def test_modules_are_small(path: Path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE


# the two that run within a sandbox, where programs and their tests are run
SANDBOXED = {"btrans_eval/execution/player.py", "btrans_eval/execution/judge.py"}


@pytest.mark.parametrize("path", modules(), ids=id_of)
def test_what_runs_in_the_sandbox_needs_nothing_else(path: Path):
    within = {"player", "judge", "wire", "limits", "launcher"}
    if room(path) == "execution" and path.stem in within:
        ours = {name for name in imported(path) if name.startswith("btrans_eval")}
        assert all(name.split(".")[1:3] in (["execution", "wire"], ["execution", "limits"])
                   for name in ours)  # fmt: skip
        foreign = {name.split(".")[0] for name in imported(path)} - {"btrans_eval"}
        assert foreign <= sys.stdlib_module_names


@pytest.mark.parametrize("path", modules(), ids=id_of)
def test_data_is_never_run(path: Path):
    """Arguments, names, paths and rows are data: not evaluated, unpickled or given to a shell."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            runs = node.func.id in {"eval", "exec", "compile", "__import__"}
            assert not runs or id_of(path) in SANDBOXED, path
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in {"system", "popen", "unsafe_load", "full_load"}, path
        if isinstance(node, ast.keyword) and node.arg == "shell":
            pytest.fail(f"{path} runs a shell")
        if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
            pytest.fail(f"{path} decides on remote code, which is the user's to allow")
    assert not imported(path) & {"pickle", "marshal", "shelve", "dill", "joblib"}


# what a function of its arguments alone has found before
MEMOS = {"read", "_load", "shipped_text", "_pass", "_win_masses", "_unit_gauss", "_shifted"}
# a process of vLLM's own, which lets go of the hook that it was started with
WORKERS = {"model_adapters/vllm/worker.py"}
CHANGES = {
    *("append", "add", "update", "clear", "pop", "discard", "remove", "extend", "insert"),
    *("setdefault", "popitem"),
}


@pytest.mark.parametrize("path", modules(), ids=id_of)
def test_no_function_writes_to_what_a_module_holds(path: Path):
    """A run's facts are in its record: two runs in one process must not see each other's."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    held = {
        name.id
        for node in tree.body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        for name in ast.walk(target)
        if isinstance(name, ast.Name)
    }

    def is_held(node: ast.AST) -> bool:
        return isinstance(node, ast.Name) and node.id in held

    for function in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)):
        decorators = [ast.unparse(each) for each in function.decorator_list]
        # what an object found out about itself is its own
        memo = any("cache" in each and "cached_property" not in each for each in decorators)
        assert not memo or function.name in MEMOS, f"{path}: {function.name} keeps what it found"
        for node in ast.walk(function):
            assert not isinstance(node, ast.Global), f"{path}: {function.name} writes to a global"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                changes = node.func.attr in CHANGES and is_held(node.func.value)
                changes = changes and id_of(path) not in WORKERS
                assert not changes, f"{path}: {function.name} changes {ast.unparse(node.func)}"
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, (ast.Store, ast.Del)):
                assert not is_held(node.value), (
                    f"{path}: {function.name} writes {ast.unparse(node)}"
                )


@pytest.mark.parametrize("module", ["answers.extract", "scores.likelihood", "config", "errors"])
def test_what_needs_no_engine_loads_none(module: str):
    code = f"import sys, btrans_eval.{module}; print({{'torch', 'lm_eval'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
