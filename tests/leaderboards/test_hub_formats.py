"""``.eval_results`` and ``model-index``: what the hub's own readers get back."""

from __future__ import annotations

import json

import pytest
import yaml
from four_arms import SCORED, STORIES, options, write
from huggingface_hub import ModelCard, parse_eval_result_entries

from btrans_eval.errors import UserError
from btrans_eval.leaderboards import export
from btrans_eval.leaderboards.eval_results import problems

BENCHMARK = {"dataset_id": "org/sums", "task_id": "sums", "scale": "0-100"}


def entries(folder, **given):
    """The hub's reading of each file, by name."""
    paths = export("eval-results", folder, options(**{**BENCHMARK, **given}))
    assert all(path.parent.name == ".eval_results" for path in paths)
    return {path.name: parse_eval_result_entries(yaml.safe_load(path.read_text()))
            for path in paths}  # fmt: skip


def test_only_the_mean_unless_asked(tmp_path):
    found = entries(write(tmp_path))
    assert list(found) == ["btrans_sums.yaml"]
    ((entry,),) = found.values()
    assert (entry.dataset_id, entry.task_id, entry.value) == ("org/sums", "sums", 58.3333)
    assert entry.date == "2026-11-23" and entry.verify_token is None and entry.source_url is None
    assert entry.notes.startswith("pass@1 (avg of 4). Population drawn around org/base: 4 members")


def half(name, row):
    """Half a point for each right answer."""
    said = [json.loads(each) for each in row["filtered_resps"][0]]
    for each in said:
        each["scores"] = {metric: score / 2 for metric, score in each["scores"].items()}
    row["filtered_resps"] = [[json.dumps(each) for each in said]]


def test_a_mean_of_partial_credit_is_no_pass(tmp_path):
    folder = write(tmp_path, change_row=half)
    (entry,) = entries(folder)["btrans_sums.yaml"]
    assert entry.value == 29.1667  # half of the points
    assert entry.notes.startswith("mean score (avg of 4). ") and "pass@1" not in entry.notes
    card = export("model-index", folder, options())[0].read_text()
    assert "mean@4 = mean score (avg of 4)" in card and "pass@1" not in card


def test_notes_say_it_all(tmp_path):
    for entry in sum(entries(write(tmp_path), with_maj=True).values(), []):
        for said in (
            "sigma=0.01", "mu=0.0", "prior=isotropic", "noise=sequence", "norms=all",
            "0 to 3 of seed 3", "n=4", "3 questions", "standard error", "estimator: ",
            "Without noise, 4 responses of one model, sampled at temperature 0.7: 5",
            "greedy, 1 call: 33.3333", "ties share the credit equally",
            "without an answer", "btrans-eval 0.1.0", "lm-eval 0.4.13", "transformers 5.23.0",
            "answers scheme 1", "0-shot", "rows org/sums main test", "Self-reported",
        ):  # fmt: skip
            assert said in entry.notes


def test_the_vote_in_a_file_of_its_own(tmp_path):
    found = entries(write(tmp_path), with_maj=True, source_url="https://example.org/results")
    assert list(found) == ["btrans_sums.yaml", "btrans_sums_maj4.yaml"]
    (entry,) = found["btrans_sums_maj4.yaml"]
    assert entry.value == 50.0 and entry.source_url == "https://example.org/results"
    assert entry.notes.startswith(
        "maj@4: vote of 4 responses, 4 model calls per answer, not a single answer; ties share "
        "the credit equally."
    )
    assert "pass@1 (avg of 4) of the same responses: 58.3333" in entry.notes
    everything = "".join(
        path.read_text() for path in (tmp_path / "exports").rglob("*.yaml")
    )  # fmt: skip
    assert "pass@4" not in everything and "verifyToken" not in everything


def test_the_scale_is_the_user_s(tmp_path):
    ((entry,),) = entries(write(tmp_path), scale="0-1", dataset_revision="abc").values()
    assert entry.value == 0.5833 and entry.dataset_revision == "abc"
    assert ": 0.5 (standard error over questions 0.14)" in entry.notes


