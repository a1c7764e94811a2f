"""``btrans-eval fit`` on a tiny model: gradients, measures, files, kills, mistakes."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from pathlib import Path

import models
import numpy as np
import pytest
import tiny_checkpoint
import torch

from btrans_eval import Population, cli
from btrans_eval.calibration import fit as fits
from btrans_eval.calibration.heldout import measure
from btrans_eval.calibration.posterior import Posterior
from btrans_eval.errors import UserError
from btrans_eval.model_adapters.hf import BTransHF

TEXT = "\n---\n".join(
    " ".join(f"w{5 + (3 * start + step) % 9}" for step in range(24 + start % 5))
    for start in range(40)
)


@pytest.fixture
def tiny():
    return models.BY_NAME["llama"].build().double().eval()


def test_given_shifts_are_those_of_members(tiny):
    population = Population(tiny, sigma=0.3)
    tokens = torch.arange(12).reshape(3, 4) + 3
    shifts = [
        torch.tensor(np.stack([population.shift(member, at) for member in (4, 0, 9)]))
        for at in range(len(population.layers))
    ]
    with population.members([4, 0, 9]):
        expected = tiny(tokens).logits
    with population.given(shifts):
        assert torch.equal(tiny(tokens).logits, expected)
    with pytest.raises(UserError, match=r"shifts: must have shape \(rows, "):
        with population.given([shift[0] for shift in shifts]):
            pass


def test_gradients_are_those_of_finite_differences(tiny):
    population = Population(tiny, sigma=0.3)
    rows = [[3, 4, 5, 6, 7], [8, 9, 4]]
    posterior = Posterior(
        [0.3] * len(population.layers), [each.width for each in population.layers]
    )
    said = fits._log_likelihood(tiny, population, rows)
    torch.manual_seed(0)
    eps = torch.randn(2, len(posterior.mean), dtype=torch.float64)

    def bound():
        # the softmax is of float32 logits, as everywhere: steps must be wide for it
        return said([0, 1], posterior.biases(eps)).double().sum() - posterior.kl()

    with fits._frozen(tiny):
        bound().backward()
    for weights in (posterior.mean, posterior.log_scale):
        for at in (0, 7, len(weights) // 2, len(weights) - 1):
            found, step = float(weights.grad[at]), 1e-2
            with torch.no_grad():
                ends = []
                for sign in (1, -1):
                    weights[at] += sign * step
                    ends.append(float(bound()))
                    weights[at] -= sign * step
            assert found == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=2e-3, abs=2e-4)
    assert all(weight.requires_grad for weight in tiny.parameters())


def test_padding_changes_no_likelihood(tiny):
    population = Population(tiny, sigma=0.3)
    rows = [[3, 4, 5, 6, 7, 8, 9], [8, 9, 4]]
    said = fits._log_likelihood(tiny, population, rows)
    biases = [torch.zeros(1, layer.width) for layer in population.layers]
    both = said([0, 1], [bias.expand(2, -1) for bias in biases])
    alone = torch.cat([said([0], biases), said([1], biases)])
    assert both.tolist() == pytest.approx(alone.tolist(), rel=1e-6)
    first = tiny(torch.tensor([rows[1]])).logits[0].float().log_softmax(-1)
    expected = float(first[0, 9] + first[1, 4])
    assert float(alone[1]) == pytest.approx(expected, rel=1e-6)


def test_measures_are_the_textbook_ones(tiny):
    population, rows = Population(tiny, sigma=0.5, seed=2), [[3, 4, 5, 6], [8, 9]]
    found = measure(tiny, population, rows, members=3)
    model = member = mixture = kl = information = 0.0
    for tokens in rows:
        row = torch.tensor([tokens])
        base = tiny(row).logits[0].softmax(-1).tolist()
        each = []
        for number in range(3):
            with population.members([number]):
                each.append(tiny(row).logits[0].softmax(-1).tolist())
        likelihoods = [math.prod(own[at][tokens[at + 1]] for at in range(len(tokens) - 1))
                       for own in each]  # fmt: skip
        member -= sum(map(math.log, likelihoods)) / 3
        mixture -= math.log(sum(likelihoods) / 3)
        for at in range(len(tokens) - 1):
            model -= math.log(base[at][tokens[at + 1]])
            mean = [sum(own[at][word] for own in each) / 3 for word in range(len(base[at]))]
            information -= sum(p * math.log(p) for p in mean)
            for own in each:
                kl += sum(p * math.log(p / q) for p, q in zip(base[at], own[at], strict=True)) / 3
                information += sum(q * math.log(q) for q in own[at]) / 3
    assert found.tokens == 4
    expected = [each / 4 for each in (model, member, mixture, kl, information)]
    got = [found.model, found.member, found.mixture, found.kl, found.information]
    assert got == pytest.approx(expected, rel=1e-4)
    assert found.mixture < found.member and 0 < found.information < math.log(3)
    stock = measure(tiny, Population(tiny, sigma=0.0), rows)
    assert (stock.member, stock.kl, stock.information) == (
        pytest.approx(stock.model), 0, pytest.approx(0, abs=1e-6),
    )  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit")
    tiny_checkpoint.save(folder / "model")
    (folder / "text").write_text(TEXT)
    return folder


def arguments(place: Path, output: Path) -> list[str]:
    model = f"pretrained={place / 'model'},device=cpu,sigma=0.2"
    given = {"model_args": model, "text": place / "text", "output": output, "steps": 60, "rows": 4}
    return ["fit", *(word for name, value in given.items() for word in (f"--{name}", str(value)))]


def command(place: Path, output: Path, *more: str) -> None:
    cli.main([*arguments(place, output), *more])


def test_a_fit_says_more_likely_text_and_is_a_prior(place, tmp_path, capsys):
    command(place, tmp_path / "prior.safetensors", "--learning_rate", "0.3", "--steps", "120")
    said = capsys.readouterr().out
    found = json.loads((tmp_path / "prior.json").read_text())["held_out"]
    assert found["fitted"]["member"] < found["prior"]["member"] - 0.1
    assert f"{found['fitted']['member']:.4f}" in said
    lm = BTransHF(str(place / "model"), device="cpu", sigma=0.0)
    fitted = Population(lm.model, prior=str(tmp_path / "prior.safetensors"))
    assert any(np.any(noise.mu) for noise in fitted.layer_noise)
    assert not (tmp_path / "prior.safetensors.fit").exists()


def test_a_stopped_fit_goes_on_and_ends_the_same(place, tmp_path, monkeypatch):
    whole, stopped = tmp_path / "whole.safetensors", tmp_path / "stopped.safetensors"
    command(place, whole)
    took, kept = [], Posterior.fit

    def cut(self, *args):
        for line in kept(self, *args):
            took.append(line["step"])
            yield line
            if len(took) == 41:
                raise KeyboardInterrupt

    monkeypatch.setattr(Posterior, "fit", cut)
    with pytest.raises(SystemExit) as ended:
        command(place, stopped)
    assert ended.value.code == 130 and not stopped.exists()
    with pytest.raises(SystemExit) as ended:
        command(place, stopped, "--learning_rate", "0.5")  # another fit
    assert ended.value.code == 2
    command(place, stopped)
    assert took == [*range(1, 42), *range(26, 61)]
    assert stopped.read_bytes() == whole.read_bytes()


KILLED = """
import os, signal, sys
import torch
from btrans_eval import cli
from btrans_eval.calibration.posterior import Posterior

