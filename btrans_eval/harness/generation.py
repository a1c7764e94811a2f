"""Responses of the members: planned, taken from the store or generated, and kept at once."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from lm_eval.models.utils import normalize_gen_kwargs
from tqdm import tqdm

from btrans_eval.config import PopulationConfig
from btrans_eval.errors import UserError
from btrans_eval.harness.batches import Row, batches, generation_key
from btrans_eval.harness.complete import check_complete
from btrans_eval.harness.memory import RowLimit
from btrans_eval.harness.plan import Question
from btrans_eval.harness.ranks import Ranks
from btrans_eval.harness.response import Response
from btrans_eval.harness.shelf import Shelf
from btrans_eval.population.population import Population
from btrans_eval.store.keys import digest_of_tokens
from btrans_eval.store.store import Place


class MemberResponses(ABC):
    """Mixed in before a model type of the harness; the engine generates."""

    population_config: PopulationConfig
    _population: Population
    _ranks: Ranks
    _shelf: Shelf | None
    _row_limit: RowLimit

    @abstractmethod
    def _generate(self, batch: Sequence[Row]) -> list[Response]:
        """Texts of a batch of rows of equal generation arguments, which ends as one."""

    @abstractmethod
    def _flows(self, request: Any) -> bool:
        """Whether rows of such requests are answered by `_flow`, not in batches."""

    @abstractmethod
    def _flow(self, rows: Sequence[Row]) -> Iterator[list[tuple[Row, Response]]]:
        """Texts of rows of equal generation arguments, in groups, as they are finished."""

    @abstractmethod
    def _rows_per_batch(self, longest: Any) -> int:
        """How many rows a batch has at most, given the request with the longest prompt."""

    @abstractmethod
    def _prompt_tokens(self, request: Any) -> list[int]:
        """The prompt as it is fed, without padding."""

    @abstractmethod
    def _generation_facts(self, request: Any) -> dict[str, Any]:
        """The generation arguments as resolved, with what the checkpoint adds."""

    def _answer(
        self, questions: Sequence[Question], disable_tqdm: bool
    ) -> Iterator[tuple[Row, Response]]:
        """The responses that this process gives, in the order in which they finish."""
        share = self._ranks.share(self.population_config.part)
        plan = batches(questions, self._rows_needed, self._size_of_batch, self._length, share)
        rows = [row for batch in plan for row in batch]
        held = [is_there for batch in plan for is_there in self._are_stored(batch)]
        if self.population_config.from_store:
            self._check_complete(rows, held)
        bar = tqdm(
            total=len(rows),
            initial=sum(held),
            disable=disable_tqdm or self._ranks.rank != 0,
            desc=f"Responses of {max(map(count_members, questions), default=0)} members",
        )
        with bar as progress:
            for batch in plan:
                yield from self._finish(batch, progress)

    def _size_of_batch(self, longest: Question) -> int | None:
        """Rows of the batches of a group of questions; None: its rows are one flow."""
        if self._flows(longest.request):
            return None
        return self._rows_per_batch(longest.request)

    def _finish(self, batch: Sequence[Row], progress: Any) -> Iterator[tuple[Row, Response]]:
        """The batch's responses, generated or from the store."""
        if self._flows(batch[0].question.request):
            yield from self._finish_flow(batch, progress)
            return
        if self._shelf is not None:
            yield from self._finish_stored(self._shelf, batch, progress)
            return
        for piece, texts in self._row_limit.run(batch, self._generate, _name(batch)):
            progress.update(len(piece))
            yield from zip(piece, texts, strict=True)

    def _finish_flow(self, rows: Sequence[Row], progress: Any) -> Iterator[tuple[Row, Response]]:
        """What the store has of the rows, then the others, each kept as soon as it is finished."""
        shelf, missing = self._shelf, list(rows)
        if shelf is not None:
            context = shelf.context(self._generation_facts(rows[0].question.request))
            known = shelf.read(context, [self._place(row) for row in rows])
            missing = [row for row, text in zip(rows, known, strict=True) if text is None]
            yield from _present(rows, known)
        start = time.monotonic()
        for group in self._flow(missing) if missing else ():
            if shelf is not None:
                new = [(self._place(row), text) for row, text in group]
                shelf.write(context, new, (time.monotonic() - start) / len(group))
                start = time.monotonic()
                # what the store holds counts: another process may have been first
                kept = shelf.read(context, [place for place, _ in new])
                group = _present([row for row, _ in group], kept)
            progress.update(len(group))
            yield from group

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

    def _are_stored(self, rows: Sequence[Row]) -> list[bool]:
        """Which responses of a batch are in the store."""
        if self._shelf is None:
            return [False] * len(rows)
        context = self._shelf.context(self._generation_facts(rows[0].question.request))
        keys = self._shelf.keys(context, [self._place(row) for row in rows])
        there = self._shelf.store.holds(keys)
        return [key in there for key in keys]

    def _check_complete(self, rows: Sequence[Row], held: Sequence[bool]) -> None:
        """Refuse to go on where a row's response is not in the store."""
        assert self._shelf is not None
        missing = {
            generation_key(row.question.request.args[1]): row.question.request
            for row, is_there in zip(rows, held, strict=True)
            if not is_there
        }
        check_complete(
            self._shelf,
            [
                (str(row.question.request.task_name), is_there)
                for row, is_there in zip(rows, held, strict=True)
            ],
            "responses",
            [self._shelf.context(self._generation_facts(each)) for each in missing.values()],
        )

    def _rows_needed(self, question: Question) -> int:
        """How many responses must be generated for all of a question's draws."""
        stock = self._population.is_stock
        if stock and not (question.wants_all and is_sampled(question.request)):
            return 1  # all members are the model itself, and a vote would not be its distribution
        return len(question.draws)


def is_sampled(request: Any) -> bool:
    """Whether a request's generation arguments ask for sampling."""
    return bool(normalize_gen_kwargs(request.args[1])["do_sample"])


def count_members(question: Question) -> int:
    """How many members answer a question."""
    return len({member for member, _ in question.draws})


def _present(rows: Sequence[Row], texts: Sequence[Response | None]) -> list[tuple[Row, Response]]:
    return [(row, text) for row, text in zip(rows, texts, strict=True) if text is not None]


def _name(batch: Sequence[Row]) -> str:
    request = batch[0].question.request
    return f"{request.task_name}, row {request.doc_id}"
