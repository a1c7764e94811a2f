"""What every engine's population model does for lm_eval, whatever generates the tokens."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from lm_eval.models.utils import normalize_gen_kwargs
from tqdm import tqdm

from btrans_eval import __version__
from btrans_eval.answers.extract import ANSWERS_SCHEME
from btrans_eval.errors import UserError
from btrans_eval.harness import failures
from btrans_eval.harness.batches import Row, batches, generation_key
from btrans_eval.harness.bridge import refuse_cache
from btrans_eval.harness.likelihoods import MemberLikelihoods
from btrans_eval.harness.plan import Question, plan_questions, share_of_rank
from btrans_eval.harness.response import Response
from btrans_eval.harness.shelf import Shelf
from btrans_eval.harness.verdict import answer_kind, judge, no_verdict
from btrans_eval.population.noise import SCHEME as NOISE_SCHEME
from btrans_eval.population.streams import SCHEME as SAMPLING_SCHEME
from btrans_eval.store.keys import digest_of_tokens
from btrans_eval.store.store import Place


class PopulationLM(MemberLikelihoods):
    """Mixed in before one of the harness's model types, which it calls for the stock model.

    The engine sets the attributes once its model is loaded, and gives the abstract methods; it
    binds ``_bound_member`` in its forward pass.
    """

    @abstractmethod
    def _generate(self, batch: Sequence[Row]) -> list[Response]:
        """Texts of a batch of rows of equal generation arguments."""

    @abstractmethod
    def _rows_per_batch(self) -> int:
        """How many rows a batch has at most."""

    @abstractmethod
    def _prompt_tokens(self, request: Any) -> list[int]:
        """The prompt as it is fed, without padding."""

    @abstractmethod
    def _generation_facts(self, request: Any) -> dict[str, Any]:
        """The generation arguments as resolved, with what the checkpoint adds."""

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
        failures.add(self._ranks.union(failures.taken()))
        self._close_log()
        return [returned[place] for place in range(len(requests))]

    def _answer(
        self, questions: Sequence[Question], disable_tqdm: bool
    ) -> Iterator[tuple[Question, list[Response]]]:
        """Each question with its finished texts, in the order in which they finish."""
        disable_tqdm = disable_tqdm or self._ranks.rank != 0
        waiting: dict[int, dict[int, Response]] = {id(question): {} for question in questions}
        plan = batches(questions, self._rows_needed, self._rows_per_batch(), self._length)
        stored = self._count_stored(questions)
        bar = tqdm(
            total=sum(map(self._rows_needed, questions)),
            initial=stored,
            disable=disable_tqdm,
            desc=f"Responses of {max(map(_count_members, questions), default=0)} members",
        )
        with bar as progress:
            for batch in plan:
                for row, text in self._finish(batch, progress):
                    question, done = row.question, waiting[id(row.question)]
                    done[row.draw] = text
                    if len(done) == self._rows_needed(question):
                        del waiting[id(question)]
                        # without noise one greedy response is every member's
                        copies = len(question.draws) // len(done)
                        yield question, [done[draw] for draw in range(len(done))] * copies

    def _finish(self, batch: Sequence[Row], progress: Any) -> Iterator[tuple[Row, Response]]:
        """The batch's responses, generated or from the store."""
        if self._shelf is not None:
            yield from self._finish_stored(self._shelf, batch, progress)
            return
        for piece, texts in self._row_limit.run(batch, self._generate, _name(batch)):
            progress.update(len(piece))
            yield from zip(piece, texts, strict=True)

    def _finish_stored(
        self, shelf: Shelf, batch: Sequence[Row], progress: Any
    ) -> Iterator[tuple[Row, Response]]:
        """The batch's responses: from the store where all are there, else generated.

        A batch of which a part is stored is generated again whole, because its shape decides the
        last bits; what was stored stays.
        """
        context = shelf.context(self._generation_facts(batch[0].question.request))

        def read(rows: Sequence[Row]) -> list[Response | None]:
            return shelf.read(context, [self._place(row) for row in rows])

        stored = [text for text in read(batch) if text is not None]
        if len(stored) == len(batch):
            yield from zip(batch, stored, strict=True)
            return
        start = time.monotonic()
        for piece, texts in self._row_limit.run(batch, self._generate, _name(batch)):
            known = read(piece)
            new = [
                (self._place(row), text)
                for row, text, there in zip(piece, texts, known, strict=True)
                if there is None
            ]
            shelf.write(context, new, (time.monotonic() - start) / len(piece))
            start = time.monotonic()
            progress.update(len(new))
            # what the store holds counts: another process may have been first
            yield from zip(piece, (text for text in read(piece) if text is not None), strict=True)

    def _place(self, row: Row) -> Place:
        member, sample = row.question.draws[row.draw]
        return Place(row.question.request.task_name, self._prompt(row.question), member, sample)

    def _prompt(self, question: Question) -> str:
        """Digest of a question's prompt, which its responses are known by."""
        if question.prompt is None:
            question.prompt = digest_of_tokens(self._prompt_tokens(question.request))
        return question.prompt

    def _length(self, question: Question) -> int:
        """Tokens of a prompt; a prompt that cannot be fed is told before any is."""
        request = question.request
        try:
            return len(self.tok_encode(request.args[0]))  # type: ignore[attr-defined]
        except Exception as error:
            raise UserError(
                f"{request.task_name}: the tokenizer fails on the prompt of row {request.doc_id} "
                f"({type(error).__name__}: {error}); nothing was generated yet. Mend the row, or "
                "leave it out with --samples"
            ) from error

    def _count_stored(self, questions: Sequence[Question]) -> int:
        """How many of the responses are in the store."""
        if self._shelf is None:
            return 0
        keys = [
            key
            for question in questions
            for key in self._shelf.keys(
                self._shelf.context(self._generation_facts(question.request)),
                [self._place(Row(question, draw)) for draw in range(self._rows_needed(question))],
            )
        ]
        return len(self._shelf.store.holds(keys))

    def _rows_needed(self, question: Question) -> int:
        """How many responses must be generated for all of a question's draws."""
        stock = self._population.is_stock
        if stock and not (question.wants_all and _is_sampled(question.request)):
            return 1  # all members are the model itself, and a vote would not be its distribution
        return len(question.draws)

    def _close(self, question: Question, texts: list[Response]) -> dict[int, Response]:
        """What the harness gets at each place of a finished question; its members are logged."""
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
            for name in ("max_length", "min_length", "max_time"):
                given = arguments.get(name) or self._of_checkpoint(name)
                if given:
                    raise UserError(
                        f"{name}: counts padding or time, so responses would depend on what else "
                        f"is in the batch; got {given}; use max_gen_toks or min_new_tokens"
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
            "sampling_scheme": SAMPLING_SCHEME,
            "answers_scheme": ANSWERS_SCHEME,
            "sigma": population.sigma,
            "mu": population.mu,
            "prior": population.prior,
            "noise": population.noise,
            "noise_from": population.noise_from,
            "norms": population.norms,
            "norms_matched": len(population.layers),
            "seed": population.seed,
            "noise_sha256": population.digest(),
            "calibration": self._calibration,
            "aggregate": config.aggregate,
            "processes": self._ranks.size,
            "store": None if self._shelf is None else str(self._shelf.store.path),
            "tasks": self._used,
        }
        return {**super().get_model_info(), "btrans": used}  # type: ignore[misc]


def _is_sampled(request: Any) -> bool:
    return bool(normalize_gen_kwargs(request.args[1])["do_sample"])


def _name(batch: Sequence[Row]) -> str:
    request = batch[0].question.request
    return f"{request.task_name}, row {request.doc_id}"


def _count_members(question: Question) -> int:
    return len({member for member, _ in question.draws})
