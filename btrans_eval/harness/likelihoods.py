"""Loglikelihoods of the members, taken from the store or scored, and kept batch by batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from tqdm import tqdm

from btrans_eval.config import PopulationConfig
from btrans_eval.errors import UserError
from btrans_eval.harness.batches import sharing_rows
from btrans_eval.harness.complete import check_complete
from btrans_eval.harness.engine import Engine, MixedScorer, Scored, Tokens
from btrans_eval.harness.plan import Question, share_of
from btrans_eval.harness.ranks import Ranks
from btrans_eval.harness.responses import ResponseLog
from btrans_eval.harness.shelf import Shelf
from btrans_eval.harness.verdict import likelihood_line
from btrans_eval.store.keys import digest_of_tokens
from btrans_eval.store.store import ResponseId

_ASKED = {"loglikelihood": True}
"""What sets loglikelihoods apart from responses in the store."""


class Likelihoods:
    """Scores one member after another, or as many at a time as the engine can.

    The harness's own methods turn texts into tokens and sum up the windows of a document; they
    are called for each member and come back with tokens to ``of_tokens``. Where several members
    share batches, the first to be called for scores for the others, too, which are asked the same.

    Args:
        engine: what scores.
        config: which part is wanted, and whether all must be stored.
        ranks: the processes that share the work.
        shelf: where scores are kept, if they are.
        is_stock: whether all members are the model itself.
        log: where each member's scores are written, if they are.

    Attributes:
        said: each member's scores, by the identity of the request; cleared by who reads them.
    """

    def __init__(
        self,
        engine: Engine,
        config: PopulationConfig,
        ranks: Ranks,
        shelf: Shelf | None,
        is_stock: bool,
        log: ResponseLog | None,
    ) -> None:
        self._engine, self._config, self._ranks = engine, config, ranks
        self._shelf, self._is_stock, self._log = shelf, is_stock, log
        self.said: dict[int, list[Any]] = {}
        self._member: int | None = None  # whose turn it is
        self._together: list[int] = []  # for whom is scored in this turn
        self._call = 0  # number of the harness's call in this turn
        self._ahead: dict[tuple[int, int], tuple[int, list[Scored]]] = {}
        self._task = ""

    def by_member(
        self,
        score: Callable[..., list[Any]],
        questions: Sequence[Question],
        members: int,
        disable_tqdm: bool,
    ) -> dict[int, list[Any]] | None:
        """``score`` of each question under each member, by the question's place.

        None where only a part was wanted, which is in the store.
        """
        self._task = ", ".join(sorted({str(each.request.task_name) for each in questions}))
        part: dict[tuple[int, int], Any] = {}
        share = self._ranks.share(self._config.part)
        # members of a part are asked different questions
        at_once = self._engine.members_at_once if share == (0, 1) else 1
        for member in range(members):
            mine = share_of(questions, share, member, members)
            self._member, self._call = member, 0
            if member % at_once == 0:
                self._together = list(range(member, min(member + at_once, members)))
                self._ahead.clear()
            try:
                values = score(
                    [question.request for question in mine],
                    disable_tqdm=disable_tqdm or self._ranks.rank != 0,
                )
            finally:
                self._member = None
            for question, value in zip(mine, values, strict=True):
                part[question.places[0], member] = value
        if self._config.shard is not None:
            self._ranks.wait()  # the part is done when all processes are
            return None
        if self._config.from_store:
            self._check_complete(questions, part)
        found = self._ranks.union(part)
        scores = {
            question.places[0]: [found[question.places[0], member] for member in range(members)]
            for question in questions
        }
        self.said |= {id(each.request): scores[each.places[0]] for each in questions}
        if self._log is not None and self._ranks.rank == 0:
            for question in questions:
                self._log.write(likelihood_line(question.request, scores[question.places[0]]))
        return scores

    def _check_complete(
        self, questions: Sequence[Question], found: Mapping[tuple[int, int], Any]
    ) -> None:
        """Refuse to go on where a member's loglikelihood of a question is not in the store."""
        assert self._shelf is not None
        task_of = {each.places[0]: str(each.request.task_name) for each in questions}
        held = [
            # of a whole document the value alone
            (task_of[place], not math.isnan(value[0] if isinstance(value, tuple) else value))
            for (place, _), value in found.items()
        ]
        check_complete(self._shelf, held, "loglikelihoods", [self._shelf.context(_ASKED)])

    def of_tokens(
        self, requests: Sequence[Tokens], disable_tqdm: bool, size: int | None
    ) -> list[Scored]:
        """Scores of the harness's own batches, of which each is kept at once.

        A batch of which a part is stored is run again whole, because its shape decides the last
        bits; what was stored stays.
        """
        if self._member is None:  # nobody's turn: the model itself
            with self._engine.answering(None):
                return self._engine.score(requests, size)
        call, self._call = self._call, self._call + 1
        asked = self._digest(requests)
        if (self._member, call) in self._ahead:
            known_by, scores = self._ahead.pop((self._member, call))
            if known_by != asked:
                raise RuntimeError(f"the harness asks member {self._member} something else")
            return scores
        groups = sharing_rows(requests, self._engine.shares_rows)
        places = {member: self._places(requests, groups, member) for member in self._together}
        known = {member: self._stored(own) for member, own in places.items()}
        if self._config.from_store:  # `by_member` tells what is missing, by NaN
            return [(math.nan, False) if value is None else value for value in known[self._member]]
        if any(None in own for own in known.values()):
            bar = tqdm(
                total=len(requests) * len(known),
                initial=sum(each is not None for own in known.values() for each in own),
                disable=disable_tqdm or any(text is None for text, _, _ in requests),
                desc=f"Loglikelihoods of {self._who()}",
            )
            with bar as progress, self._engine.answering(self._member):
                for batch in self._engine.batches(requests, groups, self._task, size):
                    count = len(batch)
                    if len(known) > 1:  # as many rows, whoever they are of
                        count = max(1, self._engine.rows_at_once(None) // len(known))
                    for start in range(0, len(batch), count):
                        piece = batch[start : start + count]
                        self._score(piece, requests, places, known, progress)
        scores_of = {m: [value for value in own if value is not None] for m, own in known.items()}
        for member in self._together[1:]:
            self._ahead[member, call] = asked, scores_of[member]
        return scores_of[self._member]

    def _digest(self, requests: Sequence[Tokens]) -> int:
        """What tells these from other requests, where several members are asked the same."""
        if len(self._together) == 1:
            return 0
        return hash(tuple((*context, -1, *continuation) for _, context, continuation in requests))

    def _who(self) -> str:
        first, last = self._together[0], self._together[-1]
        return f"member {first}" if first == last else f"members {first} to {last}"

    def _score(
        self,
        batch: list[list[int]],
        requests: Sequence[Tokens],
        places: Mapping[int, Sequence[ResponseId]],
        known: Mapping[int, list[Scored | None]],
        progress: Any,
    ) -> None:
        """Score the groups of a batch; what was not known is kept, and stands in ``known``."""
        members = [
            member
            for member, own in known.items()
            if any(own[index] is None for group in batch for index in group)
        ]
        if not members:
            return

        def score(groups: list[list[int]]) -> dict[int, list[Scored]]:
            some = [requests[index] for group in groups for index in group]
            if len(known) > 1:
                return cast(MixedScorer, self._engine).score_each(some, members)
            return {members[0]: self._engine.score(some, len(groups))}

        for groups, found in self._engine.row_limit.run(batch, score, self._task):
            indices = [index for group in groups for index in group]
            for member, values in found.items():
                scores = zip(indices, values, strict=True)
                new = [(i, value) for i, value in scores if known[member][i] is None]
                self._keep(member, places[member], new)
                for index, value in new:
                    known[member][index] = value
                progress.update(len(new))

    def _keep(
        self, member: int, places: Sequence[ResponseId], new: Sequence[tuple[int, Scored]]
    ) -> None:
        """Store a member's new scores, by the place of their requests."""
        if any(math.isnan(value) for _, (value, _) in new) and not self._is_stock:
            raise UserError(
                f"sigma: a loglikelihood of member {member} is not a number; use a smaller "
                "sigma, or dtype=float32"
            )
        if self._shelf is not None:
            kept = [(places[index], value) for index, value in new]
            self._shelf.write_likelihoods(self._shelf.context(_ASKED), kept)

    def _places(
        self, requests: Sequence[Tokens], groups: list[list[int]], member: int
    ) -> list[ResponseId]:
        """Where each request's score of a member is kept.

        The harness reads continuations that share a row at the places of the longest of them, so
        its length is part of the prompt's digest.
        """
        longest = [0] * len(requests)
        for group in groups:
            length = max(len(requests[index][2]) for index in group)
            for index in group:
                longest[index] = length
        return [
            ResponseId(self._task, digest_of_tokens(context, continuation, [length]), member)
            for (_, context, continuation), length in zip(requests, longest, strict=True)
        ]

    def _stored(self, places: Sequence[ResponseId]) -> list[Scored | None]:
        if self._shelf is None:
            return [None] * len(places)
        return self._shelf.read_likelihoods(self._shelf.context(_ASKED), places)
