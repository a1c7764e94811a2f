"""How sure an exported vote is: by hand, with bins and questions, and what is refused."""

from __future__ import annotations

import json

import pytest
import yaml
from four_arms import SCORED, edit, options, write
from huggingface_hub import ModelCard
from test_every_eval_ever import by_kind, exported

from btrans_eval.errors import UserError
from btrans_eval.leaderboards import export

# votes of four by question: share of the winner, and credit (two answers of "population" are tied
# in question 1, four of "stock@0.7", of which one is right)
VOTES = {
    "population": ((4 / 4, 1), (2 / 4, 1 / 2), (2 / 4, 0)),
    "stock": ((3 / 4, 1), (1 / 4, 1 / 4), (2 / 4, 1 / 2)),
}
BRIER = {
    side: sum(y * (1 - c) ** 2 + (1 - y) * c**2 for c, y in votes) / 3
    for side, votes in VOTES.items()
}
# shares 1 and 1/2, the latter of two questions that are right once in four; then all alone
ECE = {"population": 2 / 3 * abs(1 / 2 - 1 / 4), "stock": (1 / 4 + 0 + 0) / 3}


@pytest.mark.parametrize("side", ["population", "stock"])
def test_every_eval_ever_has_both_with_bins_and_questions(tmp_path, side):
    ((log, rows),) = exported(write(tmp_path))[side]
    results = by_kind(log)
    assert list(results) == ["mean", "maj", "pass", "brier", "ece"]
    for kind, value in {"brier": BRIER[side], "ece": ECE[side]}.items():
        config, details = results[kind]["metric_config"], results[kind]["score_details"]
        assert details["score"] == pytest.approx(value)
        assert config["lower_is_better"] is True and (config["min_score"], config["max_score"]) == (
            0, 1,
        )  # fmt: skip
        stated = config["metric_parameters"]
        assert (stated["n"], stated["questions"]) == (4, 3)
        assert stated["confidence"].startswith("votes of the winning answer over all responses")
        assert stated.get("bins") == (20 if kind == "ece" else None)
        assert not [row for row in rows if row["evaluation_result_id"].endswith(f"{kind}@4")]
        assert "is_correct_in_samples" not in details["details"]
        assert "stock_model_greedy_score_1_call" not in details["details"]
    assert "confidence_interval" not in results["ece"]["score_details"]["uncertainty"]
    assert "standard_error" not in results["ece"]["score_details"]["uncertainty"]
    assert results["brier"]["score_details"]["uncertainty"]["standard_error"]["value"] > 0
    assert "20 bins" in results["ece"]["metric_config"]["metric_name"]
    assert results["maj"]["metric_config"]["lower_is_better"] is False
    assert not {"bins", "confidence"} & results["maj"]["metric_config"]["metric_parameters"].keys()


def test_the_other_model_s_stands_beside_it(tmp_path):
    ((log, _),) = exported(write(tmp_path))["population"]
    results = by_kind(log)
    brier = results["brier"]["score_details"]["details"]
    assert float(brier["stock_model_score_same_k"]) == pytest.approx(BRIER["stock"])
    gap = BRIER["population"] - BRIER["stock"]
    assert float(brier["population_minus_stock"]) == pytest.approx(gap, abs=1e-12)
    ece = results["ece"]["score_details"]["details"]
    assert float(ece["stock_model_score_same_k"]) == pytest.approx(ECE["stock"])
    assert "population_minus_stock" not in ece


def test_the_rows_of_the_vote_give_both_again(tmp_path):
    ((_, rows),) = exported(write(tmp_path))["population"]
    votes = [row for row in rows if row["evaluation_result_id"].endswith("maj@4")]
    votes.sort(key=lambda row: row["sample_id"])
    pairs = [(float(row["metadata"]["vote_share"]), row["evaluation"]["score"]) for row in votes]
    assert pairs == [(1.0, 1.0), (0.5, 0.5), (0.5, 0.0)]
    others = [row for row in rows if not row["evaluation_result_id"].endswith("maj@4")]
    assert others and not any("vote_share" in row["metadata"] for row in others)


def test_a_card_has_both_and_a_benchmark_s_entry_neither(tmp_path):
    write(tmp_path)
    (path,) = export("model-index", tmp_path, options())
    card = ModelCard(path.read_text())
    found = {one.metric_type: one for one in card.data.eval_results}
    assert list(found) == ["mean_at_k", "maj_at_k", "pass_at_k", "vote_brier", "vote_ece"]
    for kind in ("brier", "ece"):
        one = found[f"vote_{kind}"]
        value = (BRIER if kind == "brier" else ECE)["population"]
        stock = (BRIER if kind == "brier" else ECE)["stock"]
        assert one.metric_value == pytest.approx(value)
        assert one.metric_args["stock_value_same_k"] == pytest.approx(stock)
        assert one.metric_args["lower_is_better"] is True and one.metric_args["questions"] == 3
        assert "stock_greedy_value_1_call" not in one.metric_args
    assert found["vote_ece"].metric_args["bins"] == 20
    assert "stderr" not in found["vote_ece"].metric_args
    assert "less is better" in card.text
    assert f"| {SCORED} | calibration error of maj@4 (ECE in 20 bins" in card.text
    given = {"dataset_id": "org/sums", "task_id": "sums", "scale": "0-1", "with_maj": True}
    for path in export("eval-results", tmp_path, options(**given)):
        (entry,) = yaml.safe_load(path.read_text())
        assert "Brier" not in entry["notes"] and "calibration" not in entry["notes"]


def test_answers_that_do_not_vote_have_none(tmp_path):
    def change_row(_, row):
        found = [json.loads(one) | {"class": None} for one in row["filtered_resps"][0]]
        row["filtered_resps"] = [[json.dumps(one) for one in found]]

    write(tmp_path, change_row=change_row)
    (path,) = export("model-index", tmp_path, options())
    card = ModelCard(path.read_text())
    assert [one.metric_type for one in card.data.eval_results] == ["mean_at_k", "pass_at_k"]
    assert "less is better" not in card.text


@pytest.mark.parametrize("figure", ["brier", "ece_20"])
def test_a_number_that_the_responses_do_not_give_again_is_refused(tmp_path, figure):
    def change(comparison):
        arm = comparison["tasks"][0]["arms"]["population"]
        arm["confidence"]["figures"]["share"][figure]["estimate"] += 0.01

    edit(write(tmp_path), change)
    with pytest.raises(UserError, match=f"population, {figure}: comparison.json says"):
        export("model-index", tmp_path, options())
