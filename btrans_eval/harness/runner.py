"""What answers the harness: a population on an engine, with store, log and processes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from btrans_eval import __version__
from btrans_eval.answers.extract import ANSWERS_SCHEME
from btrans_eval.config import PopulationConfig
from btrans_eval.errors import UserError
from btrans_eval.harness import record
from btrans_eval.harness.answering import Answering
from btrans_eval.harness.arguments import check_arguments, check_given
from btrans_eval.harness.batches import generation_key
from btrans_eval.harness.engine import STATIC, Engine, Scored, Tokens
from btrans_eval.harness.judging import judge_with
from btrans_eval.harness.likelihoods import Likelihoods
from btrans_eval.harness.part import check_never_scored
from btrans_eval.harness.plan import Question, count_members, plan_questions, share_of
from btrans_eval.harness.ranks import Ranks
from btrans_eval.harness.response import Response
from btrans_eval.harness.responses import open_log
from btrans_eval.harness.shelf import Shelf
from btrans_eval.harness.stopping import Votes
from btrans_eval.harness.verdict import all_line, answer_kind, judge, no_verdict
from btrans_eval.population.noise import SCHEME as NOISE_SCHEME
from btrans_eval.population.population import Population
from btrans_eval.population.streams import SCHEME as SAMPLING_SCHEME
from btrans_eval.scores.likelihood import log_mean
from btrans_eval.store.store import Store

logger = logging.getLogger(__name__)


class Runner:
    """Answers the harness's requests with the members of a population.

    Args:
        engine: what generates and scores.
        population: who answers.
        config: how many members, and how they stand for one response.
        ranks: the processes that share the work.
        calibration: how sigma was found, for the results file.
        responses: JSON-lines file for every member's response, or None.
        before: the runner of another population on this engine, which this one takes over from.

    Attributes:
        likelihoods: scores under each member.
    """

    def __init__(
        self,
        engine: Engine,
        population: Population,
        config: PopulationConfig,
        ranks: Ranks | None = None,
        calibration: dict[str, Any] | None = None,
        responses: str | None = None,
        before: Runner | None = None,
    ) -> None:
        self.engine, self.population, self.config = engine, population, config
        self.ranks = ranks or Ranks()
        self.calibration = calibration
        self.is_never_scored = False
        engine.become(population, config)
        for note in population.notes:
            logger.warning("%s", note)
        self._store: Store | None = _open_store(config.store, before._store if before else None)
        self.judge = judge_with(self._store)
        self._shelf = None
        # they are of the engine, and finding the weights' fingerprint takes a while
        self._facts: Mapping[str, Any] | None = before._facts if before is not None else None
        if self._store is not None:
            self._facts = self._facts or engine.facts()
            self._shelf = Shelf(self._store, engine.name, population, self._facts)
        if before is not None:
            before.close()
        if config.shard is not None:
            responses = None  # a part's questions are not whole
        self._log = open_log(responses, self.ranks, config.store is not None)
        self._used: dict[str, dict[str, Any]] = {}
        self._answering = Answering(engine, config, self.ranks, self._shelf, population.is_stock)
        self.likelihoods = Likelihoods(
            engine, config, self.ranks, self._shelf, population.is_stock, self._log
        )

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()

    # --------------------------------------------------------------- generation
    def generate(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[Response]:
        """Responses of the members, or the one that stands for them where a task wants one."""
        for request in {generation_key(each.args[1]): each for each in requests}.values():
            check_given(request.task_name, request.args[1])
        questions = plan_questions(requests, self.config, self._is_sampled)
        for question in {generation_key(q.request.args[1]): q for q in questions}.values():
            request = question.request
            arguments = self.engine.arguments(request)
            check_arguments(request.task_name, arguments, self.engine.context)
        for question in questions:
            # one response is nobody's vote: members that are the model itself give one
            is_voted = self._answering.rows_needed(question) > 1
            chosen = self.config.aggregate if is_voted else "first"
            self._note_use(question, "all" if question.wants_all else chosen)
            batching = self.engine.batching(question.request)
            self._used[str(question.request.task_name)]["batching"] = batching
        votes = Votes([q for q in questions if self._is_vote(q)], self.config, self.judge)
        is_static = any(self.engine.batching(q.request) == STATIC for q in votes.questions)
        answers = votes.answers(
            questions, lambda part, order: self._answering.answers(part, order, disable_tqdm),
            self.ranks.size, is_static,
        )  # fmt: skip
        if self.config.shard is not None:
            check_never_scored(self.is_never_scored)
            for _ in answers:
                pass  # each is in the store
            self.ranks.wait()  # the part is done when all processes are
            return [Response("", 0, False)] * len(requests)  # never scored
        returned: dict[int, Response] = {}
        finished: dict[int, dict[int, Response]] = {id(question): {} for question in questions}
        for row, text in answers:
            done = finished[id(row.question)]
            done[row.draw] = text
            is_whole = len(done) == self._answering.rows_needed(row.question)
            if self.ranks.size == 1 and is_whole:
                votes.count(row.question, done)
                returned.update(self._close(row.question, done))
        if self.ranks.size > 1:
            returned = self._close_together(questions, finished)
        votes.tell(self.ranks.size)
        for task, told in votes.told().items():
            self._used[task].update(told)
        failures = record.current().failures
        failures.add(self.ranks.union(failures.taken()))
        self._merge_log()
        return [returned[place] for place in range(len(requests))]

    def _is_vote(self, question: Question) -> bool:
        """Whether members vote for the one response that is returned."""
        return not question.wants_all and self._answering.rows_needed(question) > 1

    def _is_sampled(self, request: Any) -> bool:
        return bool(self.engine.arguments(request)["do_sample"])

    def _close_together(
        self, questions: Sequence[Question], finished: dict[int, dict[int, Response]]
    ) -> dict[int, Response]:
        """Close all questions, of which every process has answered some rows, sharing the work."""
        parts = {
            (number, draw): text
            for number, question in enumerate(questions)
            for draw, text in finished[id(question)].items()
        }
        for (number, draw), text in self.ranks.union(parts).items():
            finished[id(questions[number])][draw] = text
        returned: dict[int, Response] = {}
        for question in share_of(questions, (self.ranks.rank, self.ranks.size)):
            returned.update(self._close(question, finished[id(question)]))
        return self.ranks.union(returned)

    def _close(self, question: Question, done: dict[int, Response]) -> dict[int, Response]:
        """What the harness gets at each place of a finished question; its members are logged."""
        # without noise one greedy response is every member's
        texts = [done[draw] for draw in range(len(done))] * (len(question.draws) // len(done))
        request = question.request
        if question.wants_all:
            if self._log is not None:
                self._log.write({**all_line(question, texts), "rank": self.ranks.rank})
            return {place: texts[copy % len(texts)] for copy, place in enumerate(question.places)}
        try:
            verdict = judge(question, texts, self.config.extractor, self.judge)
        except UserError:
            raise
        except Exception as error:
            record.current().failures.note_vote(request.task_name, request.doc_id, error)
            verdict = no_verdict(question, texts)
        if self._log is not None:
            self._log.write({**verdict.line(), "rank": self.ranks.rank})
        return dict.fromkeys(question.places, texts[verdict.vote.chosen])

    # -------------------------------------------------------------- loglikelihoods
    def loglikelihood(
        self, score: Callable[..., list[Scored]], requests: Sequence[Any], disable_tqdm: bool
    ) -> list[Scored]:
        """Posterior predictive over the members: (log mean likelihood, most are greedy).

        Args:
            score: the harness's own method, which comes back with tokens to ``score_tokens``.
            requests: what the harness asks.
            disable_tqdm: whether to show no progress.
        """
        of_members = self._by_member(score, requests, disable_tqdm)
        if of_members is None:
            return [(0.0, False)] * len(requests)  # never scored
        return [
            (log_mean([value for value, _ in each]), sum(g for _, g in each) * 2 > len(each))
            for each in of_members
        ]

    def loglikelihood_rolling(
        self, score: Callable[..., list[float]], requests: Sequence[Any], disable_tqdm: bool
    ) -> list[float]:
        """Posterior predictive of whole documents: log of the members' mean likelihood.

        Args: as of `loglikelihood`.
        """
        of_members = self._by_member(score, requests, disable_tqdm)
        if of_members is None:
            return [0.0] * len(requests)  # never scored
        return [log_mean(each) for each in of_members]

    def score_tokens(
        self, requests: Sequence[Tokens], disable_tqdm: bool = False, size: int | None = None
    ) -> list[Scored]:
        """What the harness's own methods ask of the tokens, under the member whose turn it is."""
        return self.likelihoods.of_tokens(requests, disable_tqdm, size)

    def _by_member(
        self, score: Callable[..., list[Any]], requests: Sequence[Any], disable_tqdm: bool
    ) -> list[list[Any]] | None:
        """``score`` of each request under each member; None where only a part was wanted."""
        if self.config.shard is not None:
            check_never_scored(self.is_never_scored)
        members = 1 if self.population.is_stock else self.config.vote_members
        if self.config.stop != "none":
            logger.warning("stop: off for loglikelihoods, which are means over all members")
        first: dict[int, int] = {}  # repeats of a request are scored once
        for place, request in enumerate(requests):
            first.setdefault(id(request), place)
        draws = [(member, 0) for member in range(members)]
        questions = [
            Question(requests[place], draws, wants_all=False, places=[place])
            for place in first.values()
        ]
        for question in questions:
            self._note_use(question, "mean likelihood")
        scores = self.likelihoods.by_member(score, questions, members, disable_tqdm)
        if scores is None:
            return None
        self._merge_log()
        return [scores[first[id(request)]] for request in requests]

    # ----------------------------------------------------------------- reporting
    def _merge_log(self) -> None:
        """Bring what all processes logged into one file."""
        if self._log is not None:
            self.ranks.wait()
            if self.ranks.rank == 0:
                self._log.merge(self.ranks.size)
            self.ranks.wait()

    def _note_use(self, question: Question, returned: str) -> None:
        """Note for the results file who answered a task, and what the harness got."""
        task = self._used.setdefault(str(question.request.task_name), {})
        task["members"] = count_members(question)
        task["samples"] = len({sample for _, sample in question.draws})
        task["returned"] = returned
        if returned not in ("all", "mean likelihood"):
            kind = answer_kind(question, self.config.extractor)
            task["answers"] = sorted({*task.get("answers", []), kind})

    def info(self) -> dict[str, Any]:
        """What the population really was and who answered, for the results file."""
        population = self.population
        return {
            "version": __version__,
            "model": self.engine.name,
            "noise_scheme": NOISE_SCHEME,
            "sampling_scheme": SAMPLING_SCHEME,
            "answers_scheme": ANSWERS_SCHEME,
            "sigma": population.sigma,
            "mu": population.mu,
            "prior": population.prior,
            "noise": population.noise,
            "noise_from": population.noise_from,
            "norms": population.norms,
            "norms_matched": len(population.layers),
            "norms_without_noise": population.notes,
            "seed": population.seed,
            "noise_sha256": population.digest(),
            "calibration": self.calibration,
            "aggregate": self.config.aggregate,
            **({} if self.config.stop == "none" else {"stop": self.config.stop}),
            "processes": self.ranks.size,
            "store": None if self._store is None else str(self._store.path),
            "tasks": self._used,
        }


def _open_store(path: str | None, opened: Store | None) -> Store | None:
    """The store at this path, which is ``opened`` if that is it."""
    if path is None:
        return None
    return Store(path) if opened is None or str(opened.path) != path else opened
