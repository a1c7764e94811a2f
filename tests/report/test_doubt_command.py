"""``btrans-eval doubt`` and ``abstain`` over runs of multiple choice, from the files they left."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from pathlib import Path

import finished_runs
import numpy as np
import pytest
import tiny_checkpoint
import toy_task
from lm_eval.__main__ import cli_evaluate

from btrans_eval.cli import main
from btrans_eval.compare.doubt import examine, kept_of
from btrans_eval.results.likelihoods import load_population, load_single
from btrans_eval.scores.choices import choices, figures, measured
from btrans_eval.scores.doubt import doubt, summary
from btrans_eval.scores.folds import resamples
from btrans_eval.scores.uncertainty import auroc, ends

KINDS = 3
WITH_STOCK = ("population", "stock")


def write_run(
    folder: Path,
    members: int,
    questions: int = 24,
    seed: int = 0,
    sigma: float | None = 0.01,
    change=lambda q, table, row: None,
) -> list[tuple[np.ndarray, int]]:
    """A run as the harness leaves it; each question's likelihoods (members, choices) and gold."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(seed)
    used = {} if sigma is None else {"btrans": {"sigma": sigma, "mu": 0.0}}
    document = {
        "results": {"quiz": {}},
        "configs": {"quiz": {"output_type": "multiple_choice"}},
        "config": {"model": "btrans-hf", "model_args": {}, **used},
        "model_name": "org/tiny",
    }
    (folder / "results_2026.json").write_text(json.dumps(document))
    samples, lines, found = [], [], []
    for q in range(questions):
        gold = q % KINDS
        table = draw.normal(-20, 2, (members, KINDS))
        table[:, gold] += 1.5
        doc = {"q": q}
        digest = hashlib.sha256(json.dumps(doc).encode()).hexdigest()
        mean = np.log(np.exp(table).mean(axis=0))
        row = {
            "doc_id": q, "doc": doc, "target": str(gold), "doc_hash": digest, "filter": "none",
            "arguments": {
                f"gen_args_{c}": {"arg_0": f"Q{q}", "arg_1": f" choice {c}"} for c in range(KINDS)
            },
            "filtered_resps": [[str(each), "False"] for each in mean],
            "metrics": ["acc"], "acc": float(mean.argmax() == gold),
        }  # fmt: skip
        change(q, table, row)
        samples.append(row)
        lines += [
            {"task": "quiz", "doc_id": q, "doc_hash": digest, "idx": c,
             "members": [[value, False] for value in table[:, c].tolist()]}
            for c in range(KINDS)
        ]  # fmt: skip
        found.append((table, gold))
    (folder / "samples_quiz_2026.jsonl").write_text("".join(json.dumps(r) + "\n" for r in samples))
    if members > 1:
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "members_2026_1.jsonl").write_text(text)
    return found


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    population = write_run(folder / "population", 4)
    stock = write_run(folder / "stock", 1, seed=9, sigma=None)
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr("builtins.print", lambda text, **_: said.append(text))
        main([
            "doubt", str(folder / "population"), "--against", str(folder / "stock"), "--output",
            str(folder / "out"),
        ])  # fmt: skip
    found = json.loads((folder / "out" / "doubt.json").read_text())
    return folder, population, stock, found, said[0]


def test_figures_are_those_of_the_files(told):
    _, population, stock, found, _ = told
    (task,) = found["tasks"]
    assert (task["questions"], task["left_out"], task["folds"]) == (24, {}, 5)
    for arm, tables in (("population", population), ("stock", stock)):
        figures = task["arms"][arm]["figures"]
        expected = summary([doubt(table, gold) for table, gold in tables])
        for name in ("accuracy", "nll", "brier", "ece_20", "auroc_entropy"):
            assert figures[name]["estimate"] == pytest.approx(expected[name]), name
        assert figures["ece_20"]["low"] is None
        assert figures["nll"]["low"] < figures["nll"]["estimate"] < figures["nll"]["high"]
    own = [summary([doubt(t[m : m + 1], gold) for t, gold in population]) for m in range(4)]
    for name in ("accuracy", "nll", "brier", "ece_20", "auroc_entropy"):
        mean = np.mean([one[name] for one in own])
        assert task["arms"]["member"]["figures"][name]["estimate"] == pytest.approx(mean)
    assert "auroc_epistemic" not in task["arms"]["stock"]["figures"]


