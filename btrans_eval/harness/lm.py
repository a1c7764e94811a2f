"""What every engine's population model does for lm_eval, whatever generates the tokens."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from lm_eval.models.utils import normalize_gen_kwargs

from btrans_eval import __version__
from btrans_eval.answers.extract import ANSWERS_SCHEME
from btrans_eval.config import PopulationConfig
from btrans_eval.errors import UserError
from btrans_eval.harness import failures
from btrans_eval.harness.batches import generation_key
from btrans_eval.harness.bridge import refuse_cache
from btrans_eval.harness.generation import MemberResponses, count_members, is_sampled
from btrans_eval.harness.judging import keep_verdicts
from btrans_eval.harness.likelihoods import MemberLikelihoods
from btrans_eval.harness.part import check_never_scored
from btrans_eval.harness.plan import Question, plan_questions, share_of
from btrans_eval.harness.response import Response
from btrans_eval.harness.responses import ResponseLog, open_log
from btrans_eval.harness.shelf import Shelf
from btrans_eval.harness.verdict import answer_kind, judge, no_verdict
from btrans_eval.population.noise import SCHEME as NOISE_SCHEME
from btrans_eval.population.streams import SCHEME as SAMPLING_SCHEME
from btrans_eval.store.store import Store


class PopulationLM(MemberResponses, MemberLikelihoods):
    """Mixed in before one of the harness's model types, which it calls for the stock model.

    The engine sets the attributes once its model is loaded, and gives the abstract methods; it
    binds ``_bound_member`` in its forward pass.
    """

    _log: ResponseLog | None = None
    _store: Store | None = None
    _facts: dict[str, Any] | None = None

    def set_cache_hook(self, cache_hook: Any) -> None:
        """Refuse the harness's response cache, which cannot tell members apart."""
        if getattr(cache_hook, "dbdict", None) is not None:
            refuse_cache()
        super().set_cache_hook(cache_hook)  # type: ignore[misc]

    @abstractmethod
    def _engine_facts(self) -> dict[str, Any]:
        """What responses depend on, apart from the members and the request."""

    def _open_files(self, config: PopulationConfig, responses: str | None) -> None:
        """Open the store and the log of the population that answers from now on."""
        self._shelf = self._open_shelf(config.store)
        if self._log is not None:
            self._log.close()
        if config.shard is not None:
            responses = None  # a part's questions are not whole
        self._log = open_log(responses, self._ranks, config.store is not None)
        self._used = {}

    def _open_shelf(self, path: str | None) -> Shelf | None:
        if path is None:
            return None
        if self._store is None or str(self._store.path) != path:
            self._store = Store(path)
            keep_verdicts(self._store)
        if self._facts is None:
            self._facts = self._engine_facts()
        return Shelf(self._store, str(self.pretrained), self._population, self._facts)  # type: ignore[attr-defined]

    # --------------------------------------------------------------- generation
    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[Response]:
        """Responses of the members, or the one that stands for them where a task wants one."""
        questions = plan_questions(requests, self.population_config, is_sampled)
        self._check_generation(questions)
        for question in questions:
            one = self.population_config.aggregate
            self._note_use(question, "all" if question.wants_all else one)
            self._used[str(question.request.task_name)]["batching"] = self._batching(question)
        returned: dict[int, Response] = {}
        finished: dict[int, dict[int, Response]] = {id(question): {} for question in questions}
        if self.population_config.shard is not None:
            check_never_scored(self)
            for _ in self._answer(questions, disable_tqdm):
                pass  # each is in the store
            self._ranks.wait()  # the part is done when all processes are
            return [Response("", 0, False)] * len(requests)  # never scored
        for row, text in self._answer(questions, disable_tqdm):
            done = finished[id(row.question)]
            done[row.draw] = text
            if self._ranks.size == 1 and len(done) == self._rows_needed(row.question):
                returned.update(self._close(row.question, done))
        if self._ranks.size > 1:
            returned = self._close_together(questions, finished)
        failures.add(self._ranks.union(failures.taken()))
        self._close_log()
        return [returned[place] for place in range(len(requests))]

    def _batching(self, question: Question) -> str:
        """How a question's responses are generated, for the results file."""
        if self.population_config.from_store:
            return "none: from the store"
        return "refill" if self._flows(question.request) else "static"

    def _close_together(
        self, questions: Sequence[Question], finished: dict[int, dict[int, Response]]
    ) -> dict[int, Response]:
        """Close all questions, of which every process has answered some rows, sharing the work."""
        parts = {
            (number, draw): text
            for number, question in enumerate(questions)
            for draw, text in finished[id(question)].items()
        }
        for (number, draw), text in self._ranks.union(parts).items():
            finished[id(questions[number])][draw] = text
        returned: dict[int, Response] = {}
        for question in share_of(questions, (self._ranks.rank, self._ranks.size)):
            returned.update(self._close(question, finished[id(question)]))
        return self._ranks.union(returned)

    def _close(self, question: Question, done: dict[int, Response]) -> dict[int, Response]:
        """What the harness gets at each place of a finished question; its members are logged."""
        # without noise one greedy response is every member's
        texts = [done[draw] for draw in range(len(done))] * (len(question.draws) // len(done))
        request = question.request
        everything = {place: texts[copy % len(texts)] for copy, place in enumerate(question.places)}
        if question.wants_all and self._log is None:
            return everything
        try:
            verdict = judge(question, texts, self.population_config.extractor)
        except UserError:
            raise
        except Exception as error:
            if not question.wants_all:  # else the task's own scoring will say
                failures.note_vote(request.task_name, request.doc_id, error)
            verdict = no_verdict(question, texts)
        if self._log is not None:
            self._log.write({**verdict.line(), "rank": self._ranks.rank})
        if question.wants_all:
            return everything
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
            if arguments["do_sample"] and not arguments.get("temperature"):
                raise UserError(
                    "temperature: must be above 0 with do_sample=True, but "
                    f"{question.request.task_name} has 0, the harness's default; use --gen_kwargs "
                    "do_sample=True,temperature=0.7"
                )
            for name in ("max_length", "min_length", "max_time"):
                given = arguments.get(name) or self._of_checkpoint(name)
                if given:
                    raise UserError(
                        f"{name}: counts padding or time, so responses would depend on what else "
                        f"is in the batch; got {given}; use max_gen_toks"
                    )
            for name in ("num_beams", "num_return_sequences"):
                if arguments.get(name, 1) != 1:
                    raise UserError(
                        f"{name}: must be 1 under a population, got {arguments[name]}: a row "
                        "belongs to one member; use the task's repeats, or members="
                    )

    def _of_checkpoint(self, name: str) -> Any:
        """What the checkpoint's own generation config says, apart from transformers' default."""
        config = getattr(self.model, "generation_config", None)  # type: ignore[attr-defined]
        return None if name == "max_length" else getattr(config, name, None)

    def _arguments(self, request: Any) -> dict[str, Any]:
        """The generation arguments of a request as the harness resolves them; a fresh copy."""
        return normalize_gen_kwargs(request.args[1], self.max_gen_toks)  # type: ignore[attr-defined, no-any-return]

    # ----------------------------------------------------------------- reporting
    def _note_use(self, question: Question, returned: str) -> None:
        """Note for the results file who answered a task, and what the harness got."""
        task = self._used.setdefault(str(question.request.task_name), {})
        task["members"] = count_members(question)
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
            "calibration": self._calibration,
            "aggregate": config.aggregate,
            "processes": self._ranks.size,
            "store": None if self._shelf is None else str(self._shelf.store.path),
            "tasks": self._used,
        }
        return {**super().get_model_info(), "btrans": used}  # type: ignore[misc]
