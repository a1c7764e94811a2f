"""The start-up line: found by lm_eval, unseen by everybody else."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import pytest

from btrans_eval import _autoload
from btrans_eval.errors import UserError


def python(code: str, *flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *flags, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


REGISTERED = """
    from lm_eval.api.registry import model_registry
    import lm_eval.models
    print("btrans-hf" in model_registry, "hf" in model_registry)
"""


def test_the_installed_package_puts_its_model_beside_the_harnesss_own():
    assert python(REGISTERED).stdout.split() == ["True", "True"]


def test_the_start_up_line_can_be_turned_off():
    assert python(REGISTERED, BTRANS_EVAL_AUTOLOAD="0").stdout.split() == ["False", "True"]


def test_a_python_start_imports_nothing_heavy():
    code = "import sys; print(sorted({'torch', 'lm_eval', 'numpy', 'yaml'} & set(sys.modules)))"
    done = python(code)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_a_broken_checkout_is_silent_in_other_programs_and_one_line_in_lm_eval(tmp_path: Path):
    broken = tmp_path / "btrans_eval"
    (broken / "harness").mkdir(parents=True)
    for name in ("__init__.py", "_autoload.py"):
        source = Path(_autoload.__file__).with_name(name).read_text(encoding="utf-8")
        (broken / name).write_text(source, encoding="utf-8")
    (broken / "harness" / "__init__.py").write_text("")
    (broken / "harness" / "bridge.py").write_text("raise SyntaxError('half a merge')")
    start = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import btrans_eval._autoload\n"
    other = python(start + "print('fine')", BTRANS_EVAL_AUTOLOAD="1", PYTHONNOUSERSITE="1")
    assert other.stdout == "fine\n"
    harness = python(start + "import lm_eval.models; print('fine')", "-S", **_packages())
    assert harness.stdout == "fine\n", harness.stderr
    assert "btrans_eval is not available to lm_eval: SyntaxError('half a merge')" in harness.stderr


def test_a_missing_checkout_is_silent(tmp_path: Path):
    line = (Path(_autoload.__file__).with_name("btrans_eval.pth")).read_text(encoding="utf-8")
    done = python(line + "print('fine')", "-S")
    assert (done.stdout, done.stderr) == ("fine\n", "")


def _packages() -> dict[str, str]:
    """Installed packages without the start-up lines of site."""
    return {"PYTHONPATH": os.pathsep.join(path for path in sys.path if "-packages" in path)}


def test_our_entry_point_is_the_class_that_the_start_up_line_registers():
    from btrans_eval.harness.bridge import MODELS

    points = {point.name: point for point in entry_points(group="lm_eval.models")}
    for name, target in MODELS.items():
        assert points[name].value == target
        if name != "btrans-vllm" or find_spec("vllm"):
            assert points[name].load().__module__.startswith(target.partition(":")[0])


def test_the_start_up_line_stands_aside_for_a_harness_with_entry_points(monkeypatch):
    from lm_eval.api import registry

    from btrans_eval.harness import bridge

    monkeypatch.setattr(registry, "model_registry", registry.Registry("model"))
    monkeypatch.setattr(registry, "load_plugins", lambda group, into: [], raising=False)
    bridge.register_models(registry)
    assert "btrans-hf" not in registry.model_registry
    monkeypatch.delattr(registry, "load_plugins")
    bridge.register_models(registry)
    assert "btrans-hf" in registry.model_registry


def test_our_tasks_are_listed_and_a_users_task_of_the_same_name_wins(tmp_path: Path):
    from lm_eval.tasks import TaskManager

    assert "btrans_demo" in TaskManager().all_tasks
    assert "gsm8k" in TaskManager().all_tasks
    (tmp_path / "mine.yaml").write_text("task: btrans_demo\ndataset_path: mine\n")
    for include in (str(tmp_path), [tmp_path]):
        entry = TaskManager(include_path=include).task_index["btrans_demo"]
        assert entry.yaml_path == tmp_path / "mine.yaml"
    assert "btrans_demo" not in TaskManager(include_defaults=False).all_tasks


def test_our_folder_works_as_include_path_too():
    from lm_eval.tasks import TaskManager

    from btrans_eval.harness.bridge import tasks_folder

    assert "btrans_demo" in TaskManager(include_path=str(tasks_folder())).all_tasks


def test_only_a_users_mistake_is_told_in_one_line(capsys):
    from types import SimpleNamespace

    from btrans_eval.harness import bridge

    def execute(error: Exception) -> None:
        raise error

    module = SimpleNamespace(Run=SimpleNamespace(_execute=execute))
    bridge.explain_errors(module)
    with pytest.raises(SystemExit) as left:
        module.Run._execute(UserError("sigma: must be given"))
    assert left.value.code == 2
    assert capsys.readouterr().err == "btrans-eval: sigma: must be given\n"
    with pytest.raises(SystemExit) as left:
        module.Run._execute(ValueError("task.build_requests() did not find any docs!"))
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("btrans-eval: limit: leaves no row of a task")
    for ours in (KeyError("a bug"), ValueError("a bug")):
        with pytest.raises(type(ours)):
            module.Run._execute(ours)


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed")
def test_without_vllm_its_model_type_says_what_to_install():
    with pytest.raises(UserError, match=r"btrans-vllm needs vLLM, .* pip install 'vllm=="):
        importlib.import_module("btrans_eval.model_adapters.vllm.lm")
