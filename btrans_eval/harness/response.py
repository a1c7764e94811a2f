"""A response that remembers how it was generated, and is a plain string to the harness."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum, isfinite
from typing import Any

from btrans_eval.answers.extract import extract


class Response(str):
    """Text of one response.

    The harness may make another one of a plain text (``type(response)(gold)``), so all else can
    be left out.

    Attributes:
        tokens: generated tokens before a stop string is cut, without end token and padding.
        truncated: whether the limit was reached with neither end token nor stop string.
        mean_logprob: of those tokens, as `mean_logprob` has it.
    """

    tokens: int | None
    truncated: bool | None
    mean_logprob: float | None
    _answers: dict[str, str | None]

    def __new__(
        cls,
        text: str,
        tokens: int | None = None,
        truncated: bool | None = None,
        mean_logprob: float | None = None,
    ) -> Response:
        """Make the text with what is known of it."""
        self = super().__new__(cls, text)
        self.tokens, self.truncated, self.mean_logprob = tokens, truncated, mean_logprob
        self._answers = {}
        return self

    def __getnewargs__(self) -> tuple[Any, ...]:  # type: ignore[override]  # of str
        # ranks send responses to one another
        return str(self), self.tokens, self.truncated, self.mean_logprob


def mean_logprob(logprobs: Sequence[float] | None, tokens: int) -> float | None:
    """Mean log-probability of a response's tokens, nats, at most 0.

    Of each token given all before it, under the member's own distribution: the softmax of what
    the model says, at temperature 1, before penalties, top-k, top-p, min-p or anything else that
    generation makes of it. The tokens are those that ``Response.tokens`` counts: thoughts and a
    stop string belong to them, an end token does not. Rounded to 6 digits: float32 knows no more.

    Args:
        logprobs: of the generated tokens, and of anything that came after them; None: not known.
        tokens: how many of them the response has.

    Returns:
        None where it is not known, of no token, and where a token's has no finite value.
    """
    if logprobs is None or not tokens:
        return None
    if len(logprobs) < tokens:
        raise ValueError(f"{tokens} tokens have but {len(logprobs)} log-probabilities")
    total = fsum(logprobs[:tokens])
    return round(total / tokens, 6) + 0.0 if isfinite(total) else None  # no negative zero


def answer_in(response: str, kind: str) -> str | None:
    """What a response says of a kind; read once, whoever asks first."""
    if not isinstance(response, Response):
        return extract(response, kind)
    if kind not in response._answers:
        response._answers[kind] = extract(response, kind)
    return response._answers[kind]
