"""When a generated response ends, and what its text is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lm_eval.models.utils import postprocess_generated_text

from btrans_eval.harness.response import Response, mean_logprob
from btrans_eval.model_adapters.thoughts import first_prefix, has_to_wait, stop_place


@dataclass(frozen=True)
class Ending:
    """The rules by which responses to one kind of request end.

    Attributes:
        decode: text of token ids; with or without special tokens.
        until: stop strings; special tokens count, as for the harness's own stopping criterion.
        limit: tokens of a response at most, at which it counts as truncated.
        ends: tokens after which a response holds nothing more.
        think_end_token: id or text of what ends a model's thinking, if it has one.
        end_text: text of the end token, which ends a response in its thoughts, too.
        may_think: whether a response that ends no thoughts may be nothing but thoughts.
    """

    decode: Callable[[list[int], bool], str]
    until: list[str]
    limit: int
    ends: frozenset[int]
    think_end_token: int | str | None
    end_text: str = ""
    may_think: bool = True
    _completing: dict[int, bool] = field(default_factory=dict, repr=False, compare=False)

    @property
    def waits(self) -> bool:
        """Whether stop strings count only behind the thoughts."""
        return has_to_wait(self.think_end_token, self.until, self.end_text)

    def watch(self) -> Callable[[list[int]], bool]:
        """Whether one response is done with its last token, to be asked after each of its tokens.

        Thoughts are long and full of stop strings, so it is remembered whether they last.
        """
        thinks = self.waits

        def is_done(tokens: list[int]) -> bool:
            nonlocal thinks
            thinks = thinks and not self._may_end_thoughts(tokens)
            if tokens[-1] in self.ends or len(tokens) >= self.limit:
                return True
            if not self._may_complete(tokens[-1]):
                return False
            is_near = self._is_near(tokens, [self.end_text] if thinks else self.until)
            return is_near and self._has_stopped(tokens, self.waits)

        return is_done

    def response(self, tokens: list[int], logprobs: Sequence[float] | None = None) -> Response:
        """The text, with how many tokens it took, whether the limit cut it, and how likely it was.

        Args:
            tokens: the response, with anything that its batch wrote after its end.
            logprobs: log-probability of each, nats; None: not known.
        """
        count = next((i for i, token in enumerate(tokens) if token in self.ends), len(tokens))
        thinks = self.waits and (self.may_think or self._ends_thoughts(tokens[:count]))
        stopped = self._has_stopped(tokens[:count], thinks)
        if stopped:
            count = first_prefix(count, lambda length: self._has_stopped(tokens[:length], thinks))
        truncated = count >= self.limit and not stopped
        # what came after the stop string depends on how long the rest of the batch went on
        mean = mean_logprob(logprobs, count)
        return Response(self._text(tokens[:count]), count, truncated, mean)

    def _may_complete(self, token: int) -> bool:
        """Whether any of the texts that are looked for may end with this token.

        Asked of every token of every row, so it is looked up: decoding the end of a few hundred
        rows costs the host milliseconds in which a GPU waits.
        """
        if token not in self._completing:
            lasts = {text[-1] for text in (*self.until, self.end_text) if text}
            # twice: alone it may lose the space that it stands for, where a text begins or ends
            said = self.decode([token, token], False)
            unsure = not said or "\ufffd" in said  # part of a character
            self._completing[token] = unsure or not lasts.isdisjoint(said)
        return self._completing[token]

    def _is_near(self, tokens: list[int], texts: Sequence[str]) -> bool:
        """Whether one of some texts stands at the end, or shortly before."""
        # a string of n bytes is spread over n tokens at most; one more may share a character
        tail = max((len(text.encode()) for text in texts), default=0) + 4
        near = self.decode(tokens[-tail:], False)
        return any(text and text in near for text in texts)

    def _may_end_thoughts(self, tokens: list[int]) -> bool:
        end = self.think_end_token
        return tokens[-1] == end if isinstance(end, int) else self._is_near(tokens, [end or ""])

    def _ends_thoughts(self, tokens: list[int]) -> bool:
        end = self.think_end_token
        return end in (tokens if isinstance(end, int) else self.decode(tokens, False))

    def _has_stopped(self, tokens: list[int], thinks: bool) -> bool:
        end, raw = self.think_end_token, self.decode(tokens, False)
        if not thinks:
            return stop_place(raw, self.until) is not None
        if self.end_text and self.end_text in raw:
            return True
        if isinstance(end, str):
            return stop_place(raw, self.until, end) is not None
        if end not in tokens:
            return False
        answer = self.decode(tokens[tokens.index(end) + 1 :], False).lstrip()
        return stop_place(answer, self.until) is not None

    def _text(self, tokens: list[int]) -> str:
        """What the stock ``hf`` model type makes of generated tokens."""
        end = self.think_end_token
        if isinstance(end, int) and end in tokens:
            tokens = tokens[len(tokens) - tokens[::-1].index(end) :]
        text = self.decode(tokens, True)
        if isinstance(end, int):
            text = text.lstrip()
        stop_thinking = end if isinstance(end, str) else None
        cut = postprocess_generated_text(text, stop=self.until, think_end_token=stop_thinking)
        return str(cut)
