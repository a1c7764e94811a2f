"""Logs for Every Eval Ever: valid by the published schemas, whole, and clear on what they are."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from four_arms import SCORED, STORIES, options, write
from jsonschema import Draft7Validator

from btrans_eval.errors import UserError
from btrans_eval.leaderboards import export

SCHEMAS = Path(__file__).with_name("schemas")
LOG, ROW = (
    Draft7Validator(json.loads((SCHEMAS / name).read_text()))
    for name in ("eval.schema.json", "instance_level_eval.schema.json")
)
FOLDERS = {"population": "me/base-B-Trans", "stock": "org/base"}


def exported(folder: Path, **given):
    """The logs and rows by side, validated; paths are those that the store asks for."""
    paths = export("every-eval-ever", folder, options(organization="Me", **given))
    output = given.get("output") or folder / "exports" / "every-eval-ever"
    found = {}
    for path in paths:
        if path.name.endswith("_samples.jsonl"):
            continue
        log = json.loads(path.read_text())
        samples = path.with_name(path.stem + "_samples.jsonl")
        lines = samples.read_bytes().decode("ascii").splitlines()
        rows = [json.loads(line) for line in lines]
        LOG.validate(log)
        for row in rows:
            ROW.validate(row)
        details = log["detailed_evaluation_results"]
        assert details["file_path"] == samples.relative_to(output).as_posix()
        assert details["checksum"] == hashlib.sha256(samples.read_bytes()).hexdigest()
        assert details["total_rows"] == len(rows)
        assert {row["evaluation_id"] for row in rows} == {log["evaluation_id"]}
        assert {row["model_id"] for row in rows} == {log["model_info"]["id"]}
        assert path.parts[-3:-1] == tuple(log["model_info"]["id"].split("/"))
        side = "population" if log["model_info"]["id"] == FOLDERS["population"] else "stock"
        found.setdefault(side, []).append((log, rows))
    return found


KINDS = ["mean", "maj", "pass", "brier", "ece"]


def by_kind(log):
    return {
        result["evaluation_result_id"].split(":")[-1].split("@")[0]: result
        for result in log["evaluation_results"]
    }


def test_one_log_per_model_with_all_numbers(tmp_path, capsys):
    found = exported(write(tmp_path))
    assert capsys.readouterr().err == "left out btrans_stories: its responses have no score\n"
    ((log, rows),) = found["population"]
    results = by_kind(log)
    assert list(results) == KINDS
    results = {kind: results[kind] for kind in KINDS[:3]}
    scores = {kind: result["score_details"]["score"] for kind, result in results.items()}
    # rights of four: 4, 2, 1; votes: right, a tie of two, wrong; with one tie of none
    assert scores == pytest.approx({"mean": 7 / 12, "maj": 1.5 / 3, "pass": 1.0})
    stated = {kind: one["metric_config"]["metric_parameters"] for kind, one in results.items()}
    assert {kind: (one["k"], one["n"]) for kind, one in stated.items()} == {
        "mean": (1, 4), "maj": (4, 4), "pass": (4, 4),
    }  # fmt: skip
    assert all(one["tie_rule"] == "ties share the credit equally" for one in stated.values())
    assert len(rows) == 9
    for result in results.values():
        id, name = result["evaluation_result_id"], result["evaluation_name"]
        own = [row for row in rows if row["evaluation_result_id"] == id]
        mean = sum(row["evaluation"]["score"] for row in own) / 3
        assert mean == pytest.approx(result["score_details"]["score"])
        assert {row["evaluation_name"] for row in own} == {name}


def test_the_stock_model_stands_beside_it_at_equal_k(tmp_path):
    found = exported(write(tmp_path))
    ((population, _),), ((stock, rows),) = found["population"], found["stock"]
    ours, theirs = by_kind(population), by_kind(stock)
    assert list(theirs) == list(ours)
    for kind, result in [(kind, ours[kind]) for kind in KINDS[:3]]:
        details = result["score_details"]["details"]
        other = theirs[kind]["score_details"]
        assert float(details["stock_model_score_same_k"]) == other["score"]
        assert float(details["stock_model_greedy_score_1_call"]) == pytest.approx(1 / 3)
        assert (
            float(other["details"]["population_score_same_k"]) == (result["score_details"]["score"])
        )
    assert stock["model_info"]["additional_details"]["is_population"] == "false"
    assert "sigma" not in stock["model_info"]["additional_details"]
    assert theirs["mean"]["generation_config"]["generation_args"]["temperature"] == 0.7
    assert all(len(row["output"]["raw"]) == 4 for row in rows)


def test_no_field_calls_a_vote_or_an_oracle_an_accuracy(tmp_path):
    ((log, rows),) = exported(write(tmp_path))["population"]
    results = by_kind(log)
    for kind, word in {"mean": "pass@1 (avg of 4)", "maj": "vote", "pass": "oracle"}.items():
        config = results[kind]["metric_config"]
        assert word in config["metric_name"] and word in results[kind]["evaluation_name"]
        assert config["metric_kind"] not in ("accuracy", "exact_match")
        assert config["metric_id"] not in ("accuracy", "exact_match", "pass_at_1", "pass-at-1")
    assert len({one["metric_config"]["metric_id"] for one in results.values()}) == 5
    assert "Not an accuracy" in results["pass"]["metric_config"]["evaluation_description"]
    assert log["model_info"]["additional_details"]["base_model"] == "org/base"
    assert "members of a population" in log["model_info"]["name"]
    correct = {
        row["sample_id"]: row["evaluation"]["is_correct"]
        for row in rows
        if row["evaluation_result_id"].endswith("pass@4")
    }
    assert correct == {"0": True, "1": False, "2": False}  # though some response is right in all


def test_everything_that_a_number_depends_on(tmp_path):
    ((log, _),) = exported(write(tmp_path))["population"]
    for result in log["evaluation_results"]:
        found = result["generation_config"]["additional_details"]
        assert found["members"] == "0 to 3 of seed 3"
        wanted = {
            "sigma": "0.01", "mu": "0.0", "prior": "isotropic", "noise": "sequence",
            "norms": "all", "seed": "3", "temperature": "0.0", "responses_per_question": "4",
            "questions": "3", "tie_rule": "ties share the credit equally",
            "lm_eval_version": "0.4.13", "transformers_version": "5.23.0",
            "btrans_eval_version": "0.1.0", "answers_scheme": "1", "arm": "population",
            "arms_in_the_comparison": "stock, stock@0.7, population, population@0.7",
        }  # fmt: skip
        assert wanted.items() <= found.items()
        assert result["score_details"]["uncertainty"]["num_samples"] == 3
        assert result["source_data"]["hf_repo"] == "org/sums"


def test_how_answers_were_read_is_told_by_the_run_s_own_note(tmp_path):
    def noted(_, results):
        del results["config"]["btrans"]["tasks"][SCORED]["answers"]  # as tasks that read have it
        said = {f"votes:{SCORED}:population": "answers that the task reads, equal as text"}
        results["config"]["btrans_scores"] |= said

    ((log, _),) = exported(write(tmp_path, change=noted))["population"]
    for result in log["evaluation_results"]:
        found = result["generation_config"]["additional_details"]["answers_read_as"]
        assert found == "answers that the task reads, equal as text"


def test_rows_hold_every_response_and_the_vote(tmp_path):
    ((_, rows),) = exported(write(tmp_path))["population"]
    row = next(r for r in rows if r["evaluation_result_id"].endswith("maj@4") and
               r["sample_id"] == "1")  # fmt: skip
    said = row["output"]["raw"]
    assert [text.split(".")[0] for text in said] == ["I say 1", "I say 9", "I say 1", "I say 9"]
    assert "\u2028" in said[0] and "\ufffd" in said[0]  # half a surrogate pair is no text
    assert row["evaluation"] == {"score": 0.5, "is_correct": False}
    final = [each["extracted_value"] for each in row["answer_attribution"] if each["is_terminal"]]
    assert final == ["1", "9"]  # a tie: both
    assert json.loads(row["metadata"]["member_of_each_response"]) == [0, 1, 2, 3]
    assert row["input"]["reference"] == ["1"]


def test_the_same_bytes_again(tmp_path):
    first = exported(write(tmp_path))
    assert first == exported(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    again = export("every-eval-ever", tmp_path, options(organization="Me", output=elsewhere))
    names = sorted(path.relative_to(elsewhere) for path in again)
    home = tmp_path / "exports" / "every-eval-ever"
    assert names == sorted(path.relative_to(home) for path in home.rglob("*.json*"))


def test_an_older_log_does_not_stay_beside_a_new_one(tmp_path):
    write(tmp_path)
    exported(tmp_path)
    with pytest.raises(UserError, match="already holds another log of this model"):
        exported(tmp_path, arm="population@0.7")


def test_a_pooled_group(tmp_path):
    write(tmp_path, tasks=("part_a", "part_b"), group="whole")
    ((log, rows),) = exported(tmp_path)["population"]
    assert log["evaluation_results"][0]["evaluation_name"].startswith("whole, mean@4")
    ids = [row["sample_id"] for row in rows if row["evaluation_result_id"] == "whole:mean@4"]
    assert sorted(ids) == [f"part_{part}/{q}" for part in "ab" for q in range(3)]
    assert log["evaluation_results"][0]["source_data"]["samples_number"] == 6


def test_rows_of_ones_own_and_another_model_type(tmp_path):
    write(tmp_path, dataset="json", stock_kind="hf")
    found = exported(tmp_path)
    ((log, _),), ((stock, _),) = found["population"], found["stock"]
    assert log["evaluation_results"][0]["source_data"]["source_type"] == "other"
    assert stock["model_info"]["inference_engine"]["name"] == "transformers"


def test_responses_without_answers_have_no_vote(tmp_path):
    def change_row(_, row):
        if row["doc"]["task"] != STORIES:
            found = [json.loads(one) | {"class": None} for one in row["filtered_resps"][0]]
            row["filtered_resps"] = [[json.dumps(one) for one in found]]

    write(tmp_path, change_row=change_row)
    ((log, _),) = exported(tmp_path)["population"]
    assert list(by_kind(log)) == ["mean", "pass"]


def test_partial_credit_has_no_pass_at_k(tmp_path):
    def change_row(_, row):
        if row["doc"]["task"] == SCORED:
            row["filtered_resps"] = [
                [one.replace('"score": 1.0', '"score": 0.5') for one in row["filtered_resps"][0]]
            ]

    write(tmp_path, change_row=change_row)
    ((log, _),) = exported(tmp_path)["population"]
    assert list(by_kind(log)) == ["mean", "maj", "brier", "ece"]
