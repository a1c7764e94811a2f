"""``model.generate`` followed as trl calls it: where rows end, and how likely their tokens were."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import StoppingCriteria, StoppingCriteriaList

Watch = Callable[[list[int]], bool]
"""Whether a response is done with its last token, asked after each of its tokens."""


class RowEnds(StoppingCriteria):
    """Ends each row of a batch when its own watch says so.

    Args:
        watches: one for each row.

    Attributes:
        said: the tokens of each row, up to its end.
    """

    def __init__(self, watches: Sequence[Watch]) -> None:
        self._watches = list(watches)
        self._is_done = [False] * len(watches)
        self.said: list[list[int]] = [[] for _ in watches]

    def __call__(self, input_ids: Tensor, scores: Any, **others: Any) -> Tensor:
        """Which rows are done, shape (rows,).

        Args: token ids (rows, tokens), one token longer than at the last call.
        """
        for row, token in enumerate(input_ids[:, -1].tolist()):
            if not self._is_done[row]:
                self.said[row].append(token)
                self._is_done[row] = self._watches[row](self.said[row])
        return torch.tensor(self._is_done, device=input_ids.device)


class Likelihoods:
    """Log-probabilities of the tokens that were generated, from the logits that generated them.

    One step's logits are held at a time.

    Args:
        temperature: logits are divided by it.
    """

    def __init__(self, temperature: float) -> None:
        self._temperature = temperature
        self._before: Tensor | None = None  # (rows, vocabulary)
        self._found: list[Tensor] = []  # (rows,) each

    def see(self, tokens: Tensor, logits: Tensor) -> None:
        """A forward pass of ``generate``: tokens (rows, n), logits (rows, any, vocabulary)."""
        if self._before is not None:
            self._found.append(self._of(tokens[:, 0]))
        self._before = torch.log_softmax(logits[:, -1].float() / self._temperature, dim=-1)

    def of(self, completions: Sequence[Sequence[int]]) -> list[list[float]]:
        """Of each row's tokens."""
        if self._before is not None:
            steps = len(self._found)
            last = [row[steps] if len(row) > steps else 0 for row in completions]
            self._found.append(self._of(torch.tensor(last, device=self._before.device)))
        table = torch.stack(self._found, dim=1).tolist()  # (rows, tokens)
        return [list(row[: len(said)]) for row, said in zip(table, completions, strict=True)]

    def _of(self, tokens: Tensor) -> Tensor:
        assert self._before is not None
        return self._before.gather(1, tokens[:, None])[:, 0]


@contextmanager
def seen(model: Any, likelihoods: Likelihoods | None, ends: RowEnds | None) -> Iterator[None]:
    """Within the block, ``model.generate`` is followed, and rows end by their own watches.

    Args:
        model: a transformers model, without wrappers; only its public ``generate`` and forward
            hooks are used.
        likelihoods: told of every forward pass; None: nobody is.
        ends: when rows end, beside the model's own end tokens; None: never.
    """

    def follow(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        assert likelihoods is not None
        tokens: Any = kwargs.get("input_ids", args[0] if args else None)
        likelihoods.see(tokens, output.logits)

    generate, own = model.generate, vars(model).get("generate")

    def ending(*args: Any, **kwargs: Any) -> Any:
        return generate(*args, **{"stopping_criteria": StoppingCriteriaList([ends]), **kwargs})

    with ExitStack() as stack:
        if likelihoods is not None:
            stack.callback(model.register_forward_hook(follow, with_kwargs=True).remove)
        if ends is not None:
            model.generate = ending
            stack.callback(setattr, model, "generate", own) if own else stack.callback(
                delattr, model, "generate"
            )
        yield
