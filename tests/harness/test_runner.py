"""The runner with engines that are no model: what an engine must give, and what it gets for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import lm_eval
import pytest
import torch
from canned import dataset
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

from btrans_eval.config import PopulationConfig
from btrans_eval.harness.batches import Row
from btrans_eval.harness.memory import RowLimit
from btrans_eval.harness.response import Response
from btrans_eval.harness.runner import Runner
from btrans_eval.population.population import Population
from btrans_eval.scores.likelihood import log_mean


class Canned:
    """An engine: member k says the k-th text that a file has for the prompt."""

    name, context, shares_rows, row_limit = "canned", 5000, False, RowLimit()
    members_at_once = 1

    def __init__(self, texts: dict[str, list[str]]) -> None:
        self.texts, self.asked_for = texts, []

    def become(self, population: Population, config: PopulationConfig) -> None:
        self.population = population

    def facts(self) -> dict[str, Any]:
        return {"engine": "canned"}

    def arguments(self, request: Any) -> dict[str, Any]:
        return {"max_gen_toks": 8, "do_sample": False, **request.args[1]}

    def asked(self, request: Any) -> dict[str, Any]:
        return self.arguments(request)

    def length(self, request: Any) -> int:
        return len(request.args[0])

    def prompt_tokens(self, request: Any) -> list[int]:
        return [*request.args[0].encode()]

    def batching(self, request: Any) -> str:
        return "canned"

    def rows_at_once(self, longest: Any) -> int:
        return 2

    def generate(self, rows: Sequence[Row], order: Any) -> Iterator[list[tuple[Row, Response]]]:
        turns = order(rows)
        while taken := turns.take(1, 1):
            (row,) = taken
            self.asked_for.append((row.question.request.args[0], row.member))
            said = self.texts[row.question.request.args[0]][row.member]
            yield [(row, Response(said, len(said), False))]

    def answering(self, member: int | None) -> Any:
        return nullcontext()

    def batches(self, requests: Any, groups: Any, task: str, size: int | None) -> Any:
        return [groups]

    def score(self, requests: Any, rows: int | None) -> list[tuple[float, bool]]:
        return [(-float(len(continuation)), True) for _, _, continuation in requests]


@pytest.fixture(scope="module")
def population() -> Population:
    from models import BY_NAME

    torch.manual_seed(0)
    return Population(BY_NAME["llama"].build(), sigma=0.1)


def request(prompt: str, repeats: int = 1, answer: str = "7") -> Any:
    return SimpleNamespace(
        args=(prompt, {"until": []}), repeats=repeats, task_name="toy", doc={"answer": answer},
        doc_id=0, idx=0,
    )  # fmt: skip


def test_a_vote_and_all_responses_without_lm_eval(population):
    engine = Canned({"a": ["7", "8", "8"], "b": ["1", "2", "3"]})
    runner = Runner(engine, population, PopulationConfig(sigma=0.1, members=3))
    one, all_of_b = request("a"), request("b", repeats=3)
    assert runner.generate([one, all_of_b, all_of_b, all_of_b], disable_tqdm=True) == [
        "8", "1", "2", "3",
    ]  # fmt: skip
    assert sorted(engine.asked_for) == [(p, member) for p in "ab" for member in range(3)]
    told = runner.info()
    assert told["model"] == "canned" and told["tasks"]["toy"]["batching"] == "canned"


def test_the_one_response_of_a_model_without_noise_is_no_vote():
    from models import BY_NAME

    alone = Population(BY_NAME["llama"].build(), sigma=0.0)
    engine = Canned({"a": ["7", "8", "8"], "b": ["7", "8", "8"]})
    runner = Runner(engine, alone, PopulationConfig(sigma=0.0, members=3))
    assert runner.generate([request("a")], disable_tqdm=True) == ["7"]
    assert engine.asked_for == [("a", 0)]
    assert runner.info()["tasks"]["toy"]["returned"] == "first"


def test_what_is_stored_is_not_asked_again(population, tmp_path):
    engine = Canned({"a": ["7", "8", "8"]})
    config = PopulationConfig(sigma=0.1, members=3, store=str(tmp_path / "s.sqlite"))
    first = Runner(engine, population, config)
    assert first.generate([request("a")], disable_tqdm=True) == ["8"]
    again = Runner(engine, population, config, before=first)
    assert again.generate([request("a")], disable_tqdm=True) == ["8"]
    assert len(engine.asked_for) == 3


class Mixed(Canned):
    """Scores two members in one batch: each says its number more than the tokens' sum."""

    members_at_once = 2

    def __init__(self) -> None:
        super().__init__({})
        self.batches_of: list[tuple[list[int], list[list[int]]]] = []

    def score_each(self, requests: Any, members: Any) -> dict[int, list[tuple[float, bool]]]:
        fed = [context + continuation for _, context, continuation in requests]
        self.batches_of.append((list(members), fed))
        return {m: [(-float(m + sum(each)), m == 0) for each in fed] for m in members}

    def answering(self, member: int | None) -> Any:
        self.member = member
        return nullcontext()

    def score(self, requests: Any, rows: int | None) -> list[tuple[float, bool]]:
        return self.score_each(requests, [self.member])[self.member]


