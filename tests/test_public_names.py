"""The Python face: its names are few, lazy and listed, and each one's example runs."""

from __future__ import annotations

import doctest
import subprocess
import sys

import finished_runs
import pytest
import tiny_checkpoint
import torch
from models import tokens
from transformers import AutoModelForCausalLM, AutoTokenizer

import btrans_eval

NAMES = sorted(set(btrans_eval.__all__) - {"__version__"})
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("face")
    tiny_checkpoint.save(folder / "model")
    for name in ("stock", "population"):
        sigma, sampled = finished_runs.ARMS[f"{name}_greedy"]
        finished_runs.write_run(folder / "out" / name, sigma, sampled, tasks=["sums"])
    return folder


@pytest.fixture
def given(place, tmp_path, monkeypatch):
    """What examples take for granted: a loaded model, a batch of four rows, two finished runs."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("BTRANS_EVAL_CACHE", str(tmp_path / "cache"))
    model = AutoModelForCausalLM.from_pretrained("model").eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(20)  # a random model says nearly the same after every token
    tokenizer = AutoTokenizer.from_pretrained("model")
    rows = tokens(4)
    batch = {"input_ids": rows, "attention_mask": torch.ones_like(rows)}
    names = {name: getattr(btrans_eval, name) for name in NAMES}
    return {"model": model, "tokenizer": tokenizer, "batch": batch, "torch": torch, **names}


@pytest.mark.parametrize("name", NAMES)
def test_each_name_has_an_example_and_it_runs(name, given):
    found = getattr(btrans_eval, name)
    (example,) = doctest.DocTestFinder(recurse=False).find(found, name, globs=given)
    assert example.examples, f"{name} has no example"
    said: list[str] = []
    failed, tried = doctest.DocTestRunner(optionflags=FLAGS).run(example, out=said.append)
    assert tried and not failed, "".join(said)


def test_they_are_at_most_twelve_and_listed():
    assert len(btrans_eval.__all__) <= 12
    assert dir(btrans_eval) == sorted(btrans_eval.__all__)
    with pytest.raises(AttributeError, match="no attribute 'mistyped'"):
        _ = btrans_eval.mistyped


@pytest.mark.parametrize(
    "names",
    ["__version__", "pass_at_k, maj_at_k", "extract, equal", "load_run, compare_runs"],
)
def test_what_needs_no_model_imports_none(names):
    code = f"import sys; from btrans_eval import {names}; "
    code += "print({'torch', 'lm_eval', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
