"""The report of a comparison: its numbers, its files, and what hostile texts do to it."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from pathlib import Path

import finished_runs
import numpy as np
import pytest

from btrans_eval import embeddings
from btrans_eval.errors import UserError
from btrans_eval.report.report import write
from btrans_eval.report.text import file_name, number, span


def letters(texts, encoder):
    """An encoder without a model: how often each hexadecimal digit is in a text."""
    return np.array([[text.count(one) for one in "0123456789abcdef"] for text in texts], float)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("study")
    comparison = finished_runs.study(folder)
    (folder / "compare.yaml").write_text("tasks: [sums]  # <b>\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embeddings, "embed", letters)
        write(folder)
    return folder, comparison


def row(folder: Path, table: str, name: str) -> str:
    lines = (folder / "report" / f"{table}.md").read_text().splitlines()
    return next(line for line in lines if line.startswith(f"| {name} |"))


def test_headline_shows_the_comparisons_numbers(written):
    folder, comparison = written
    for name, arm in comparison["tasks"][0]["arms"].items():
        metrics = arm["metrics"]
        shown = [metrics["mean"]]
        shown += [metrics["maj@4"], metrics["pass@4"]] if arm["calls"] > 1 else []
        for one in shown:
            cell = f"{100 * one['estimate']:.1f}% [{100 * one['low']:.1f} to "
            cell += f"{100 * one['high']:.1f}]"
            assert cell in row(folder, "headline_sums", name)
    reference = row(folder, "headline_sums", "stock_greedy")
    assert "| 1 call |" in reference
    assert reference.endswith("| – | – |")


def test_every_column_of_every_table_has_a_head(written):
    folder, _ = written
    tables = {path.stem: path.read_text() for path in (folder / "report").glob("*.md")}
    kinds = {"headline", "primary", "exploratory", "confidence", "variance", "members", "facts"}
    assert kinds <= {name.partition("_")[0] for name in tables}
    for name, text in tables.items():
        lines = [
            [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in text.splitlines()
        ]
        assert all(lines[0]), f"{name} has a column without a head"
        assert len(set(map(len, lines))) == 1 and len(lines) > 2, name
    page = (folder / "report.html").read_text()
    assert not re.search(r"<th scope=\"col\">\s*</th>", page)


def test_differences_of_confidence_stand_under_what_they_are(written):
    folder, comparison = written
    head, _, first, *_ = (folder / "report" / "confidence_pairs_sums.md").read_text().splitlines()
    assert head == "| difference | measure | estimate |"
    pair = comparison["tasks"][0]["confidence_pairs"][0]
    assert (pair["figure"], first.split(" | ")[:2]) == (
        "brier", [f"| {pair['a']} − {pair['b']}", "Brier score"]
    )  # fmt: skip
    assert first.split(" | ")[2].startswith(f"{pair['difference']:+.3f}".replace("-", "−"))


def test_csv_holds_the_numbers_whole(written):
    folder, comparison = written
    with (folder / "report" / "headline_sums.csv").open(newline="") as lines:
        found = {(line["arm"], line["metric"]): line for line in csv.DictReader(lines)}
    for name, arm in comparison["tasks"][0]["arms"].items():
        for metric, one in arm["metrics"].items():
            assert float(found[name, metric]["estimate"]) == one["estimate"]
            assert float(found[name, metric]["low"]) == one["low"]


def test_tests_are_primary_with_holm_or_exploratory(written):
    folder, comparison = written
    pairs = comparison["tasks"][0]["pairs"]
    with (folder / "report" / "primary_sums.csv").open(newline="") as lines:
        primary = list(csv.DictReader(lines))
    wanted = [pair for pair in pairs if pair["primary"]]
    assert [float(one["p_holm"]) for one in primary] == [pair["p_holm"] for pair in wanted]
    shown = (folder / "report" / "primary_sums.md").read_text()
    for pair in wanted:
        assert number(pair["difference"], percent=True, signed=True) in shown
        assert span(pair, percent=True, signed=True) in shown
    exploratory = (folder / "report" / "exploratory_sums.md").read_text()
    assert "Holm" not in exploratory
    assert len(exploratory.splitlines()) == 2 + len(pairs) - len(wanted)


def test_the_page_opens_with_accuracy_against_calls_then_the_sentence_then_the_table(written):
    folder, comparison = written
    page = (folder / "report.html").read_text()
    results = page[page.index('<section id="results">') :]
    of_sums = results[: results.index("</article>")]
    places = [of_sums.index("<svg"), of_sums.index('class="sentence"'), of_sums.index("<table")]
    assert places == sorted(places)
    picture = of_sums[places[0] : places[1]]
    assert "Accuracy against calls" in picture
    assert all(name in picture for name in comparison["tasks"][0]["arms"])  # the legend
    rest = results[len(of_sums) :]
    of_stories = rest[: rest.index("</article>")]
    assert "<svg" not in of_stories  # nothing scores a story


def test_responses_that_do_not_vote_open_with_the_score_of_one_call(tmp_path):
    finished_runs.study(tmp_path, tasks=["sums"])
    for file in (tmp_path / "arms").rglob("samples_*.jsonl"):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        for row in rows:
            each = [{**json.loads(one), "class": None} for one in row["filtered_resps"][0]]
            row["filtered_resps"] = [[json.dumps(one) for one in each]]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arms = {name: tmp_path / "arms" / name for name in finished_runs.ARMS}
    finished_runs.write_comparison(tmp_path, arms)
    write(tmp_path, None)
    names = {path.stem for path in (tmp_path / "report").glob("*.svg")}
    assert "curves_mean_sums" in names and "curves_maj_sums" not in names


def test_print_folds_details_and_leaves_the_questions_out(written):
    page = (written[0] / "report.html").read_text()
    printed = page[page.index("@media print") : page.index("</style>")]
    hidden = printed[: printed.index("display: none")]
    assert ".questions" in hidden and ".next" in hidden
    assert "beforeprint" not in page and "<details open" not in page


def test_page_says_the_sentence_and_calls_pass_an_oracle(written):
    folder, comparison = written
    page = (folder / "report.html").read_text()
    for task in comparison["tasks"]:
        assert task["sentence"] in page
    assert "pass@K, oracle" in page
    assert 'class="warning"' not in page


def test_members_are_the_comparisons(written):
    folder, comparison = written
    with (folder / "report" / "members_sums_population_greedy.csv").open(newline="") as lines:
        found = [float(line["estimate"]) for line in csv.DictReader(lines)]
    members = comparison["tasks"][0]["arms"]["population_greedy"]["members"]
    assert found == [one["mean"] for one in members]


def payloads(page: str) -> list[dict]:
    """What the page's script reads of each task."""
    blocks = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    return [json.loads(block) for block in blocks]


