"""The steps of docs/howto/task.md, as they stand there, give a task that runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import lm_eval
import pytest
import yaml
from canned import Canned
from lm_eval.tasks import TaskManager

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "howto" / "task.md").read_text(encoding="utf-8")
SECTION = PAGE.split("\n## A task of your own\n")[1].split("\n## ")[0]
COPY = re.search(r"^mkdir .*$", SECTION, flags=re.M)
TASK = re.search(r"^```yaml\n(.*?)^```$", SECTION, flags=re.M | re.S)
INCLUDED = sorted(set(re.findall(r"\b(?:answers|diversity)_\w*yaml\b", SECTION)))


def columns_of(included: str) -> dict:
    return yaml.safe_load((ROOT / "tasks" / included).read_text().replace("!function", ""))


def follow(folder: Path, included: str) -> TaskManager:
    """The page's steps in a folder that is no part of the package; its tasks."""
    assert COPY and TASK
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = COPY[0].replace("answers_8_yaml", included)
    subprocess.run(
        ["bash", "-c", command], cwd=folder, env={**os.environ, "PATH": path}, check=True
    )
    rows = folder / "rows.jsonl"
    lines = [{"question": f"{n} + 1", "answer": str(n + 1)} for n in range(3)]
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = TASK[1].replace("/path/rows.jsonl", str(rows)).replace("answers_8_yaml", included)
    text = re.sub(r"\bk: 8\b", f"k: {columns_of(included)['repeats']}", text)
    (folder / "my_tasks" / "my_task.yaml").write_text(text)
    return TaskManager(include_path=str(folder / "my_tasks"), include_defaults=False)


def test_the_task_of_the_page_runs_outside_of_the_package(tmp_path):
    manager = follow(tmp_path, "answers_8_yaml")
    texts = ["The answer is 2."] * 5 + ["The answer is 3."] * 2 + ["Well."]
    found = lm_eval.simple_evaluate(
        Canned(lambda prompt: texts), tasks=["my_task"], task_manager=manager, bootstrap_iters=0
    )["results"]["my_task"]
    # the right answers are 1, 2 and 3
    assert found["mean,population"] == pytest.approx((5 / 8 + 2 / 8) / 3)
    assert found["maj@8,population"] == pytest.approx(1 / 3)
    assert found["invalid_rate,population"] == pytest.approx(1 / 8)


@pytest.mark.parametrize("included", INCLUDED)
def test_every_file_that_the_page_includes_can_be_copied(tmp_path, included):
    manager = follow(tmp_path, included)
    (task,) = manager.load(["my_task"])["tasks"].values()
    own = columns_of(included)
    assert task.config.repeats == own["repeats"]
    assert list(task.aggregation()) == [metric["metric"] for metric in own["metric_list"]]


def test_the_page_includes_the_files_that_are_there():
    assert {"answers_8_yaml", "answers_16_yaml", "answers_32_yaml"} <= set(INCLUDED)
