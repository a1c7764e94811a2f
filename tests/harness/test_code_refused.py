"""Commands that run no programs refuse tasks of programs before a model is loaded."""

# ruff: noqa: E501  # programs, as they are
from __future__ import annotations

import json
import re

import evaluate
import pytest
from canned import dataset
from lm_eval.tasks import TaskManager

from btrans_eval.cli import main

ROWS = [
    {"task_id": f"Own/{n}", "prompt": f"def four(x):\n    ''' Four times {n}. '''\n",
     "canonical_solution": "    return 4 * x\n", "entry_point": "four",
     "test": "def check(candidate):\n    assert candidate(1) == 4\n"}
    for n in range(2)
]  # fmt: skip
OWN = """task: own_code
dataset_path: json
dataset_kwargs: {data_files: {train: PLACE/rows.jsonl, test: PLACE/rows.jsonl}}
training_split: train
test_split: test
unsafe_code: true
output_type: generate_until
doc_to_text: "{{prompt}}"
doc_to_target: "{{entry_point}}"
generation_kwargs: {until: ["w9"], max_gen_toks: 6, do_sample: false}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Rows as on the hub, and two tasks over them in ``tasks``."""
    found = tmp_path_factory.mktemp("code")
    dataset(found, "openai/openai_humaneval", "test", ROWS)
    (found / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (found / "tasks").mkdir()
    own = OWN.replace("PLACE", str(found))
    (found / "tasks" / "own.yaml").write_text(own)
    harmless = own.replace("own_code", "no_code").replace("unsafe_code: true\n", "")
    (found / "tasks" / "no.yaml").write_text(harmless)
    return found


@pytest.fixture(scope="module")
def manager(folder):
    return TaskManager(include_path=str(folder / "tasks"))  # reads thousands of files, so once


@pytest.fixture(autouse=True)
def place(folder, manager, monkeypatch):
    """The working folder is that of the rows; a metric of the hub is never asked for."""
    monkeypatch.chdir(folder)
    for module in ("lm_eval.tasks", "btrans_eval.training.task"):
        monkeypatch.setattr(f"{module}.TaskManager", lambda include_path: manager)
    original = evaluate.load

    def load(path, *args, **kwargs):
        assert path != "code_eval", "fetched a metric that runs programs"
        return original(path, *args, **kwargs)

    monkeypatch.setattr(evaluate, "load", load)


def refused(capsys, *arguments: str) -> str:
    """The one line of a command that ends with exit code 2."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == 2
    (line,) = [each for each in capsys.readouterr().err.splitlines() if "btrans-eval: " in each]
    return line


def asked(out) -> list[str]:
    """Flags of the command; the model is one that cannot be loaded."""
    return ["--model_args", "pretrained=not/there,sigma=1", "--output_path", str(out)]


def expected(task: str, command: str) -> str:
    return (
        f"btrans-eval: tasks: {task} runs programs that the model writes, which btrans-eval "
        f"{command} does not; leave it out, and ask it with btrans-eval run --repeats K --tasks "
        f"{task} --confirm_run_unsafe_code (docs/code.md)"
    )


@pytest.mark.parametrize("task", ["humaneval", "btrans_humaneval", "own_code"])
def test_a_comparison_of_programs_is_refused(capsys, tmp_path, task):
    said = refused(capsys, "compare", "--tasks", task, *asked(tmp_path))
    assert said == expected(task, "compare")


@pytest.mark.parametrize("task", ["humaneval", "btrans_humaneval", "own_code"])
def test_training_on_programs_is_refused(capsys, tmp_path, task):
    flags = ["--model_args", "pretrained=not/there", "--output_path", str(tmp_path)]
    said = refused(capsys, "train", "--task", task, *flags)
    assert said == expected(task, "train")


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(
    "task, said",
    [
        ("btrans_humaneval", "btrans-eval: tasks: btrans_humaneval runs programs"),
        ("no_such", "no task or group named no_such|task: no task named no_such"),
    ],
)
def test_an_evaluation_that_must_fail_is_refused_before_training(
    capsys, tmp_path, task, said, split
):
    study = {
        "task": "no_code", "split": split, "reward": "vote", "evaluation": {"tasks": [task]},
        "steps": 1, "model_args": {"pretrained": "not/there"}, "arms": "population@1.0:sigma=1",
    }  # fmt: skip
    (tmp_path / "study.yaml").write_text(json.dumps(study))
    found = refused(capsys, "train", f"{tmp_path}/study.yaml", "--output_path", f"{tmp_path}/out")
    assert re.search(said, found)
