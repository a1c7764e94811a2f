"""btrans-eval compare on a tiny model: arms, results, comparison, and again from the store."""

from __future__ import annotations

import json

import pytest
import tiny_checkpoint
import toy_task

from btrans_eval.cli import main
from btrans_eval.compare.command import write
from btrans_eval.compare.join import as_arm, join
from btrans_eval.errors import UserError
from btrans_eval.results import load
from btrans_eval.scores.estimators import maj_at_k, mean_at_k, pass_at_k

ROWS = 6
GROUP = "group: both\ntask: [one, two]\naggregate_metric_list: [{metric: exact_match}]\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    tiny_checkpoint.save(folder / "model")
    for name, first in (("one", 5), ("two", 25)):
        toy_task.write(folder, [f"w{first + n} w8" for n in range(ROWS)], "w31 w7", name)
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
    assert task["warnings"] == []
    assert any(said.endswith("rows were asked (limit)") for said in task["statements"])
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
    assert all(named[name]["label"] == "4 calls against 1" for name in with_one)
    assert all(name[1] == "stock greedy" for name in with_one)


def test_again_from_the_resolved_file_nothing_is_generated_and_all_is_the_same(
    out, tmp_path, monkeypatch
):
    from btrans_eval.model_adapters.hf.engine import HFEngine

    monkeypatch.setattr(HFEngine, "generate", lambda *a: pytest.fail("generated again"))
    before = comparison(out)
    store = ["--store", str(out / "responses.sqlite")]
    main(["compare", str(out / "compare.yaml"), "--output_path", str(tmp_path / "b"), "--no_report",
          *store])  # fmt: skip
    after = comparison(tmp_path / "b")
    assert after["tasks"] == before["tasks"]
    assert (tmp_path / "b/compare.yaml").read_text() == (out / "compare.yaml").read_text()


def test_a_comparison_of_other_settings_is_not_replaced_without_a_word(place, tmp_path, caplog):
    settings = (["1"], ["1"], ["2"])
    said = []
    for limit in settings:
        caplog.clear()
        command(place, tmp_path, "--arms", "stock,population", "--limit", *limit)
        said.append("holds a comparison of other settings" in caplog.text)
    assert said == [False, False, True]


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


def finished(place, out, name, *own) -> str:
    """A run of ``lm_eval`` by another way than compare."""
    import lm_eval
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    tracker = EvaluationTracker(output_path=str(out))
    arguments = {"pretrained": str(place / "model"), "sigma": 0.5, "device": "cpu", "members": 4}
    results = lm_eval.simple_evaluate(
        "btrans-hf", arguments, tasks=[name], task_manager=TaskManager(include_path=str(place)),
        evaluation_tracker=tracker, bootstrap_iters=0,
    )  # fmt: skip
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    tracker.save_results_samples(task_name=name, samples=samples[name])
    return str(out)


def test_the_winner_of_a_vote_is_not_taken_for_one_call(place, tmp_path):
    voted = finished(place, tmp_path / "voted", "one")
    with pytest.raises(UserError, match="winner of a vote of 4 responses for one.*--repeats 4"):
        write({"a": voted, "b": voted}, tmp_path / "c")


def changed(out, folder, change) -> dict:
    """Two finished arms with other results files."""
    import shutil

    for arm in ("stock_T=0.7", "population_greedy"):
        shutil.copytree(out / "arms" / arm, folder / arm)
        for path in (folder / arm).rglob("*.json*"):
            path.write_text(change(path.name, path.read_text()))
    return {"a": folder / "stock_T=0.7", "b": folder / "population_greedy"}