def test_questions_tell_how_sure_each_vote_is(written):
    folder, comparison = written
    page = (folder / "report.html").read_text()
    sums, stories = payloads(page)
    names = [arm["name"] for arm in sums["arms"]]
    assert [names[place] for place in sums["doubting"]] == [
        "stock_sampled", "population_greedy", "population_sampled",
    ]  # fmt: skip
    assert names[sums["first"]] == "population_greedy"
    chosen = f'<option value="{sums["first"]}" selected>least sure first: population_greedy<'
    assert page.count(" selected>") == 1 and chosen in page
    metrics = comparison["tasks"][0]["arms"]
    for place, name in enumerate(names):
        of_arm = [row["arms"][place] for row in sums["rows"]]
        if place not in sums["doubting"]:
            assert {(one["share"], one["entropy"]) for one in of_arm} == {(None, None)}
            continue
        for one in of_arm:
            labels = [response[2] for response in one["all"]]
            valid = [label for label in labels if label is not None]
            votes = max((valid.count(label) for label in valid), default=0)
            assert one["share"] == votes / 4
        for column, field in {
            "vote_share": "share",
            "answer_entropy": "entropy",
            "maj@4": "vote",
        }.items():
            mean = np.mean([one[field] for one in of_arm])
            assert metrics[name]["metrics"][column]["estimate"] == pytest.approx(mean)
    assert stories["doubting"] == [] and stories["first"] == -1
    assert {one["share"] for row in stories["rows"] for one in row["arms"]} == {None}


