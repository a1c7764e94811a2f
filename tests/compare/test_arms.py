"""btrans-eval compare on a tiny model: arms, results, comparison, and again from the store."""

from __future__ import annotations

import json

import pytest
import tiny_checkpoint

from btrans_eval.cli import main
from btrans_eval.compare.command import write
from btrans_eval.compare.join import as_arm, join
from btrans_eval.errors import UserError
from btrans_eval.results import load
from btrans_eval.scores.estimators import maj_at_k, mean_at_k, pass_at_k

ROWS = 6
TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: [], max_gen_toks: 5, do_sample: false}}
num_fewshot: 0
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
"""
GROUP = "group: both\ntask: [one, two]\naggregate_metric_list: [{metric: exact_match}]\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    tiny_checkpoint.save(folder / "model")
    for name, first in (("one", 5), ("two", 25)):
        rows = [{"prompt": f"w{first + n} w8", "answer": "w31 w7"} for n in range(ROWS)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        text = TASK.format(name=name, rows=folder / f"{name}.jsonl")
        (folder / f"{name}.yaml").write_text(text)
    (folder / "both.yaml").write_text(GROUP)
    return folder


def command(place, out, *more: str) -> None:
    main(
        [
            "compare", "--tasks", "both", "--include_path", str(place), "--repeats", "4",
            "--model_args", f"pretrained={place / 'model'},sigma=0.5,device=cpu",
            "--output_path", str(out), "--no_report", *more,
        ]
    )  # fmt: skip


@pytest.fixture(scope="module")
def out(place, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    command(place, folder, "--limit", "4")
    return folder


def comparison(folder) -> dict:
    return json.loads((folder / "comparison.json").read_text())


def test_four_arms_on_the_same_questions(out):
    found = comparison(out)
    arms = {arm["name"]: arm for arm in found["arms"]}
    assert list(arms) == ["stock greedy", "stock T=0.7", "population greedy", "population T=0.7"]
    assert [arm["kind"] for arm in arms.values()] == ["stock"] * 2 + ["population"] * 2
    assert [arm["is_reference"] for arm in arms.values()] == [True, False, False, False]
    assert [arm["temperature"] for arm in arms.values()] == [None, 0.7, None, 0.7]
    assert arms["population greedy"]["population"]["sigma"] == 0.5
    assert arms["population greedy"]["folder"] == "arms/population_greedy"
    (task,) = found["tasks"]
    assert (task["name"], task["parts"], task["questions"]) == ("both", ["one", "two"], 8)
    assert task["warnings"] == task["statements"] == []
    calls = {name: arm["calls"] for name, arm in task["arms"].items()}
    assert calls == {name: 1 if name == "stock greedy" else 4 for name in calls}


def test_every_number_is_that_of_the_responses(out):
    runs = [load(out / "arms" / name, name) for name in ("population_greedy", "stock_T=0.7")]
    (task,) = join([as_arm(run) for run in runs])
    found = comparison(out)["tasks"][0]["arms"]["population greedy"]["metrics"]
    questions = task.arms["population_greedy"]
    scores = [[one.score for one in question.responses] for question in questions]
    labels = [[one.label for one in question.responses] for question in questions]
    expected = {
        "mean": [mean_at_k(row) for row in scores],
        "pass@2": [pass_at_k(4, int(sum(row)), 2) for row in scores],
        "maj@4": [maj_at_k(label, row, 4) for label, row in zip(labels, scores, strict=True)],
    }
    for column, values in expected.items():
        assert found[column]["estimate"] == pytest.approx(sum(values) / 8)


def test_pairs_are_of_equal_k_and_a_reference_meets_no_oracle(out):
    pairs = comparison(out)["tasks"][0]["pairs"]
    named = {(pair["a"], pair["b"], pair["metric"]): pair for pair in pairs}
    primary = [name for name, pair in named.items() if pair["primary"]]
    assert primary == [
        ("population greedy", "stock T=0.7", metric) for metric in ("mean@4", "maj@4", "pass@4")
    ]
    assert all(named[name]["p_holm"] >= named[name]["p"] for name in primary)
    with_one = [name for name in named if "stock greedy" in name]
    assert {metric for _, _, metric in with_one} == {"mean@4", "maj@4"}
    assert all(named[name]["label"] == "1 call against 4" for name in with_one)
    assert all(name[1] == "stock greedy" for name in with_one)


def test_again_from_the_resolved_file_nothing_is_generated_and_all_is_the_same(
    out, tmp_path, monkeypatch
):
    from btrans_eval.model_adapters.hf import BTransHF

    monkeypatch.setattr(BTransHF, "_generate", lambda *a: pytest.fail("generated again"))
    before = comparison(out)
    store = ["--store", str(out / "responses.sqlite")]
    main(["compare", str(out / "compare.yaml"), "--output_path", str(tmp_path / "b"), "--no_report",
          *store])  # fmt: skip
    after = comparison(tmp_path / "b")
    assert after["tasks"] == before["tasks"]
    assert (tmp_path / "b/compare.yaml").read_text() == (out / "compare.yaml").read_text()


def test_finished_runs_are_compared_without_a_model(out, tmp_path, monkeypatch):
    folders = [str(out / "arms" / name) for name in ("stock_T=0.7", "population_greedy")]
    main(["compare", *folders, "--output_path", str(tmp_path / "c"), "--no_report"])
    (task,) = comparison(tmp_path / "c")["tasks"]
    (whole,) = comparison(out)["tasks"]
    ours = task["arms"]["population_greedy"]["metrics"]
    assert ours == whole["arms"]["population greedy"]["metrics"]


def test_other_questions_are_refused_unless_one_insists(place, out, tmp_path, capsys):
    command(place, tmp_path / "d", "--limit", "3", "--arms", "stock@T,population")
    runs = {"a": out / "arms/population_greedy", "b": tmp_path / "d/arms/stock_T=0.7"}
    with pytest.raises(UserError, match="limit differs .* or insist with --insist"):
        write(runs, tmp_path / "e")
    found = write(runs, tmp_path / "e", insist=True)
    assert found["insisted"] and found["tasks"][0]["questions"] == 6
    assert any("different questions" in warning for warning in found["tasks"][0]["warnings"])


def test_other_generation_limits_are_refused(place, out, tmp_path):
    more = ("--limit", "4", "--arms", "stock@T,population", "--gen_kwargs", "max_gen_toks=3")
    command(place, tmp_path / "f", *more)
    runs = {"a": out / "arms/population_greedy", "b": tmp_path / "f/arms/stock_T=0.7"}
    with pytest.raises(UserError, match="generation limit differs .a: 5, b: 3."):
        write(runs, tmp_path / "g")


def test_seeds_have_a_spread(place, tmp_path):
    command(place, tmp_path / "h", "--limit", "2", "--seeds", "0,1", "--arms", "stock@T,population")
    found = comparison(tmp_path / "h")
    assert [arm["family"] for arm in found["arms"]][1:] == ["population greedy"] * 2
    spread = {row["metric"]: row for row in found["seeds"]}
    assert spread["mean"]["seeds"] == 2
    values = [
        found["tasks"][0]["arms"][f"population greedy seed {seed}"]["metrics"]["mean"]["estimate"]
        for seed in (0, 1)
    ]
    assert spread["mean"]["mean"] == pytest.approx(sum(values) / 2)
    assert {pair["primary"] for pair in found["tasks"][0]["pairs"]} == {True, False}


@pytest.mark.parametrize(
    "arguments, text",
    [
        (["--output_path", "o"], "tasks: must name at least one"),
        (["a", "--output_path", "o"], "compare: name two or more finished runs"),
        (["--tasks", "t", "--output_path", "o", "--model_args", "x"], "model_args: must be name"),
        (["--tasks", "t", "--output_path", "o", "--seeds", "a"], "seeds: must be whole numbers"),
        (
            ["--tasks", "t", "--output_path", "o", "--gen_kwargs", "temperature=1"],
            "gen_kwargs: temperature is set by the arms",
        ),
        (
            ["--tasks", "no_such", "--output_path", "o", "--model_args", "pretrained=m,sigma=1"],
            "tasks: no task or group named no_such",
        ),
        (["x/a", "x/b", "--output_path", "o"], r"results: there is no results_\*.json in x/a"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(arguments, text, tmp_path, monkeypatch, capsys):
    import re

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["compare", *arguments])
    assert ended.value.code == 2
    assert re.search(f"^btrans-eval: {text}", capsys.readouterr().err, re.MULTILINE)