def test_the_scaled_model_is_scaled_on_other_questions(told):
    _, _, stock, found, _ = told
    arms = found["tasks"][0]["arms"]
    assert len(arms["stock_scaled"]["temperatures"]) == 5
    assert arms["stock"]["temperatures"] is None
    low, high = min(arms["stock_scaled"]["temperatures"]), max(arms["stock_scaled"]["temperatures"])

    def nll(temperature):
        return summary([doubt(t / temperature, gold) for t, gold in stock])["nll"]

    scaled = arms["stock_scaled"]["figures"]
    assert scaled["nll"]["estimate"] > min(nll(t) for t in np.linspace(low, high, 60))
    # one temperature a fold moves no choice of one model
    assert scaled["accuracy"] == arms["stock"]["figures"]["accuracy"]


def test_differences_are_paired(told):
    task = told[3]["tasks"][0]
    pairs = {(each["a"], each["b"]) for each in task["differences"]}
    assert ("population_scaled", "stock_scaled") in pairs and ("stock_scaled", "stock") in pairs
    for each in task["differences"]:
        a, b = (task["arms"][each[side]]["figures"][each["figure"]] for side in "ab")
        assert each["difference"] == pytest.approx(a["estimate"] - b["estimate"])
        assert each["figure"] != "ece_20" and each["low"] <= each["high"]


def test_the_same_draws_are_taken_for_both(tmp_path):
    """A population whose members all are the stock model differs from it in no draw."""
    tables = [table for table, _ in write_run(tmp_path / "stock", 1, sigma=None)]

    def repeat(q, table, row):
        table[:] = tables[q]
        row["acc"] = float(tables[q][0].argmax() == q % KINDS)
        row["filtered_resps"] = [[str(each), "False"] for each in tables[q][0]]

    write_run(tmp_path / "population", 4, seed=1, change=repeat)
    runs = load_population(tmp_path / "population"), load_single(tmp_path / "stock")
    found = examine(*runs, kept_of(*runs))
    (task,) = found["tasks"]
    pairs = [each for each in task["differences"] if (each["a"], each["b"]) == WITH_STOCK]
    assert {each["figure"] for each in pairs} >= {"nll", "brier", "auroc_entropy"}
    for each in pairs:
        assert each["difference"] == pytest.approx(0)
        if each["figure"] != "accuracy":
            assert (each["low"], each["high"]) == (None, None), each["figure"]
    nll = task["arms"]["population"]["figures"]["nll"]
    assert nll["low"] < nll["high"]


def test_the_squared_error_is_told_without_what_drawing_adds(told):
    _, population, _, found, _ = told
    name = "squared_error_20"
    given = choices([table for table, _ in population], [gold for _, gold in population])
    drawn = figures(measured(given), resamples(1000, 24), True)[name]
    (value,) = figures(measured(given), np.arange(24)[None], True)[name]
    low, high = ends(drawn - (np.nanmean(drawn) - value))
    told_of = found["tasks"][0]["arms"]["population"]["figures"][name]
    assert told_of == pytest.approx({"estimate": value, "low": low, "high": high})
    assert abs(np.nanmean(drawn) - value) > 0.01  # else nothing would have been left out


def test_tables_and_pictures_are_written(told):
    folder, _, _, found, said = told
    assert "| stock model, scaled | " in said and "| population − stock model | " in said
    share = found["tasks"][0]["arms"]["stock"]["figures"]["accuracy"]["estimate"]
    assert f"| stock model | {100 * share:.1f}% [" in said
    assert (folder / "out" / "doubt_quiz.svg").read_text().count("epistemic") == 1
    assert (folder / "out" / "doubt_quiz.png").stat().st_size > 1000