def test_a_vote_without_any_valid_answer_is_the_least_sure_and_wrong(tmp_path):
    comparison = finished_runs.study(tmp_path, tasks=("sums",))
    file = tmp_path / "arms" / "population_greedy" / "samples_sums_2026.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    none = {"answer": None, "class": None, "scores": {"score": 0.0}}
    rows[3]["filtered_resps"] = [
        [json.dumps(json.loads(one) | none) for one in rows[3]["filtered_resps"][0]]
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    finished_runs.write_comparison(
        tmp_path, {arm["name"]: Path(arm["folder"]) for arm in comparison["arms"]}
    )
    (sums,) = payloads(write(tmp_path, None).read_text())
    asked = next(row for row in sums["rows"] if row["id"] == 3)
    found = asked["arms"][sums["first"]]
    assert (found["vote"], found["share"], found["entropy"]) == (0.0, 0.0, 0.0)


def test_pictures_are_there_as_svg_and_png_with_hints(written):
    folder, _ = written
    names = {path.stem for path in (folder / "report").glob("*.svg")}
    assert {"curves_pass_sums", "curves_maj_sums", "diversity_sums"} <= names
    assert sum(name.startswith("plane_") for name in names) == 4
    assert names == {path.stem for path in (folder / "report").glob("*.png")}
    page = (folder / "report.html").read_text()
    assert page.count("<svg") == len(names)
    assert re.search(r"<title>population_greedy, \d of 4: a story about", page)
    assert "first component, " in page


def test_page_loads_nothing(written):
    page = (written[0] / "report.html").read_text()
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#|data:)""", page)
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)", page)
    outside = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert "http://" not in outside and "https://" not in outside


def test_ids_in_the_page_are_unique(written):
    page = (written[0] / "report.html").read_text()
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_same_input_gives_the_same_bytes(written, tmp_path, monkeypatch):
    folder, _ = written
    shutil.copytree(folder, tmp_path / "again", ignore=shutil.ignore_patterns("report*"))
    monkeypatch.setattr(embeddings, "embed", letters)
    write(tmp_path / "again")
    for file in [folder / "report.html", *(folder / "report").iterdir()]:
        copy = tmp_path / "again" / file.relative_to(folder)
        assert copy.read_bytes() == file.read_bytes(), file.name


def test_a_new_report_takes_the_place_of_the_last_and_of_nothing_else(tmp_path):
    finished_runs.study(tmp_path)
    write(tmp_path, None)
    files = tmp_path / "report"
    of_last = files / "curves_pass_sums.png"
    assert of_last.exists()
    (files / "mine.md").write_text("kept")
    (files / "stale.png").write_text("of another comparison")
    with (files / "files.txt").open("a") as listed:
        listed.write("stale.png\n../comparison.json\n")
    write(tmp_path, None)
    assert of_last.exists() and not (files / "stale.png").exists()
    assert (files / "mine.md").read_text() == "kept" and (tmp_path / "comparison.json").exists()


def test_without_an_encoder_the_plane_is_left_out(tmp_path, monkeypatch):
    def missing(texts, encoder):
        raise UserError("encoder: not here")

    finished_runs.study(tmp_path)
    monkeypatch.setattr(embeddings, "embed", missing)
    assert "Left out: encoder: not here." in write(tmp_path).read_text()
    assert "Left out as asked" in write(tmp_path, encoder=None).read_text()
    assert not list((tmp_path / "report").glob("plane_*"))


def hostile(folder: Path) -> Path:
    """A study whose texts, arms and folders are all out to break the page."""
    nasty = "</script><script>hacked()</script>|$x^2$ 🦙"
    runs = {}
    for name, sigma in ((nasty, 0.01), ("=1+1, <b>\nnew line", 0.0)):
        runs[name] = folder / ("<b> & " + str(len(runs)))
        finished_runs.write_run(
            runs[name], sigma, True, questions=4, failed=2, texts=finished_runs.NASTY
        )
    finished_runs.write_comparison(folder, runs)
    return folder


