"""Responses of the members: planned, taken from the store or generated, and kept at once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from btrans_eval.config import PopulationConfig
from btrans_eval.errors import UserError
from btrans_eval.harness.batches import Row, batches, generation_key
from btrans_eval.harness.complete import check_complete
from btrans_eval.harness.engine import STATIC, Generator, prompt_digest
from btrans_eval.harness.plan import Question, count_members
from btrans_eval.harness.ranks import Ranks
from btrans_eval.harness.response import Response
from btrans_eval.harness.shelf import Shelf
from btrans_eval.harness.turns import InOrder, Order
from btrans_eval.store.keys import Context
from btrans_eval.store.store import ResponseId


@dataclass(frozen=True)
class Answering:
    """How the rows of questions become responses.

    Attributes:
        engine: what generates.
        config: which part of all rows is wanted, and whether all must be stored.
        ranks: among how many processes they are shared out.
        shelf: where responses are kept, if they are.
        is_stock: whether all members are the model itself.
    """

    engine: Generator
    config: PopulationConfig
    ranks: Ranks
    shelf: Shelf | None
    is_stock: bool

    def rows_needed(self, question: Question) -> int:
        """How many responses must be generated for all of a question's draws."""
        if self.is_stock and not (question.wants_all and question.is_sampled):
            return 1  # all members are the model itself, and a vote would not be its distribution
        return len(question.draws)

    def answers(
        self, questions: Sequence[Question], order: Order, disable_tqdm: bool
    ) -> Iterator[tuple[Row, Response]]:
        """The responses that this process gives, in the order in which they finish.

        Batches are planned before the store is read, so that they are the same in a run that
        goes on where another stopped.

        Args:
            order: which rows are generated, and in what order, unless in static batches.
        """
        share = self.ranks.share(self.config.part)
        plan = batches(questions, self.rows_needed, self._batch_size, self._length, share)
        if self.config.from_store:
            yield from self._found(plan, order)
            return
        held = sum(is_there for batch in plan for is_there in self._are_stored(batch))
        bar = tqdm(
            total=sum(map(len, plan)),
            initial=held,
            disable=disable_tqdm or self.ranks.rank != 0,
            desc=f"Responses of {max(map(count_members, questions), default=0)} members",
        )
        with bar as progress:
            for batch in plan:
                yield from self._finish(batch, order, progress)
            progress.total = progress.n  # votes may have needed no more

    def _batch_size(self, longest: Question) -> int | None:
        """Rows of the batches of a group of questions; None: its rows are one flow."""
        is_static = self.engine.batching(longest.request) == STATIC
        return self.engine.rows_at_once(longest.request) if is_static else None

    def _finish(
        self, batch: Sequence[Row], order: Order, progress: Any
    ) -> Iterator[tuple[Row, Response]]:
        """The batch's responses: what the store has of them, else generated and kept at once.

        A static batch of which a part is stored is generated again whole, because its shape
        decides the last bits; what was stored stays.
        """
        shelf = self.shelf
        if shelf is None:
            for group in self.engine.generate(batch, order):
                progress.update(len(group))
                yield from group
            return
        request = batch[0].question.request
        context = shelf.context(self.engine.asked(request))
        known = self._read(shelf, context, batch)
        wanted = [row for row in batch if row not in known]
        if wanted and self.engine.batching(request) == STATIC:
            wanted = list(batch)
        else:
            yield from known.items()
        wanted = list(filter(order(wanted).wants, wanted))  # votes know by now what is there
        start = time.monotonic()
        for group in self.engine.generate(wanted, order) if wanted else ():
            new = [(self._place(row), text) for row, text in group if row not in known]
            shelf.write(context, new, (time.monotonic() - start) / len(group))
            start = time.monotonic()
            progress.update(len(new))
            # what the store holds counts: another process may have been first
            yield from self._read(shelf, context, [row for row, _ in group]).items()

    def _found(self, plan: Sequence[Sequence[Row]], order: Order) -> Iterator[tuple[Row, Response]]:
        """Responses of batches that must all be stored, but for those that no vote needs."""
        assert self.shelf is not None
        if order is InOrder:  # before any question is closed
            held = [is_there for batch in plan for is_there in self._are_stored(batch)]
            self._check_complete([row for batch in plan for row in batch], held)
        known: list[Row] = []
        missing: list[Row] = []
        for batch in plan:
            context = self.shelf.context(self.engine.asked(batch[0].question.request))
            found = self._read(self.shelf, context, batch)
            yield from found.items()
            known += found
            missing += [row for row in batch if row not in found]
        needed = order(missing).take(len(missing), early=0)  # votes know by now what is there
        self._check_complete([*known, *needed], [True] * len(known) + [False] * len(needed))

    def _read(self, shelf: Shelf, context: Context, rows: Sequence[Row]) -> dict[Row, Response]:
        """What the store has of these rows, in their order."""
        texts = shelf.read(context, [self._place(row) for row in rows])
        return {row: text for row, text in zip(rows, texts, strict=True) if text is not None}

    def _place(self, row: Row) -> ResponseId:
        prompt = prompt_digest(self.engine, row.question)
        return ResponseId(row.question.request.task_name, prompt, row.member, row.sample)

    def _length(self, question: Question) -> int:
        """Tokens of a prompt; a prompt that cannot be fed is told before any is."""
        request = question.request
        try:
            return self.engine.length(request)
        except Exception as error:
            raise UserError(
                f"{request.task_name}: the tokenizer fails on the prompt of row {request.doc_id} "
                f"({type(error).__name__}: {error}); nothing was generated yet. Mend the row, or "
                "leave it out with --samples"
            ) from error

    def _are_stored(self, rows: Sequence[Row]) -> list[bool]:
        """Which responses of a batch are in the store."""
        if self.shelf is None:
            return [False] * len(rows)
        context = self.shelf.context(self.engine.asked(rows[0].question.request))
        keys = self.shelf.keys(context, [self._place(row) for row in rows])
        there = self.shelf.store.holds(keys)
        return [key in there for key in keys]

    def _check_complete(self, rows: Sequence[Row], held: Sequence[bool]) -> None:
        """Refuse to go on where a row's response is not in the store."""
        assert self.shelf is not None
        missing = {
            generation_key(row.question.request.args[1]): row.question.request
            for row, is_there in zip(rows, held, strict=True)
            if not is_there
        }
        check_complete(
            self.shelf,
            [
                (str(row.question.request.task_name), is_there)
                for row, is_there in zip(rows, held, strict=True)
            ],
            "responses",
            [self.shelf.context(self.engine.asked(each)) for each in missing.values()],
        )
