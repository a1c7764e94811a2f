"""Parts of a run on several machines: generated without a score, joined, and scored once."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import tiny_checkpoint
import toy_task
from engine import generation, population_lm
from real import results

from btrans_eval.cli import main
from btrans_eval.errors import UserError
from btrans_eval.store.store import Store

LIKELIHOOD = """
task: guess
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{prompt}}}}"
doc_to_choice: [w5, "w6 w7", w8]
doc_to_target: 1
num_fewshot: 0
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""
QUESTIONS, MEMBERS, PARTS = 2, 5, 4


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    tiny_checkpoint.save(folder / "model")
    prompts = [" ".join(["w5"] * (n + 1)) for n in range(QUESTIONS)]
    toy_task.write(
        folder, prompts, "w5", generation="max_gen_toks: 9, do_sample: true, temperature: 1.0"
    )
    (folder / "guess.yaml").write_text(LIKELIHOOD.format(rows=folder / "toy.jsonl"))
    return folder


def run(place: Path, out: Path, *flags: str) -> None:
    main([
        "run", "--model", "btrans-hf", "--tasks", "toy,guess", "--include_path", str(place),
        "--model_args", f"pretrained={place / 'model'},sigma=0.5,members={MEMBERS}",
        "--device", "cpu", "--batch_size", "4", "--output_path", str(out), "--log_samples", *flags,
    ])  # fmt: skip


def counts(path: Path) -> tuple[int, int]:
    store = Store(path)
    found = [
        store._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("responses", "likelihoods")
    ]
    store.close()
    return found[0], found[1]


def test_parts_of_several_machines_make_the_run(place, tmp_path, capsys, monkeypatch):
    """With more parts than questions: every part has its share of the members."""
    from btrans_eval.model_adapters.hf.engine import HFEngine

    run(place, tmp_path / "whole", "--store", str(tmp_path / "whole.db"))
    capsys.readouterr()
    parts = [tmp_path / f"{part}.db" for part in range(1, PARTS + 1)]
    for part, path in enumerate(parts, 1):
        run(place, tmp_path / "parts", "--store", str(path), "--shard", f"{part}/{PARTS}")
        printed = capsys.readouterr().out
        assert f"part {part} of {PARTS} is in {path}; nothing was scored" in printed
        assert "|toy" not in printed.replace(" ", "")
        assert not list((tmp_path / "parts").rglob("*.json*"))
    texts, likelihoods = zip(*map(counts, parts), strict=True)
    assert sum(texts) == QUESTIONS * MEMBERS and max(texts) - min(texts) <= 1
    assert sum(likelihoods) == 3 * QUESTIONS * MEMBERS and max(likelihoods) <= 3 * 3
    main(["store", "merge", str(tmp_path / "all.db"), *map(str, parts)])
    assert counts(tmp_path / "all.db") == counts(tmp_path / "whole.db")
    for name in ("generate", "score"):
        monkeypatch.setattr(HFEngine, name, lambda *a, **k: pytest.fail("generated again"))
    run(place, tmp_path / "joined", "--store", str(tmp_path / "all.db"))
    assert results(tmp_path / "joined")["results"] == results(tmp_path / "whole")["results"]


@pytest.mark.parametrize("shard", ["0/4", "5/4", "2", "1/0", "a/b", "-1/4"])
def test_a_part_that_is_none_is_refused(place, tmp_path, capsys, shard):
    with pytest.raises(SystemExit) as ended:
        run(place, tmp_path / "o", "--store", str(tmp_path / "s.db"), f"--shard={shard}")
    assert ended.value.code == 2
    assert "shard: must be i/n, with i from 1 to n" in capsys.readouterr().err


def test_a_part_needs_a_store(place, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        run(place, tmp_path / "o", "--shard", "1/2")
    assert ended.value.code == 2
    assert "shard: goes with store=FILE" in capsys.readouterr().err


def test_a_part_is_the_same_work_for_any_number_of_processes():
    """So it can be begun on two GPUs and go on with one."""
    from btrans_eval.harness.ranks import Ranks

    for processes in ((1, 2, 3), (4, 1, 2)):
        rows = [
            turn
            for part, size in enumerate(processes)
            for rank in range(size)
            for mine, of_all in [Ranks(rank, size).share((part, 3))]
            for turn in range(50)
            if turn % of_all == mine
        ]
        assert sorted(rows) == list(range(50))


def test_tasks_of_an_older_call_of_the_harness_are_not_scored_either(place, tmp_path):
    import lm_eval
    from lm_eval.tasks import TaskManager, get_task_dict

    from btrans_eval.harness.part import PartIsDone

    lm = population_lm(str(place / "model"), store=str(tmp_path / "s.db"), shard="1/2")
    tasks = get_task_dict(["toy"], TaskManager(include_path=str(place)))
    with pytest.raises(PartIsDone):
        lm_eval.evaluate(lm, tasks)
    assert counts(tmp_path / "s.db")[0] > 0
    with pytest.raises(UserError, match="shard: works where"):  # and not from now on
        lm.generate_until(generation())


def test_a_part_is_not_handed_to_who_would_score_it(place, tmp_path, caplog):
    lm = population_lm(str(place / "model"), store=str(tmp_path / "s.db"), shard="1/2")
    with caplog.at_level(logging.WARNING), pytest.raises(UserError, match="shard: works where"):
        lm.generate_until(generation())
    assert counts(tmp_path / "s.db") == (0, 0)
