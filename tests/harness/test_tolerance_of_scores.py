"""A tolerance is of scores: near answers are right, and stay answers of their own in the vote."""

from __future__ import annotations

import json

import pytest

from btrans_eval.errors import UserError
from btrans_eval.harness import record
from btrans_eval.harness.scoring import PopulationFilter


def test_near_answers_are_right_and_classes_stay_exact():
    texts = ["\\boxed{1.6}", "\\boxed{1.60001}", "\\boxed{1.60001}", "\\boxed{1.7}"]
    scoring = PopulationFilter(4, kind="latex", tolerance=1e-4)
    with record.begun() as run:
        (row,) = scoring.apply([texts], [{"answer": "1.6"}])
    logged = [json.loads(each) for each in row]
    assert [each["scores"]["score"] for each in logged] == [1.0, 1.0, 1.0, 0.0]
    assert [each["class"] for each in logged] == [0, 1, 1, 2]
    assert row.columns["mean"] == 3 / 4 and row.columns["maj@4"] == 1.0
    assert run.notes["relative_tolerance_of_measured_golds"] == 1e-4
    with record.begun() as run:
        (exact,) = PopulationFilter(4, kind="latex").apply([texts], [{"answer": "1.6"}])
    assert exact.columns["mean"] == 1 / 4 and exact.columns["maj@4"] == 0.0
    assert "relative_tolerance_of_measured_golds" not in run.notes


@pytest.mark.parametrize(
    "own",
    [
        {"tolerance": 0},
        {"tolerance": 1},
        {"tolerance": -0.1},
        {"tolerance": "1e-4"},  # YAML reads a number without a point as a string
        {"tolerance": float("nan")},
        {"tolerance": 1e-4, "kind": "number"},
        {"tolerance": 1e-4, "score": lambda doc, text: 1.0},
    ],
    ids=range(7),
)
def test_a_tolerance_that_means_nothing_is_refused(own):
    with pytest.raises(UserError, match="tolerance: must lie between 0 and 1 and goes with kind"):
        PopulationFilter(4, **{"kind": "latex", **own})