def test_one_benchmark_at_a_time(tmp_path):
    write(tmp_path, tasks=("one", "two", STORIES))
    with pytest.raises(UserError, match="choose one with --tasks"):
        entries(tmp_path)
    assert list(entries(tmp_path, tasks=("two",))) == ["two.yaml"]


GOOD = {
    "dataset": {"id": "org/sums", "task_id": "sums"},
    "value": 50.0,
    "date": "2026-11-23",
    "notes": "what it is",
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"value": "50"}, "value must be a number"),
        ({"value": True}, "value must be a number"),
        ({"value": float("nan")}, "value must lie"),
        ({"value": 101}, "value must lie between 0 and 100"),
        ({"date": None}, "date must be quoted"),
        ({"verifyToken": "x"}, "keys that the format does not know: ['verifyToken']"),
        ({"notes": " "}, "notes must say"),
        ({"dataset": {"id": "sums", "task_id": "sums"}}, "dataset must have an id ORG/NAME"),
        ({"dataset": {"id": "org/sums"}}, "dataset must have"),
        ({"source": {"url": "https://a.b", "token": 1}}, "['token']"),
    ],
)
def test_checks_of_our_own(change, said):
    assert problems(yaml.safe_dump([GOOD]), 100.0) == []
    assert said in " ".join(problems(yaml.safe_dump([{**GOOD, **change}]), 100.0))
    assert problems("- date: 2026-11-23\n", 100.0)


# ------------------------------------------------------------------------- model-index
def card(folder, **given):
    (path,) = export("model-index", folder, options(**given))
    assert path.name == "model-index.md"
    return ModelCard(path.read_text())


def test_a_card_reads_back(tmp_path):
    read = card(write(tmp_path), source_url="https://example.org/results")
    again = ModelCard(str(read))
    assert again.data.eval_results == read.data.eval_results
    assert read.data.base_model == "org/base" and read.data.model_name == "base-B-Trans"
    mean, vote, oracle, *_ = read.data.eval_results
    assert (mean.metric_type, vote.metric_type, oracle.metric_type) == (
        "mean_at_k", "maj_at_k", "pass_at_k",
    )  # fmt: skip
    assert [one.metric_value for one in (mean, vote, oracle)] == pytest.approx([7 / 12, 0.5, 1])
    assert [(one.metric_args["k"], one.metric_args["n"]) for one in (mean, vote, oracle)] == [
        (1, 4), (4, 4), (4, 4),
    ]  # fmt: skip
    assert "vote of 4" in vote.metric_name and "oracle" in oracle.metric_name
    for one in (mean, vote, oracle):
        args = one.metric_args
        assert {"estimator", "stderr", "sigma", "members", "tie_rule", "temperature"} <= set(args)
        assert args["stock_model"] == "org/base" and args["questions"] == 3
        assert one.source_url == "https://example.org/results"
    assert vote.metric_args["stock_value_same_k"] == pytest.approx(1.75 / 3)
    assert mean.metric_args["stock_greedy_value_1_call"] == pytest.approx(1 / 3)


def test_tasks_of_one_data_set_lose_nothing(tmp_path):
    """The hub takes task, data set and source of a group's first entry for all of the group."""
    read = card(write(tmp_path, tasks=("one", "two")))
    names = [one.metric_name for one in read.data.eval_results]
    assert len(names) == 10 and sum(name.startswith("two: ") for name in names) == 5
    assert {one.metric_args["task"] for one in read.data.eval_results} == {"one", "two"}


def test_a_data_set_that_is_not_on_the_hub(tmp_path):
    write(tmp_path, dataset="json")
    with pytest.raises(UserError, match="dataset-id: is needed for btrans_sums"):
        card(tmp_path)
    assert card(tmp_path, dataset_id="me/sums").data.eval_results[0].dataset_type == "me/sums"
    write(tmp_path / "two", tasks=("one", "two"), dataset="json")
    with pytest.raises(UserError, match="choose with --tasks"):
        card(tmp_path / "two", dataset_id="me/sums")


def test_the_card_s_text(tmp_path):
    text = card(write(tmp_path)).text
    assert f"| {SCORED} | maj@4 (vote of 4 responses) | 0.5000 ± 0.2887 | 0.5833 ± 0.2205 |" in text
    assert "one greedy response scores 0.3333" in text and "oracle that knows the gold" in text
