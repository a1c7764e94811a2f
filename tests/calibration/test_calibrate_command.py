"""``btrans-eval calibrate`` on a tiny model: its numbers, its files, its mistakes."""

from __future__ import annotations

import json

import pytest
import tiny_checkpoint

from btrans_eval import Population, cli
from btrans_eval.model_adapters.hf import BTransHF
from btrans_eval.population.divergence import Yardstick

TEXT = "w5 w6 w7 w8 w9 w10 w11 w12\n---\nw20 w21 w22 w23 w24 w25 w26\n"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibrate")
    (folder / "text").write_text(TEXT)
    model = tiny_checkpoint.save(folder / "model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BTRANS_EVAL_CACHE", str(folder / "cache"))
        cli.main(
            ["calibrate", "--model_args", f"pretrained={model},device=cpu,seed=3",
             "--kl", "0.02,0.01", "--text", str(folder / "text"), "--output_path",
             str(folder / "out")]
        )  # fmt: skip
    return folder


def test_the_curve_can_be_measured_again(written):
    found = json.loads((written / "out" / "calibration.json").read_text())
    asked = [(row["prior"], row["budget"]) for row in found["curve"]]
    assert asked == [(p, kl) for p in ("isotropic", "scaled") for kl in (0.01, 0.02)]
    lm = BTransHF(str(written / "model"), device="cpu", sigma=0.0)
    for row in found["curve"]:
        population = Population(lm.model, row["sigma"], prior=row["prior"], seed=3)
        seen = Yardstick(lm.model, lm.tokenizer, TEXT).measure(population)
        assert seen.mean_kl == row["kl"] == pytest.approx(row["budget"], rel=0.05)
        assert sum(seen.changed) / 4 == row["greedy_changed"]
    assert sum(row["share"] for row in found["layers"]) == pytest.approx(1)
    assert [row["name"] for row in found["layers"]] == [each.name for each in population.layers]


def test_pictures_are_there(written):
    for name in ("competence", "layers"):
        assert (written / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        drawn = (written / "out" / f"{name}.svg").read_text()
        assert "</svg>" in drawn and "mathdefault" not in drawn  # a formula nobody sets


def test_a_budget_out_of_reach_loses_nothing_else(written, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("BTRANS_EVAL_CACHE", str(written / "cache"))
    with pytest.raises(SystemExit) as ended:
        cli.main(
            ["calibrate", "--model_args", f"pretrained={written / 'model'},device=cpu,seed=3",
             "--kl", "0.01,1e9", "--text", str(written / "text"), "--output_path", str(tmp_path)]
        )  # fmt: skip
    assert ended.value.code == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("btrans-eval: isotropic, kl=1e+09: sigma: none was")
    found = json.loads((tmp_path / "calibration.json").read_text())
    whole = json.loads((written / "out" / "calibration.json").read_text())
    assert found["curve"] == [row for row in whole["curve"] if row["budget"] == 0.01]
    assert found["layers"] == whole["layers"] and whole["failed"] == {}
    assert list(found["failed"]) == ["isotropic, kl=1e+09", "scaled, kl=1e+09"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--kl", "much"], "kl: must be a finite number"),
        (["--kl", "0"], "kl: must be above 0"),
        (["--kl", "-1"], "kl: must be above 0, got -1"),
        (["--model_args", "pretrained=x,sigma=0.1"], "sigma: is no part of what is measured"),
        (["--text", "nowhere.txt"], "text: nowhere.txt cannot be read"),
        (["--model_args", "pretrained"], "model_args: must be name=value"),
    ],
)
def test_mistakes_are_one_line(arguments, text, capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        cli.main(["calibrate", "--output_path", str(tmp_path), *arguments])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and text in said and said.count("\n") == 1
