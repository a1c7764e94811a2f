"""What every engine's population model does for lm_eval, whatever generates the tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lm_eval.models.utils import normalize_gen_kwargs
from tqdm import tqdm

from btrans_eval import __version__
from btrans_eval.answers.extract import ANSWERS_SCHEME
from btrans_eval.config import PopulationConfig
from btrans_eval.errors import UserError
from btrans_eval.harness.batches import Row, batches, generation_key
from btrans_eval.harness.bridge import refuse_cache
from btrans_eval.harness.plan import Question, plan_questions, share_of_rank
from btrans_eval.harness.ranks import Ranks
from btrans_eval.harness.response import Response
from btrans_eval.harness.responses import ResponseLog
from btrans_eval.harness.verdict import answer_kind, judge, likelihood_line
from btrans_eval.population.noise import SCHEME as NOISE_SCHEME
from btrans_eval.population.population import Population
from btrans_eval.scores.likelihood import log_mean


class PopulationLM:
    """Mixed in before one of the harness's model types, which it calls for the stock model.

    The engine sets the attributes once its model is loaded, and gives ``_generate`` (texts of a
    batch of rows) and ``_rows_per_batch``; it binds ``_bound_member`` in its forward pass.
    """

    population_config: PopulationConfig
    _population: Population
    _ranks: Ranks
    _log: ResponseLog | None
    _bound_member: int | None = None
    _used: dict[str, dict[str, Any]]

    def _generate(self, batch: Sequence[Row]) -> list[Response]:
        raise NotImplementedError

    def _rows_per_batch(self) -> int:
        raise NotImplementedError

    def set_cache_hook(self, cache_hook: Any) -> None:
        """Refuse the harness's response cache, which cannot tell members apart."""
        if getattr(cache_hook, "dbdict", None) is not None:
            refuse_cache()
        super().set_cache_hook(cache_hook)  # type: ignore[misc]

    # --------------------------------------------------------------- generation
    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[Response]:
        """Responses of the members, or the one that stands for them where a task wants one."""
        questions = plan_questions(requests, self.population_config, _is_sampled)
        self._check_generation(questions)
        for question in questions:
            one = self.population_config.aggregate
            self._note_use(question, "all" if question.wants_all else one)
        mine = share_of_rank(questions, self._ranks.rank, self._ranks.size)
        returned: dict[int, Response] = {}
        for question, texts in self._answer(mine, disable_tqdm):
            returned.update(self._close(question, texts))
        returned = self._ranks.union(returned)
        if self._log is not None and self._ranks.rank == 0:
            self._log.merge(self._ranks.size)
        return [returned[place] for place in range(len(requests))]

    def _answer(
        self, questions: Sequence[Question], disable_tqdm: bool
    ) -> Iterator[tuple[Question, list[Response]]]:
        """Each question with its finished texts, in the order in which they finish."""
        disable_tqdm = disable_tqdm or self._ranks.rank != 0
        waiting: dict[int, dict[int, Response]] = {id(question): {} for question in questions}
        progress = tqdm(
            total=sum(len(question.draws) for question in questions),
            disable=disable_tqdm,
            desc=f"Responses of {max(map(_count_members, questions), default=0)} members",
        )
        plan = batches(questions, self._rows_needed, self._rows_per_batch(), self.tok_encode)  # type: ignore[attr-defined]
        for batch in plan:
            for row, text in zip(batch, self._generate(batch), strict=True):
                question, done = row.question, waiting[id(row.question)]
                done[row.draw] = text
                if len(done) == self._rows_needed(question):
                    # without noise one greedy response is every member's
                    copies = len(question.draws) // len(done)
                    texts = [done[draw] for draw in range(len(done))] * copies
                    progress.update(len(texts))
                    yield question, texts
        progress.close()

    def _rows_needed(self, question: Question) -> int:
        """How many responses must be generated for all of a question's draws."""
        stock = self._population.is_stock
        if stock and not (question.wants_all and _is_sampled(question.request)):
            return 1  # all members are the model itself, and a vote would not be its distribution
        return len(question.draws)

    def _close(self, question: Question, texts: list[Response]) -> dict[int, Response]:
        """What the harness gets at each place of a finished question; its members are logged."""
        verdict = judge(question, texts, self.population_config.extractor)
        if self._log is not None:
            self._log.write({**verdict.line(), "rank": self._ranks.rank})
        if question.wants_all:
            return {place: texts[copy % len(texts)] for copy, place in enumerate(question.places)}
        return dict.fromkeys(question.places, texts[verdict.vote.chosen])

    def _check_generation(self, questions: Sequence[Question]) -> None:
        """Refuse generation arguments that cannot work, before the first batch."""
        different = {generation_key(q.request.args[1]): q for q in questions}
        context = self.max_length  # type: ignore[attr-defined]
        for question in different.values():
            arguments = self._arguments(question.request)
            limit = arguments["max_gen_toks"]
            if not 1 <= limit < context:
                raise UserError(
                    f"max_gen_toks: must be at least 1 and less than the model's context of "
                    f"{context} tokens, but {question.request.task_name} asks for {limit}; "
                    "use --gen_kwargs max_gen_toks=1024"
                )
            for name in ("num_beams", "num_return_sequences"):
                if arguments.get(name, 1) != 1:
                    raise UserError(
                        f"{name}: must be 1 under a population, got {arguments[name]}: a row "
                        "belongs to one member; use the task's repeats, or members="
                    )

    def _arguments(self, request: Any) -> dict[str, Any]:
        """The generation arguments of a request as the harness resolves them; a fresh copy."""
        return normalize_gen_kwargs(request.args[1], self.max_gen_toks)  # type: ignore[attr-defined, no-any-return]

    # ------------------------------------------------------------ loglikelihood
    def loglikelihood(
        self, requests: list[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Posterior predictive over the members: (log mean likelihood, most are greedy)."""
        of_members = self._by_member(super().loglikelihood, requests, disable_tqdm)  # type: ignore[misc]
        return [
            (log_mean([value for value, _ in each]), sum(g for _, g in each) * 2 > len(each))
            for each in of_members
        ]

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Posterior predictive of whole documents: log of the members' mean likelihood."""
        of_members = self._by_member(super().loglikelihood_rolling, requests, disable_tqdm)  # type: ignore[misc]
        return [log_mean(each) for each in of_members]

    def _by_member(self, score: Any, requests: list[Any], disable_tqdm: bool) -> list[list[Any]]:
        """``score`` of each request under each member, shape (requests, members)."""
        first: dict[int, int] = {}  # repeats of a request are scored once
        for place, request in enumerate(requests):
            first.setdefault(id(request), place)
        members = 1 if self._population.is_stock else self.population_config.vote_members
        draws = [(member, 0) for member in range(members)]
        distinct = [Question(requests[p], draws, False, [p]) for p in first.values()]
        for question in distinct:
            self._note_use(question, "mean likelihood")
        mine = share_of_rank(distinct, self._ranks.rank, self._ranks.size)
        scores: dict[int, list[Any]] = {question.places[0]: [] for question in mine}
        for member in range(members if mine else 0):
            with self._bound(member):
                values = score(
                    [question.request for question in mine],
                    disable_tqdm=disable_tqdm or self._ranks.rank != 0,
                )
            for question, value in zip(mine, values, strict=True):
                scores[question.places[0]].append(value)
        scores = self._ranks.union(scores)
        if self._log is not None and self._ranks.rank == 0:
            for question in distinct:
                self._log.write(likelihood_line(question.request, scores[question.places[0]]))
        return [scores[first[id(request)]] for request in requests]

    @contextmanager
    def _bound(self, member: int | None) -> Iterator[None]:
        """Every row of the model calls within is answered by ``member``; None: by the model."""
        outer, self._bound_member = self._bound_member, member
        try:
            yield
        finally:
            self._bound_member = outer

    # ----------------------------------------------------------------- reporting
    def _note_use(self, question: Question, returned: str) -> None:
        """Note for the results file who answered a task, and what the harness got."""
        task = self._used.setdefault(str(question.request.task_name), {})
        task["members"] = _count_members(question)
        task["samples"] = len({sample for _, sample in question.draws})
        task["returned"] = returned
        if returned != "mean likelihood":
            kind = answer_kind(question, self.population_config.extractor)
            task["answers"] = sorted({*task.get("answers", []), kind})

    def get_model_info(self) -> dict[str, Any]:
        """What the harness writes into the results file, with what the population really was."""
        config, population = self.population_config, self._population
        used = {
            "version": __version__,
            "model": str(self.pretrained),  # type: ignore[attr-defined]
            "noise_scheme": NOISE_SCHEME,
            "answers_scheme": ANSWERS_SCHEME,
            "sigma": population.sigma,
            "mu": population.mu,
            "prior": population.prior,
            "noise": population.noise,
            "norms": population.norms,
            "norms_matched": len(population.layers),
            "seed": population.seed,
            "aggregate": config.aggregate,
            "processes": self._ranks.size,
            "tasks": self._used,
        }
        return {**super().get_model_info(), "btrans": used}  # type: ignore[misc]


def _is_sampled(request: Any) -> bool:
    return bool(normalize_gen_kwargs(request.args[1])["do_sample"])


def _count_members(question: Question) -> int:
    return len({member for member, _ in question.draws})