@pytest.mark.parametrize("kind", ["entropy", "epistemic", "probability"])
def test_the_surest_are_answered(told, capsys, kind):
    folder, population, *_ = told
    main(["abstain", str(folder / "population"), "--coverage", "0.5", "--by", kind])
    head, *rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (head["questions"], head["answered"], head["by"], head["arm"]) == (
        24, 12, kind, "population",
    )  # fmt: skip
    known = {q: doubt(*each) for q, each in enumerate(population)}
    sign = -1 if kind == "probability" else 1
    value = {
        q: one.mean.max() if kind == "probability" else getattr(one, kind)
        for q, one in known.items()
    }
    wanted = sorted(value, key=lambda q: -sign * value[q])
    assert [row["doc_id"] for row in rows] == wanted
    assert [row["answered"] for row in rows] == [False] * 12 + [True] * 12
    right = [float(known[q].mean.argmax() == known[q].gold) for q in wanted]
    assert [row["right"] for row in rows] == right
    assert head["right_of_answered"] == pytest.approx(np.mean(right[12:]))
    assert head["right_of_all"] == pytest.approx(np.mean(right))
    assert head["least_sure_answered"] == pytest.approx(value[wanted[12]])


def examined(capsys, tmp_path, *more: str) -> dict:
    main(["doubt", str(tmp_path / "run"), *more, "--output", str(tmp_path / "out")])
    capsys.readouterr()
    return json.loads((tmp_path / "out" / "doubt.json").read_text())["tasks"][0]


def test_what_cannot_be_used_is_counted(tmp_path, capsys):
    def change(q, table, row):
        if q == 3:
            table[0, 0] = math.nan
        if q in (4, 5):
            row["target"] = "[0, 1]"
        if q == 6:
            row["target"] = "9"

    tables = write_run(tmp_path / "run", 3, change=change)
    task = examined(capsys, tmp_path)
    assert task["questions"] == 20
    assert task["left_out"] == {
        "several right choices, or none": 3,
        "likelihoods that are no numbers, or a single choice": 1,
    }
    kept = [each for q, each in enumerate(tables) if q not in (3, 4, 5, 6)]
    expected = summary([doubt(*each) for each in kept])["nll"]
    assert task["arms"]["population"]["figures"]["nll"]["estimate"] == pytest.approx(expected)


@pytest.mark.parametrize("right", [True, False])
def test_all_right_and_all_wrong_have_no_ranking_and_say_so(tmp_path, capsys, right):
    def change(q, table, row):
        table[:, q % KINDS] += 50 if right else -50
        row["acc"] = float(right)
        row["filtered_resps"] = [[str(v), "False"] for v in table.mean(axis=0)]

    write_run(tmp_path / "run", 3, change=change)
    figures = examined(capsys, tmp_path)["arms"]["population"]["figures"]
    for name in ("auroc_entropy", "auroc_epistemic", "auroc_probability"):
        why = "all answers are right" if right else "no answer is right"
        assert figures[name] == {"estimate": None, "low": None, "high": None, "why": why}
    assert figures["accuracy"]["estimate"] == right
    assert figures["accuracy"]["low"] < figures["accuracy"]["high"]  # Wilson's: not sure of it


def test_a_temperature_without_a_best_one_is_warned_of(tmp_path, capsys):
    def change(q, table, row):
        """All right but one, by little: the fold that leaves it out wants T as small as can be."""
        table[:] = -20
        table[:, q % KINDS if q else 1] += 0.2

    write_run(tmp_path / "run", 3, questions=4, change=change)
    main(["doubt", str(tmp_path / "run")])
    said = capsys.readouterr().out
    assert "Temperature of the population, scaled: 0.01 to " in said
    assert (
        "Warning: population, scaled: in 1 of 4 folds no temperature from 0.01 to 100 fits best, "
        "as where all answers of the others are right; its figures mean little." in said
    )
    assert "| arm | accuracy |" in said and "|  |" not in said
    assert "Warning: 4 questions are few to fit a temperature to; have 50 or more." in said
    task = examined(capsys, tmp_path)
    assert len(task["warnings"]) == 2 and task["warnings"][0].startswith("population_scaled: in 1")
    assert task["arms"]["population_scaled"]["figures"]["nll"]["estimate"] > 4


