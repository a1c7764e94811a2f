"""What generates tokens for a population, as the runner sees it: a few methods, and no lm_eval.

An engine is one loaded model. It is told once whose members answer (``become``), and then which
rows to generate, or which tokens to score. What is asked of whom, what is kept and what the
harness gets is the runner's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from btrans_eval.config import PopulationConfig
from btrans_eval.harness.batches import Row
from btrans_eval.harness.memory import RowLimit
from btrans_eval.harness.plan import Question
from btrans_eval.harness.response import Response
from btrans_eval.harness.turns import Order
from btrans_eval.population.population import Population
from btrans_eval.store.keys import canonical, digest_of_tokens

Scored = tuple[float, bool]
"""Loglikelihood of a continuation, and whether greedy decoding gives it."""
Tokens = tuple[Any, list[int], list[int]]
"""The texts, context tokens and continuation tokens of one loglikelihood."""
STATIC = "static"
"""The batching of rows that are generated in batches which end as one."""


class Reader(Protocol):
    """What turns a prompt into tokens."""

    def prompt_tokens(self, request: Any) -> list[int]:
        """The prompt as it is fed, without padding."""


class Generator(Reader, Protocol):
    """What generates the rows of requests."""

    @property
    def name(self) -> str:
        """Name of the model, for listings."""

    @property
    def context(self) -> int:
        """Tokens of a prompt and its response at most."""

    def become(self, population: Population, config: PopulationConfig) -> None:
        """From now on, rows are answered by this population's members."""

    def facts(self) -> Mapping[str, Any]:
        """What responses depend on, apart from the members and the request."""

    def arguments(self, request: Any) -> dict[str, Any]:
        """The generation arguments of a request, ``max_gen_toks`` and ``do_sample`` among them.

        Raises:
            UserError: if this model cannot be asked with them.
        """

    def asked(self, request: Any) -> dict[str, Any]:
        """All of the request's generation arguments that its responses depend on."""

    def length(self, request: Any) -> int:
        """Tokens of the prompt as it was written; batches begin with the longest."""

    def batching(self, request: Any) -> str:
        """How rows of such requests are generated: `STATIC`, or a word for one flow of rows."""

    def rows_at_once(self, longest: Any) -> int:
        """How many rows a batch has at most, given the request with the longest prompt."""

    def generate(self, rows: Sequence[Row], order: Order) -> Iterator[list[tuple[Row, Response]]]:
        """Rows of equal generation arguments, in groups, as they are finished.

        Args:
            rows: all that may be generated.
            order: makes the turns in which they are; static batches generate all as they stand.
        """


class Scorer(Protocol):
    """What scores tokens."""

    row_limit: RowLimit
    """How many rows have fitted into memory."""

    members_at_once: int
    """How many members may score the same tokens as one batch; more than one: by `score_each`."""

    @property
    def shares_rows(self) -> bool:
        """Whether continuations of what feeds the same tokens are read off one row."""

    def answering(self, member: int | None) -> AbstractContextManager[None]:
        """Within, tokens are scored under a member; None: by the model itself."""

    def batches(
        self, requests: Sequence[Tokens], groups: list[list[int]], task: str, size: int | None
    ) -> list[list[list[int]]]:
        """The groups (indices of requests that share a row) in batches that run as one.

        Args:
            task: who asks; sizes that are searched for are kept by it.
            size: rows of a batch, where the harness has decided it.
        """

    def score(self, requests: Sequence[Tokens], rows: int | None) -> list[Scored]:
        """Scores of requests that together take so many rows, as one batch.

        Args:
            rows: None where it is not known; then in batches of the engine's own.
        """


class MixedScorer(Scorer, Protocol):
    """What scores tokens of several members in one batch."""

    def score_each(
        self, requests: Sequence[Tokens], members: Sequence[int]
    ) -> dict[int, list[Scored]]:
        """By member, its scores of all these requests, as one batch."""


class Engine(Generator, Scorer, Protocol):
    """One loaded model."""


def stops_of_key(
    until: list[str], end: str, given: Mapping[str, Any], told: Mapping[str, Any]
) -> Any:
    """A response's stop strings in its key, which must tell what it was drawn by, if it was.

    Draws are keyed by the arguments as they were given, of which several may be resolved alike.
    Where the resolved ones would be taken for others than were given, these stand beside them.

    Args:
        until: as resolved.
        end: text of the end token, which is added to stop strings that lack it.
        given: the arguments that draws are keyed by, ``do_sample`` among them.
        told: what the rest of the key tells of them, but for the stop strings.
    """
    is_added = end in until[-1:] and end not in until[:-1]
    taken = {**told, "until": until[:-1] if is_added else until}
    if not given["do_sample"] or canonical(given) == canonical(taken):
        return until
    return {"resolved": until, "given": dict(given)}


def prompt_digest(engine: Reader, question: Question) -> str:
    """Digest of a question's prompt, which its responses are known by."""
    if question.prompt is None:
        question.prompt = digest_of_tokens(engine.prompt_tokens(question.request))
    return question.prompt
