"""Token sampling in transformers from a stream of its own for each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from btrans_eval.errors import UserError
from btrans_eval.population.streams import Stream


class OwnStreams:
    """What ``model.generate`` takes as ``custom_generate``: row i draws from ``streams[i]``.

    All logits processors that transformers prepares (temperature, top-k, top-p, min-p,
    repetition penalty, ...) come first, in its order; only the draw itself is ours.
    """

    def __init__(self, streams: Sequence[Stream]) -> None:
        self._streams = streams

    def __call__(
        self,
        model: Any,
        input_ids: Tensor,
        logits_processor: LogitsProcessorList,
        stopping_criteria: Any,
        generation_config: Any,
        **model_kwargs: Any,
    ) -> Any:
        draw = Draw(self._streams, input_ids.shape[1])
        generation_config.do_sample = False  # a copy; the draw leaves one token to take
        return model._sample(
            input_ids,
            logits_processor=LogitsProcessorList([*logits_processor, draw]),
            stopping_criteria=stopping_criteria,
            generation_config=generation_config,
            **model_kwargs,
        )


class Draw(LogitsProcessor):  # type: ignore[misc]
    """Scores that leave each row one token, drawn by inverting its distribution function.

    Args:
        streams: one for each row.
        prompt_length: tokens of the padded prompt; the next one is token 0 of the response.
    """

    def __init__(self, streams: Sequence[Stream], prompt_length: int) -> None:
        self._streams, self._start = streams, prompt_length

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Args: token ids (rows, tokens); scores (rows, vocabulary), -inf where excluded."""
        token = input_ids.shape[1] - self._start
        uniform = [[stream.uniform(token)] for stream in self._streams]
        cumulative = scores.softmax(-1).cumsum(-1, dtype=_widest(scores.device))
        threshold = torch.tensor(uniform, dtype=cumulative.dtype, device=scores.device)
        if not bool(cumulative[:, -1].isfinite().all()):
            raise UserError(
                "sigma: the model's output is not finite, so no token can be drawn; use a smaller "
                "sigma, or dtype=float32"
            )
        # the first token whose cumulative probability reaches the threshold: never one of
        # probability 0, because thresholds are above 0 and at most the sum of all
        chosen = torch.searchsorted(cumulative, threshold * cumulative[:, -1:])
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen, 0.0)


def _widest(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64