where, arguments = sys.argv[1], sys.argv[2:]
kept, save = Posterior.fit, torch.save

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def cut(self, *args):
    for line in kept(self, *args):
        yield line
        if where == "between" and line["step"] == 33:
            kill()

def half(found, path):
    save(found, path)
    if where == "saving" and found["posterior"]["step"] == 50:
        with open(path, "r+b") as file:
            file.truncate(1000)
        kill()

Posterior.fit, torch.save = cut, half
cli.main(arguments)
"""


def test_a_killed_fit_goes_on_and_ends_the_same(place, tmp_path):
    """SIGKILL between two steps, then while what was fitted is written, then the same command."""
    whole, killed = tmp_path / "whole.safetensors", tmp_path / "killed.safetensors"
    command(place, whole)
    for where in ("between", "saving"):
        given = [*arguments(place, killed)]
        run = subprocess.run([sys.executable, "-c", KILLED, where, *given], capture_output=True)
        assert run.returncode == -signal.SIGKILL, run.stderr.decode()[-2000:]
        assert not killed.exists()
    command(place, killed)
    assert killed.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    "more, said",
    [
        (["--task", "btrans_demo"], "text: give either --text FILE or --task NAME"),
        (["--model_args", "members=3"], "members: is no part of what is fitted"),
        (["--model_args", "sigma=0"], "sigma: noise is learned from mean 0 and one sigma above"),
        (["--model_args", "sigma=0.1,mu=0.5"], "mu: is no part of what is fitted"),
        (["--output", "prior.bin"], "output: must end in .safetensors, got prior.bin"),
        (["--text", "/nowhere"], "text: /nowhere cannot be read"),
        (["--steps", "0"], "steps"),
    ],
)
def test_mistakes_are_one_line(place, tmp_path, capsys, more, said):
    if more[0] == "--model_args":
        more = ["--model_args", f"pretrained={place / 'model'},device=cpu,{more[1]}"]
    with pytest.raises(SystemExit) as ended:
        command(place, tmp_path / "prior.safetensors", *more)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "prior.safetensors").exists()


def test_too_little_text_is_one_line(place, tmp_path, capsys):
    (tmp_path / "text").write_text("w5 w6 w7\n---\nw8\n")
    with pytest.raises(SystemExit):
        command(place, tmp_path / "prior.safetensors", "--text", str(tmp_path / "text"))
    assert "text: must give at least 10 sequences" in capsys.readouterr().err


def test_rows_of_a_task_are_prompt_and_gold():
    from btrans_eval.calibration.sequences import of_task

    found = of_task("btrans_arithmetic").split("\n---\n")
    assert len(found) == 400 and all(text.rstrip()[-1].isalnum() for text in found)
    with pytest.raises(UserError, match="has no rows for training"):
        of_task("btrans_demo")
    with pytest.raises(UserError, match="no task named"):
        of_task("btrans_nothing")
