"""Loglikelihoods of the members, and what they say together."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from lm_eval.models.utils import Collator
from tqdm import tqdm

from btrans_eval.config import PopulationConfig
from btrans_eval.errors import UserError
from btrans_eval.harness.batches import sharing_rows
from btrans_eval.harness.complete import check_complete
from btrans_eval.harness.memory import RowLimit
from btrans_eval.harness.part import check_never_scored
from btrans_eval.harness.plan import Question, share_of
from btrans_eval.harness.ranks import Ranks
from btrans_eval.harness.responses import ResponseLog
from btrans_eval.harness.shelf import Shelf
from btrans_eval.harness.verdict import likelihood_line
from btrans_eval.population.population import Population
from btrans_eval.scores.likelihood import log_mean
from btrans_eval.store.keys import digest_of_tokens
from btrans_eval.store.store import Place

Scored = tuple[float, bool]
Tokens = tuple[Any, list[int], list[int]]  # (the texts, context tokens, continuation tokens)


class MemberLikelihoods(ABC):
    """Mixed in before a model type of the harness, whose methods score one member at a time."""

    population_config: PopulationConfig
    _population: Population
    _calibration: dict[str, Any] | None
    _ranks: Ranks
    _log: ResponseLog | None
    _shelf: Shelf | None
    _row_limit: RowLimit
    _used: dict[str, dict[str, Any]]
    _bound_member: int | None = None
    _asked_by: str = ""
    _starts: Mapping[tuple[int, ...], set[int]]
    _batch_sizes: dict[tuple[str, int], dict[int, int]]

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[Scored]:
        """Posterior predictive over the members: (log mean likelihood, most are greedy)."""
        of_members = self._by_member(super().loglikelihood, requests, disable_tqdm)  # type: ignore[misc]
        if self.population_config.shard is not None:
            return [(0.0, False)] * len(requests)  # never scored
        return [
            (log_mean([value for value, _ in each]), sum(g for _, g in each) * 2 > len(each))
            for each in of_members
        ]

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Posterior predictive of whole documents: log of the members' mean likelihood."""
        of_members = self._by_member(super().loglikelihood_rolling, requests, disable_tqdm)  # type: ignore[misc]
        if self.population_config.shard is not None:
            return [0.0] * len(requests)  # never scored
        return [log_mean(each) for each in of_members]

    def _by_member(self, score: Any, requests: list[Any], disable_tqdm: bool) -> list[list[Any]]:
        """``score`` of each request under each member, shape (requests, members)."""
        if self.population_config.shard is not None:
            check_never_scored(self)
        first: dict[int, int] = {}  # repeats of a request are scored once
        for place, request in enumerate(requests):
            first.setdefault(id(request), place)
        members = 1 if self._population.is_stock else self.population_config.vote_members
        draws = [(member, 0) for member in range(members)]
        distinct = [Question(requests[p], draws, False, [p]) for p in first.values()]
        for question in distinct:
            self._note_use(question, "mean likelihood")
        self._asked_by = ", ".join(sorted({str(each.request.task_name) for each in distinct}))
        part: dict[tuple[int, int], Any] = {}
        share = self._ranks.share(self.population_config.part)
        for member in range(members):
            mine = share_of(distinct, share, member, members)
            with self._bound(member):
                values = score(
                    [question.request for question in mine],
                    disable_tqdm=disable_tqdm or self._ranks.rank != 0,
                )
            for question, value in zip(mine, values, strict=True):
                part[question.places[0], member] = value
        if self.population_config.shard is not None:
            self._ranks.wait()  # the part is done when all processes are
            return []  # each is in the store
        if self.population_config.from_store:
            self._check_likelihoods(distinct, part)
        found = self._ranks.union(part)
        scores = {
            question.places[0]: [found[question.places[0], member] for member in range(members)]
            for question in distinct
        }
        if self._log is not None and self._ranks.rank == 0:
            for question in distinct:
                self._log.write(likelihood_line(question.request, scores[question.places[0]]))
        self._close_log()
        return [scores[first[id(request)]] for request in requests]

    def _check_likelihoods(
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
        check_complete(self._shelf, held, "loglikelihoods", [self._shelf.context(_LIKELIHOOD)])

    @abstractmethod
    def _note_use(self, question: Question, returned: str) -> None:
        """Note for the results file who answered a task, and what the harness got."""

    def _close_log(self) -> None:
        """Bring what all processes logged into one file."""
        if self._log is not None:
            self._ranks.wait()
            if self._ranks.rank == 0:
                self._log.merge(self._ranks.size)
            self._ranks.wait()

    @contextmanager
    def _bound(self, member: int | None) -> Iterator[None]:
        """Every row of the model calls within is answered by ``member``; None: by the model."""
        outer, self._bound_member = self._bound_member, member
        try:
            yield
        finally:
            self._bound_member = outer

    # ------------------------------------------------------- batch by batch, kept at once
    def _loglikelihood_tokens(
        self,
        requests: Sequence[Tokens],
        disable_tqdm: bool = False,
        override_bs: int | None = None,
    ) -> list[Scored]:
        """The harness's method, called for each of its own batches, of which each is kept at once.

        A batch of which a part is stored is run again whole, because its shape decides the last
        bits; what was stored stays.
        """
        if self._bound_member is None:  # the model itself, in a search for the batch size
            return super()._loglikelihood_tokens(requests, disable_tqdm, override_bs)  # type: ignore[misc, no-any-return]
        groups = sharing_rows(requests, self.logits_cache)  # type: ignore[attr-defined]
        places = self._places(requests, groups)
        known = self._stored(places)
        if self.population_config.from_store:  # `_by_member` tells what is missing, by NaN
            return [(math.nan, False) if value is None else value for value in known]
        if None not in known:
            return [value for value in known if value is not None]
        bar = tqdm(
            total=len(requests),
            initial=sum(each is not None for each in known),
            disable=disable_tqdm or any(text is None for text, _, _ in requests),
            desc=f"Loglikelihoods of member {self._bound_member}",
        )
        with bar as progress:
            for batch in self._batches_of(requests, groups, override_bs):
                if any(known[index] is None for group in batch for index in group):
                    self._score_batch(batch, requests, places, known, progress)
        return [value for value in known if value is not None]

    def _score_batch(
        self,
        batch: list[list[int]],
        requests: Sequence[Tokens],
        places: Sequence[Place],
        known: list[Scored | None],
        progress: Any,
    ) -> None:
        """Score the groups of a batch; what was not known is kept, and stands in ``known``."""

        def score(groups: list[list[int]]) -> list[Scored]:
            some = [requests[index] for group in groups for index in group]
            self._starts = self._starts_of(some)
            return super(MemberLikelihoods, self)._loglikelihood_tokens(  # type: ignore[misc, no-any-return]
                some, disable_tqdm=True, override_bs=len(groups)
            )

        for groups, values in self._row_limit.run(batch, score, self._asked_by):
            indices = [index for group in groups for index in group]
            new = [(i, value) for i, value in zip(indices, values, strict=True) if known[i] is None]
            if any(math.isnan(value) for _, (value, _) in new) and not self._population.is_stock:
                raise UserError(
                    f"sigma: a loglikelihood of member {self._bound_member} is not a number; use a "
                    "smaller sigma, or dtype=float32"
                )
            if self._shelf is not None:
                kept = [(places[index], value) for index, value in new]
                self._shelf.write_likelihoods(self._shelf.context(_LIKELIHOOD), kept)
            for index, value in new:
                known[index] = value
            progress.update(len(new))

    def _starts_of(self, requests: Sequence[Tokens]) -> dict[tuple[int, ...], set[int]]:
        """By row as it is fed: the index of the last context token of requests that feed it."""
        starts: dict[tuple[int, ...], set[int]] = {}
        for _, context, continuation in requests:
            fed = (context + continuation)[-(self.max_length + 1) :][:-1]  # type: ignore[attr-defined]
            start = max(len(fed) - len(continuation), 0)
            starts.setdefault(_unpadded(fed), set()).add(start)
        return starts

    def _first_noisy(self, rows: Sequence[Sequence[int]]) -> list[int] | None:
        """Where the noise of each row begins, padded with 0 on the right; None: at its first token.

        Raises:
            UserError: if a row may be either of two requests.
        """
        if self._population.noise_from == "prompt":
            return None
        found: list[int] = []
        for row in rows:
            starts = self._starts[_unpadded(row)]
            if len(starts) > 1:
                raise UserError(
                    "noise_from: generation cannot tell two requests of a batch apart that feed "
                    "the same tokens with different contexts; use batch_size=1"
                )
            found += starts
        return found

    def _places(self, requests: Sequence[Tokens], groups: list[list[int]]) -> list[Place]:
        """Where each request's score is kept.

        The harness reads continuations that share a row at the places of the longest of them, so
        its length is part of the prompt's digest.
        """
        longest = [0] * len(requests)
        for group in groups:
            length = max(len(requests[index][2]) for index in group)
            for index in group:
                longest[index] = length
        member = self._bound_member or 0
        return [
            Place(self._asked_by, digest_of_tokens(context, continuation, [length]), member)
            for (_, context, continuation), length in zip(requests, longest, strict=True)
        ]

    def _stored(self, places: Sequence[Place]) -> list[Scored | None]:
        if self._shelf is None:
            return [None] * len(places)
        return self._shelf.read_likelihoods(self._shelf.context(_LIKELIHOOD), places)

    def _batches_of(
        self, requests: Sequence[Tokens], groups: list[list[int]], override_bs: int | None
    ) -> list[list[list[int]]]:
        """The harness's batches of groups of requests that share one row.

        Its own ``Collator`` plans them, with ``batch_size=auto`` its own search for their size.
        """

        def longest(group: list[int]) -> Tokens:
            return requests[max(group, key=lambda index: len(requests[index][2]))]

        def longest_first(group: list[int]) -> tuple[int, tuple[int, ...]]:
            _, context, continuation = longest(group)
            return -len(context + continuation), tuple(context + continuation)

        rows: list[Tokens] = []

        def found(place: int, ordered: Sequence[list[int]]) -> int:
            rows.extend(map(longest, ordered) if not rows else ())  # asked of every group
            return int(self._batch_scheduler(place, rows))  # type: ignore[attr-defined]

        plan = Collator(groups, sort_fn=longest_first)
        size = override_bs if self.batch_size == "auto" else int(self.batch_size)  # type: ignore[attr-defined]
        if size:
            return list(plan.get_batched(n=size))
        # found for these requests, as the harness does, and once for all members
        asked = self._asked_by, max(len(row[1] + row[2]) for row in requests)
        self.batch_sizes = self._batch_sizes.setdefault(asked, {})
        return list(plan.get_batched(batch_fn=found))


def _unpadded(row: Sequence[int]) -> tuple[int, ...]:
    """A row without the zeros at its end, which the harness pads with."""
    length = next((end for end in range(len(row), 0, -1) if row[end - 1]), 0)
    return tuple(row[:length])


_LIKELIHOOD = {"loglikelihood": True}