def test_texts_cannot_leave_their_place(tmp_path, monkeypatch):
    monkeypatch.setattr(embeddings, "embed", letters)
    page = write(hostile(tmp_path)).read_text()
    assert page.count("<script") == 3  # two tasks' questions and ours
    assert page.count("</script>") == 3
    for broken in ("<img", "<b>\n", "\x00", "\u2028"):
        assert broken not in page
    for rows in (each["rows"] for each in payloads(page)):
        texts = [text for one in rows for arm in one["arms"] for text in arm["texts"]]
        assert finished_runs.NASTY[0] in texts
        assert max(map(len, texts)) <= 4000 + len(" […]")
    assert "2 questions could not be scored" in page
    for file in (tmp_path / "report").iterdir():
        assert re.fullmatch(r"[\w.-]+", file.name)


def test_texts_that_are_one_point_to_the_encoder_have_no_plane(tmp_path, monkeypatch):
    finished_runs.study(tmp_path, tasks=("stories",))
    monkeypatch.setattr(embeddings, "embed", lambda texts, encoder: np.ones((len(texts), 4)))
    assert "to the encoder all texts are the same" in write(tmp_path).read_text()


def test_different_names_give_different_files():
    assert file_name("a b") != file_name("a_b") != file_name("a/b")
    assert "/" not in file_name("../../x") and not file_name("..").startswith(".")


def test_insisted_differences_stand_in_red(tmp_path):
    for place, name in enumerate(("a", "b")):
        finished_runs.write_run(tmp_path / name, 0.01 * place, True, questions=3 + place)
    finished_runs.write_comparison(tmp_path, {name: tmp_path / name for name in "ab"}, insist=True)
    page = write(tmp_path, None).read_text()
    assert page.index('class="warning"') < page.index("<h2>")
    assert "the arms answered different questions" in page


@pytest.mark.parametrize(
    ("tasks", "settings"),
    [
        (("stories",), {}),
        (("sums",), {"questions": 1}),
        (("sums", "more sums"), {"group": "pool"}),
        (("sums",), {"calls": 2}),
    ],
    ids=["diversity alone", "one question", "pooled", "two calls"],
)
def test_small_and_pooled_studies(tmp_path, tasks, settings):
    comparison = finished_runs.study(tmp_path, tasks=tasks, **settings)
    page = write(tmp_path, None).read_text()
    for task in comparison["tasks"]:
        assert task["sentence"] in page


def test_arms_may_lie_relative_to_the_comparison(tmp_path, monkeypatch):
    comparison = finished_runs.study(tmp_path, tasks=("sums",))
    for arm in comparison["arms"]:
        arm["folder"] = os.path.relpath(arm["folder"], tmp_path)
    (tmp_path / "comparison.json").write_text(json.dumps(comparison))
    assert write(tmp_path, None) == tmp_path / "report.html"


def test_refuses_what_is_no_comparison_or_of_other_runs(tmp_path):
    with pytest.raises(UserError, match="run compare first"):
        write(tmp_path)
    comparison = finished_runs.study(tmp_path, tasks=("sums",))
    comparison["tasks"][0]["questions"] += 1
    (tmp_path / "comparison.json").write_text(json.dumps(comparison))
    with pytest.raises(UserError, match="run compare again"):
        write(tmp_path)


def test_quarters_of_long_responses_have_a_table(tmp_path):
    folders = {}
    for name, (sigma, sampled) in list(finished_runs.ARMS.items())[1:3]:
        folders[name] = tmp_path / "arms" / name
        finished_runs.write_run(folders[name], sigma, sampled, tasks=["stories"])
        file = folders[name] / "samples_stories_2026.jsonl"
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        for place, each in enumerate(rows):
            of_row = {f"repetition_q{q}": (place + q) / 20 for q in (1, 2, 3, 4)}
            of_row |= {f"distinct_1_q{q}": 1 - (place + q) / 20 for q in (1, 2, 3, 4)}
            each |= of_row
            each["metrics"] += list(of_row)
        file.write_text("".join(json.dumps(each) + "\n" for each in rows))
    finished_runs.write_comparison(tmp_path, folders)
    assert "Over the length of the responses" in write(tmp_path, encoder=None).read_text()
    cells = row(tmp_path, "length_stories", "stock_sampled").split("|")
    shown = [cell.strip().split(" ")[0] for cell in cells[2:10]]
    assert shown == ["17.5%", "22.5%", "27.5%", "32.5%", "82.5%", "77.5%", "72.5%", "67.5%"]