def scored_by_members(engine: Mixed, population: Population, **own: Any) -> Any:
    """What a runner of this engine makes of three requests; its harness asks for two at a time."""
    config = PopulationConfig(sigma=0.1, members=3, **own)
    runner = Runner(engine, population, config)
    runner.is_never_scored = config.shard is not None

    def score(requests: Any, disable_tqdm: bool) -> Any:
        tokens = [(None, [1, each.idx], [2]) for each in requests]
        return [s for start in (0, 2) for s in runner.score_tokens(tokens[start : start + 2], True)]

    asked = [SimpleNamespace(**{**vars(request("a")), "idx": idx}) for idx in (5, 6, 7)]
    return runner.loglikelihood(score, asked, True)


def test_members_are_scored_as_many_at_a_time_as_the_engine_can(population, tmp_path):
    engine = Mixed()
    scores = scored_by_members(engine, population)
    first, last = [[1, 5, 2], [1, 6, 2]], [[1, 7, 2]]
    # a batch holds two rows: one request of two members, or two of the third, who is alone
    assert engine.batches_of == [
        ([0, 1], first[:1]), ([0, 1], first[1:]), ([0, 1], last), ([2], first), ([2], last),
    ]  # fmt: skip
    expected = [log_mean([-3.0 - idx - member for member in range(3)]) for idx in (5, 6, 7)]
    assert [value for value, _ in scores] == pytest.approx(expected)
    assert not any(greedy for _, greedy in scores)

    store = str(tmp_path / "scores.sqlite")
    again, engine = Mixed(), Mixed()
    assert scored_by_members(engine, population, store=store) == scores
    assert scored_by_members(again, population, store=store) == scores and not again.batches_of


def test_members_of_a_part_are_scored_one_after_another(population, tmp_path):
    engine = Mixed()
    scored_by_members(engine, population, store=str(tmp_path / "s.sqlite"), shard="1/2")
    assert engine.batches_of and all(len(members) == 1 for members, _ in engine.batches_of)


class CannedLM(LM):
    """A model type of the harness on that engine."""

    def __init__(self, texts: dict[str, list[str]], population: Population) -> None:
        super().__init__()
        self.runner = Runner(Canned(texts), population, PopulationConfig(sigma=0.1))

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[Response]:
        return self.runner.generate(requests, disable_tqdm)

    def loglikelihood(self, requests: Any) -> Any:
        raise NotImplementedError

    loglikelihood_rolling = loglikelihood

    def get_model_info(self) -> dict[str, Any]:
        return {"btrans": self.runner.info()}


def test_a_new_engine_runs_a_population_task(population, tmp_path, monkeypatch):
    rows = [{"question": f"Q{n}", "answer": f"work\n#### {n}"} for n in range(2)]
    dataset(tmp_path, "openai/gsm8k", "test", rows, config="main", also=("train",))
    monkeypatch.chdir(tmp_path)
    (task,) = TaskManager().load(["btrans_gsm8k"])["tasks"].values()
    prompts = [task.doc_to_text(row) for row in rows]
    texts = {prompt: [str(n)] * 12 + ["9"] * 4 for n, prompt in enumerate(prompts)}
    lm = CannedLM(texts, population)
    results = lm_eval.simple_evaluate(lm, tasks=[task], bootstrap_iters=0)
    found = results["results"]["btrans_gsm8k"]
    assert found["mean,population"] == 12 / 16 and found["maj@16,population"] == 1.0
    assert results["config"]["btrans"]["tasks"]["btrans_gsm8k"]["members"] == 16