def test_where_less_is_better_the_best_of_k_is_the_least(out, tmp_path):
    scores = iter(range(10_000))

    def change(name, text):
        if name.startswith("results_"):
            whole = json.loads(text)
            for of_task in whole["higher_is_better"].values():
                of_task.update(dict.fromkeys(of_task, False))
            return json.dumps(whole)
        if not name.startswith("samples_"):
            return text
        lines = [json.loads(line) for line in text.splitlines()]
        for line in lines:
            of_question = [json.loads(one) for one in line["filtered_resps"][0]]
            for one in of_question:
                one["scores"] = {"exact_match": float(next(scores) % 4 + 2)}  # 2, 3, 4, 5
            line["filtered_resps"][0] = [json.dumps(one) for one in of_question]
        return "".join(json.dumps(line) + "\n" for line in lines)

    found = write(changed(out, tmp_path / "less", change), tmp_path / "c")
    (task,) = found["tasks"]
    assert (task["binary"], task["shares"], task["higher_is_better"]) == (False, False, False)
    metrics = task["arms"]["a"]["metrics"]
    assert metrics["best@4"]["estimate"] == 2.0 and metrics["mean"]["estimate"] == 3.5
    assert not any(name.startswith(("pass@", "maj@")) for name in metrics)
    assert "points" not in task["sentence"]


def test_questions_that_could_not_be_scored_make_the_exit_code_3(out, tmp_path, capsys):
    import shutil

    for arm in ("stock_T=0.7", "population_greedy"):
        shutil.copytree(out / "arms" / arm, tmp_path / arm)
    for path in (tmp_path / "population_greedy").rglob("results_*"):
        whole = json.loads(path.read_text())
        whole["config"]["btrans_scores"] = {"failed_questions": {"one": 2}}
        path.write_text(json.dumps(whole))
    runs = [str(tmp_path / arm) for arm in ("stock_T=0.7", "population_greedy")]
    with pytest.raises(SystemExit) as ended:
        main(["compare", *runs, "--output_path", str(tmp_path / "c"), "--no_report"])
    assert ended.value.code == 3
    assert "count as wrong (population_greedy: 2)" in capsys.readouterr().err
    assert comparison(tmp_path / "c")["tasks"]  # all is written


def test_an_interrupted_comparison_ends_with_one_line(place, tmp_path, monkeypatch, capsys):
    from btrans_eval.model_adapters.hf.engine import HFEngine

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(HFEngine, "generate", interrupted)
    with pytest.raises(SystemExit) as ended:
        command(place, tmp_path / "i", "--limit", "2")
    assert ended.value.code == 130
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("btrans-eval: interrupted; what was generated is in ")


def test_a_data_set_out_of_reach_is_one_line(place, tmp_path, capsys):
    (tmp_path / "far.yaml").write_text(
        (place / "one.yaml").read_text().replace("task: one", "task: far")
        .replace("dataset_path: json", "dataset_path: nobody/far-away")
    )  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        command(place, tmp_path / "o", "--tasks", "far", "--include_path", str(tmp_path))
    assert ended.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("btrans-eval: tasks: a data set could not be loaded (")
    assert "nobody/far-away" in said


def test_examples_that_the_harness_would_leave_out_are_refused(place, tmp_path, capsys):
    text = (place / "one.yaml").read_text().replace("task: one", "task: none\nnum_fewshot: 0")
    (tmp_path / "none.yaml").write_text(text)
    given = ["--tasks", "none", "--include_path", str(tmp_path), "--num_fewshot", "2"]
    with pytest.raises(SystemExit) as ended:
        command(place, tmp_path / "o", *given)
    assert ended.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("btrans-eval: num_fewshot: none says 0 itself") and "got 2" in said
    assert not (tmp_path / "o").exists()


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
        (
            ["p.yaml", "--output_path", "o", "--limit", "1"],
            "limit: --limit is not taken beside p.y",
        ),
        (["p.yaml", "--output_path", "o", "--repeats", "8"], "repeats: --repeats is not taken"),
        (["p.yaml", "--output_path=o", "--model_args", "pretrained=m"], "model_args: --model_args"),
        (["p.yaml", "--output_path", "o", "--apply_chat_template"], "apply_chat_template: --app"),
        (["x/a", "x/b", "--output_path", "o", "--arms", "stock"], "arms: --arms is not taken"),
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
    assert list(tmp_path.iterdir()) == []  # nothing is left behind