def test_enough_questions_are_not_warned_of(tmp_path, capsys):
    write_run(tmp_path / "run", 3, questions=50)
    assert examined(capsys, tmp_path)["warnings"] == []


def test_one_question_bounds_nothing(tmp_path, capsys):
    write_run(tmp_path / "run", 3, questions=1)
    task = examined(capsys, tmp_path)
    assert set(task["arms"]) == {"population", "member"} and task["folds"] is None
    assert "two different questions" in task["why"] and task["warnings"] == []
    nll = task["arms"]["population"]["figures"]["nll"]
    assert nll["estimate"] > 0 and nll["low"] is None and nll["high"] is None


def test_a_gold_is_read_alike_in_all_rows(tmp_path, caplog):
    """A row alone may leave open whether 0 is a place or a text; the others do not."""
    words = ["1", "0", "2"][:KINDS]

    def texts(q, table, row):
        for c, word in enumerate(words):
            row["arguments"][f"gen_args_{c}"]["arg_1"] = f" {word}"
        likeliest = max(range(len(words)), key=lambda c: float(row["filtered_resps"][c][0]))
        row["target"], row["acc"] = words[q % KINDS], float(likeliest == q % KINDS)

    write_run(tmp_path / "texts", 2, change=texts)
    (questions,) = load_population(tmp_path / "texts").tasks.values()
    assert [one.gold for one in questions] == [q % KINDS for q in range(24)]
    assert not caplog.records

    def wrong(q, table, row):
        texts(q, table, row)
        row["target"], row["acc"] = "0", 0.0
        row["filtered_resps"] = [["-9", "False"], ["-9", "False"], ["-1", "False"]]

    write_run(tmp_path / "open", 2, questions=3, change=wrong)
    (questions,) = load_population(tmp_path / "open").tasks.values()
    assert {one.gold for one in questions} == {0}
    assert "numbers are taken" in caplog.text


def test_gold_may_be_a_text_or_a_list_of_one(tmp_path):
    def change(q, table, row):
        row["target"] = f"choice {q % KINDS}" if q % 2 else f"[{q % KINDS}]"

    write_run(tmp_path / "run", 2, change=change)
    (questions,) = load_population(tmp_path / "run").tasks.values()
    assert [one.gold for one in questions] == [q % KINDS for q in range(24)]


def test_numbers_that_are_choices_are_read_as_the_score_says(tmp_path):
    """Target 1 beside the choices 1, 0, 2: place 1, or the text 1 at place 0."""

    def change(q, table, row):
        for place, text in enumerate("102"):
            row["arguments"][f"gen_args_{place}"]["arg_1"] = f" {text}"
        row["target"] = "1"
        row["filtered_resps"] = [["-1.0", "False"], ["-2.0", "False"], ["-3.0", "False"]]
        row["acc"] = 1.0 if q else 0.0

    write_run(tmp_path / "run", 2, questions=2, change=change)
    (questions,) = load_population(tmp_path / "run").tasks.values()
    assert [one.gold for one in questions] == [1, 0]


def test_mutual_information_s_requests_are_not_choices(tmp_path):
    def change(q, table, row):
        row["metrics"] = ["acc", "acc_mutual_info"]
        for c in range(KINDS):
            own = {"arg_0": "", "arg_1": f" choice {c}"}
            row["arguments"][f"gen_args_{KINDS + c}"] = own
        row["filtered_resps"] = row["filtered_resps"] + [["-5.0", "False"]] * KINDS

    tables = write_run(tmp_path / "run", 1, sigma=0, change=change)
    (questions,) = load_single(tmp_path / "run").tasks.values()
    (row,) = questions[5].log_likelihoods
    assert row == pytest.approx(tables[5][0][0].tolist())


