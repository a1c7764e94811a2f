"""What an engine makes of a few tokens, to see what noise does to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from vllm import SamplingParams, TokensPrompt

from btrans_eval.model_adapters.vllm.replicas import Engines
from btrans_eval.model_adapters.vllm.tables import name

_LENGTH = 16


class Probe:
    """Asks engines about a few tokens, whoever answers.

    Args:
        engines: as started.
        vocabulary: how many tokens the model knows.
    """

    def __init__(self, engines: Engines, vocabulary: int) -> None:
        self._engines = engines
        self._known = min(vocabulary, 1000)

    def tokens(self, start: int = 5, length: int = _LENGTH) -> list[int]:
        """Some that the model knows."""
        return [(start + 7 * place) % self._known for place in range(length)]

    def look(self, *prompts: Sequence[int]) -> list[list[float]]:
        """Log likelihoods of tokens as vLLM reads them in one batch, from the second on.

        Args:
            prompts: by default one, of `tokens`.
        """
        asked = prompts or [self.tokens()]
        outputs = self.ask(asked, [None] * len(asked), {"prompt_logprobs": 1})
        return [read_logprobs(output) for output in outputs]

    def generate(self) -> tuple[list[int], list[float]]:
        """The probe with tokens that vLLM adds to it, and the log likelihoods of these."""
        (output,) = self.ask([self.tokens()], [None], {"logprobs": 1, "max_tokens": _LENGTH})
        return [*self.tokens(), *output.outputs[0].token_ids], new_logprobs(output)

    def ask(
        self,
        prompts: Sequence[Sequence[int]],
        keys: Sequence[str | None],
        parameters: Mapping[str, Any],
    ) -> list[Any]:
        """vLLM's outputs, from an empty cache, in one batch.

        Args:
            prompts: tokens of each.
            keys: of who answers, in turn; None: whose turn it is, or the model itself.
            parameters: for vLLM, beside that nothing is sampled.
        """
        self._engines.forget()
        usual = {"temperature": 0, "max_tokens": 1, "ignore_eos": True}
        asked, given = [], []
        for tokens, key in zip(prompts, keys, strict=True):
            own = SamplingParams(**{**usual, **parameters})
            asked.append(TokensPrompt(prompt_token_ids=list(tokens)))
            if key is not None:
                asked[-1]["cache_salt"] = key
                name(own, key)
            given.append(own)
        return self._engines.generate(asked, given, None)


def read_logprobs(output: Any) -> list[float]:
    """Log likelihoods of a prompt's tokens, from the second on."""
    return _logprobs(output.prompt_logprobs[1:], output.prompt_token_ids[1:])


def new_logprobs(output: Any) -> list[float]:
    """Log likelihoods of the tokens that vLLM has generated."""
    return _logprobs(output.outputs[0].logprobs, output.outputs[0].token_ids)


def distance(some: Sequence[float], others: Sequence[float]) -> float:
    """Mean absolute difference."""
    return fmean(abs(a - b) for a, b in zip(some, others, strict=True))


def _logprobs(of_tokens: Sequence[Any], tokens: Sequence[int]) -> list[float]:
    return [float(each[token].logprob) for each, token in zip(of_tokens, tokens, strict=True)]
