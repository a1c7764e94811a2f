"""When a generated response ends, and what its text is."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

from lm_eval.models.utils import postprocess_generated_text

from btrans_eval.harness.response import Response


@dataclass(frozen=True)
class Ending:
    """The rules by which responses to one kind of request end.

    Attributes:
        decode: text of token ids; with or without special tokens.
        until: stop strings; special tokens count, as for the harness's own stopping criterion.
        limit: tokens of a response at most, at which it counts as truncated.
        ends: tokens after which a response holds nothing more.
        think_end_token: id or text of what ends a model's thinking, if it has one.
    """

    decode: Callable[[list[int], bool], str]
    until: list[str]
    limit: int
    ends: frozenset[int]
    think_end_token: int | str | None

    def is_done(self, tokens: list[int]) -> bool:
        """Whether a response that was not done before its last token is done with it."""
        if tokens[-1] in self.ends or len(tokens) >= self.limit:
            return True
        # a stop string of n bytes is spread over n tokens at most; one more may share a character
        tail = max((len(stop.encode()) for stop in self.until), default=0) + 4
        near = self.decode(tokens[-tail:], False)
        return any(stop and stop in near for stop in self.until) and self._has_stopped(tokens)

    def response(self, tokens: list[int]) -> Response:
        """The text, with how many tokens it took and whether the limit cut it.

        Args:
            tokens: the response, with anything that its batch wrote after its end.
        """
        count = next((i for i, token in enumerate(tokens) if token in self.ends), len(tokens))
        stopped = self._has_stopped(tokens[:count])
        if stopped:

            def by(length: int) -> bool:
                return self._has_stopped(tokens[:length])

            count = bisect_left(range(count + 1), True, key=by)
        truncated = count >= self.limit and not stopped
        # what came after the stop string depends on how long the rest of the batch went on
        return Response(self._text(tokens[:count]), count, truncated)

    def _has_stopped(self, tokens: list[int]) -> bool:
        raw = self.decode(tokens, False)
        return any(stop and stop in raw for stop in self.until)

    def _text(self, tokens: list[int]) -> str:
        """What the stock ``hf`` model type makes of generated tokens."""
        end = self.think_end_token
        if isinstance(end, int) and end in tokens:
            tokens = tokens[len(tokens) - tokens[::-1].index(end) :]
        text = self.decode(tokens, True)
        if isinstance(end, int):
            text = text.lstrip()
        stop_thinking = end if isinstance(end, str) else None
        return postprocess_generated_text(text, stop=self.until, think_end_token=stop_thinking)  # type: ignore[no-any-return]