def mistake(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    told = capsys.readouterr().err.strip().splitlines()
    assert ended.value.code == 2 and len(told) == 1
    return told[0]


def test_mistakes_are_one_line(tmp_path, capsys):
    run = str(tmp_path / "run")
    write_run(tmp_path / "run", 3)
    write_run(tmp_path / "single", 1, sigma=None)
    write_run(tmp_path / "fewer", 1, sigma=None, questions=20)

    def reworded(q, table, row):
        row["arguments"]["gen_args_0"]["arg_0"] = "other words"

    write_run(tmp_path / "reworded", 1, sigma=None, change=reworded)
    assert "there is no members file" in mistake(capsys, "doubt", str(tmp_path / "single"))
    said = mistake(capsys, "doubt", run, "--against", str(tmp_path / "fewer"))
    assert "different questions of quiz (24 and 20, 20 shared)" in said
    said = mistake(capsys, "doubt", run, "--against", str(tmp_path / "reworded"))
    assert "in different words" in said
    said = mistake(capsys, "doubt", run, "--against", run)
    assert "is a population's run (sigma 0.01)" in said
    said = mistake(capsys, "abstain", run, "--arm", "stock")
    assert "leave --arm out" in said
    assert "cannot be written" in mistake(capsys, "doubt", run, "--output", "/proc/nowhere")
    assert "there is no results_*.json" in mistake(capsys, "abstain", str(tmp_path / "nothing"))
    finished_runs.study(tmp_path / "study", questions=4)
    for command in ("abstain", "doubt"):
        said = mistake(capsys, command, str(tmp_path / "study/arms/population_greedy"))
        assert "has no samples of a multiple_choice task (--log_samples), whose likelihoods" in said
        assert "btrans-eval compare RUN_A RUN_B --output_path OUT, then btrans-eval abs" in said
    lines = (tmp_path / "run" / "members_2026_1.jsonl").read_text().splitlines()
    (tmp_path / "run" / "members_2026_1.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    assert "lacks row 23 of quiz" in mistake(capsys, "doubt", run)
    one = [{**json.loads(line), "members": [[-1.0, False]]} for line in lines]
    text = "".join(json.dumps(line) + "\n" for line in one)
    (tmp_path / "run" / "members_2026_1.jsonl").write_text(text)
    assert "members: must be 2 or more" in mistake(capsys, "doubt", run)


def test_runs_of_the_harness_itself(tmp_path, capsys, monkeypatch):
    """A population and the harness's own model type over the same rows, as they write them."""
    tiny_checkpoint.save(tmp_path / "model")
    rows = [
        {"q": f"w{20 + n} w5", "choices": ["w7", "w8 w9", "w30"], "gold": n % 3} for n in range(12)
    ]
    toy_task.choices(tmp_path, rows)
    kinds = {"population": ("btrans-hf", ",sigma=0.8,members=4"), "stock": ("hf", ",dtype=float32")}
    for name, (kind, more) in kinds.items():
        monkeypatch.setattr(sys, "argv", [
            "lm_eval", "run", "--model", kind, "--tasks", "choices", "--include_path",
            str(tmp_path), "--model_args", f"pretrained={tmp_path / 'model'}{more}", "--device",
            "cpu", "--output_path", str(tmp_path / name), "--log_samples",
        ])  # fmt: skip
        cli_evaluate()
    (file,) = (tmp_path / "population").rglob("results_*.json")
    noted = json.loads(file.read_text())["config"]["btrans_scores"]["likelihoods"]["choices"]
    (tmp_path / "population").rename(tmp_path / "run")  # a run may be moved
    task = examined(capsys, tmp_path, "--against", str(tmp_path / "stock"))
    figures = task["arms"]["population"]["figures"]
    for name in ("accuracy", "nll", "brier", "ece_20", "auroc_entropy", "auroc_epistemic"):
        assert figures[name]["estimate"] == pytest.approx(noted[name]), name
    (stock,) = load_single(tmp_path / "stock").tasks.values()
    assert [one.gold for one in stock] == [row["gold"] for row in rows]
    alone = [doubt(one.log_likelihoods, one.gold) for one in stock]
    sure = [one.mean.max() for one in alone]
    right = [float(one.mean.argmax() == one.gold) for one in alone]
    told = task["arms"]["stock"]["figures"]["auroc_probability"]["estimate"]
    assert told == pytest.approx(auroc(sure, right))
