"""What an engine makes of a few tokens, to see what noise does to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from vllm import SamplingParams, TokensPrompt

from btrans_eval.model_adapters.vllm.replicas import Engines, OneEngine
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
        return [read_logprobs(output) for output in self.ask(asked, {"prompt_logprobs": 1})]

    def generate(self) -> tuple[list[int], list[float]]:
        """The probe with tokens that vLLM adds to it, and the log likelihoods of these."""
        (output,) = self.ask([self.tokens()], {"logprobs": 1, "max_tokens": _LENGTH})
        return [*self.tokens(), *output.outputs[0].token_ids], new_logprobs(output)

    def ask(self, prompts: Sequence[Sequence[int]], parameters: Mapping[str, Any]) -> list[Any]:
        """vLLM's outputs, from an empty cache, of whoever's turn it is.

        Args:
            prompts: tokens of each.
            parameters: for vLLM, beside that nothing is sampled.
        """
        self._engines.forget()
        asked = [TokensPrompt(prompt_token_ids=list(each)) for each in prompts]
        return self._engines.generate(asked, [_greedy(parameters) for _ in asked], None)

    def ask_members(
        self, prompts: Mapping[str, Sequence[int]], parameters: Mapping[str, Any]
    ) -> dict[str, Any]:
        """vLLM's outputs, from an empty cache, of members that share each step.

        Args:
            prompts: tokens of each, by the key of who answers.
            parameters: as of `ask`.
        """
        assert isinstance(self._engines, OneEngine)  # members of several take turns
        self._engines.forget()
        asked, given = [], []
        for key, tokens in prompts.items():
            asked.append(TokensPrompt(prompt_token_ids=list(tokens), cache_salt=key))
            given.append(_greedy(parameters))
            name(given[-1], key)
        outputs = self._engines.generate_together(asked, given)
        return dict(zip(prompts, outputs, strict=True))


def _greedy(parameters: Mapping[str, Any]) -> SamplingParams:
    usual = {"temperature": 0, "max_tokens": 1, "ignore_eos": True}
    return SamplingParams(**{**usual, **parameters})


def read_logprobs(output: Any) -> list[float]:
    """Log likelihoods of a prompt's tokens, from the second on."""
    return _logprobs(output.prompt_logprobs[1:], output.prompt_token_ids[1:])


def new_logprobs(output: Any) -> list[float]:
    """Log likelihoods of the tokens that vLLM has generated."""
    return logprobs_of(output.outputs[0])


def logprobs_of(completion: Any) -> list[float]:
    """Those of one of an output's completions, an end token among them."""
    return _logprobs(completion.logprobs, completion.token_ids)


def distance(some: Sequence[float], others: Sequence[float]) -> float:
    """Mean absolute difference."""
    return fmean(abs(a - b) for a, b in zip(some, others, strict=True))


def _logprobs(of_tokens: Sequence[Any], tokens: Sequence[int]) -> list[float]:
    return [float(each[token].logprob) for each, token in zip(of_tokens, tokens, strict=True)]
