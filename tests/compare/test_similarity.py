"""Similarity within and between arms, against loops over pairs of responses."""

from __future__ import annotations

import json
import math
from itertools import combinations, product
from pathlib import Path
from typing import Any

import finished_runs
import numpy as np
import pytest

from btrans_eval import embeddings
from btrans_eval.errors import UserError
from btrans_eval.report import similarity as tables
from btrans_eval.report import study
from btrans_eval.report.report import write

ENCODER = {"encoder": "letters", "max_length": 16}
ASKED: list[str] = []


def letters(texts, encoder):
    """An encoder without a model: how often each digit is in a text."""
    assert encoder == "letters"
    ASKED.extend(texts)
    return np.array([[1 + text.count(one) for one in "0123456789"] for text in texts], float)


def cosine(one: str, other: str) -> float:
    a, b = letters([one, other], "letters")
    return float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))


def compared(
    folder: Path, encoders: dict[str, Any], models: dict[str, str] | None = None
) -> dict[str, Any]:
    """Four arms on open prompts, embedded as said."""
    folders = {}
    for name, (sigma, sampled) in finished_runs.ARMS.items():
        folders[name] = folder / "arms" / name
        finished_runs.write_run(folders[name], sigma, sampled, tasks=["stories"], calls=3)
        file = folders[name] / "results_2026.json"
        results = json.loads(file.read_text())
        if encoders.get(name):
            results["config"]["btrans_scores"] = {"encoder": encoders[name]}
        results["model_name"] = (models or {}).get(name, "org/tiny")
        file.write_text(json.dumps(results))
    (task,) = finished_runs.write_comparison(folder, folders)["tasks"]
    return task


def everywhere(encoder: dict[str, Any] = ENCODER) -> dict[str, Any]:
    return dict.fromkeys(finished_runs.ARMS, encoder)


def test_every_pair_of_arms_is_the_mean_over_pairs_of_responses(tmp_path, monkeypatch):
    monkeypatch.setattr(embeddings, "embed", letters)
    ASKED.clear()
    models = {"stock_sampled": "org/other", "population_sampled": "org/other"}
    found = compared(tmp_path, everywhere(), models)["similarity"]
    assert {name: found[name] for name in ENCODER} == ENCODER
    assert len(ASKED) == len(set(ASKED))
    arms = study.read(tmp_path).tasks[0].joined.arms
    said = {arm: [[one.text for one in each.responses] for each in arms[arm]] for arm in arms}
    assert [len(row) for row in said["stock_greedy"]] == [1] * 6  # one call, a reference
    names = list(finished_runs.ARMS)
    expected = {}
    for a, b in [*combinations(names, 2), *((name, name) for name in names[1:])]:
        values = []
        for one, other in zip(said[a], said[b], strict=True):
            pairs = list(combinations(one, 2)) if a == b else list(product(one, other))
            values.append(math.fsum(cosine(x, y) for x, y in pairs) / len(pairs))
        expected[a, b] = values
    pairs = {(pair["a"], pair["b"]): pair for pair in found["pairs"]}
    assert pairs.keys() == expected.keys()
    for key, values in expected.items():
        assert pairs[key]["estimate"] == pytest.approx(np.mean(values), abs=1e-12)
        half = (pairs[key]["high"] - pairs[key]["low"]) / 2
        assert half == pytest.approx(2.5705818 * np.std(values, ddof=1) / math.sqrt(6), rel=1e-6)
        same = {models.get(name) for name in key}
        assert pairs[key]["same_model"] == (len(same) == 1)
    assert not pairs["stock_greedy", "stock_sampled"]["same_model"]
    assert pairs["stock_sampled", "population_sampled"]["same_model"]


def test_within_an_arm_is_one_less_its_distance(tmp_path, monkeypatch):
    """A greedy model's copies, seen three times by the paper's measure, are one call here."""
    monkeypatch.setattr(embeddings, "embed", letters)
    pairs = compared(tmp_path, everywhere())["similarity"]["pairs"]
    alone = [pair["a"] for pair in pairs if pair["a"] == pair["b"]]
    assert alone == ["stock_sampled", "population_greedy", "population_sampled"]
    assert all(0 < pair["estimate"] < 1 for pair in pairs)


def test_what_was_not_embedded_is_not_compared(tmp_path):
    assert "similarity" not in compared(tmp_path, {})


@pytest.mark.parametrize(
    ("other", "said"), [({**ENCODER, "max_length": 8}, "letters, 8"), (None, "not at all")]
)
def test_other_encoders_are_not_mixed(tmp_path, other, said):
    found = compared(tmp_path, everywhere() | {"stock_sampled": other})["similarity"]
    assert found["pairs"] == []
    assert "embedded differently" in found["left_out"]
    assert f"stock_sampled: {said}" in found["left_out"]
    assert tables.table(study.read(tmp_path).tasks[0]) is None
    assert tables.note(study.read(tmp_path).tasks[0]).startswith("Left out: the arms")


def test_an_encoder_that_is_missing_leaves_it_out(tmp_path, monkeypatch):
    def missing(texts, encoder):
        raise UserError("encoder: cannot")

    monkeypatch.setattr(embeddings, "embed", missing)
    found = compared(tmp_path, everywhere())["similarity"]
    assert found == {"left_out": "encoder: cannot", "pairs": []}


def test_the_report_has_arms_by_arms(tmp_path, monkeypatch):
    monkeypatch.setattr(embeddings, "embed", letters)
    pairs = compared(tmp_path, everywhere())["similarity"]["pairs"]
    page = write(tmp_path, encoder=None).read_text()
    assert "Alike, within and between arms" in page
    assert "Encoder letters, which reads the first 16 tokens" in page
    lines = (tmp_path / "report" / "similarity_stories.md").read_text().splitlines()
    names = list(finished_runs.ARMS)
    assert lines[0] == "| arm | " + " | ".join(names) + " |"
    values = {frozenset((pair["a"], pair["b"])): pair["estimate"] for pair in pairs}
    for name, line in zip(names, lines[2:], strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for other, cell in zip(names, cells[1:], strict=True):
            value = values.get(frozenset((name, other)))
            assert cell.split(" ")[0] == ("–" if value is None else f"{value:.3f}")
