"""When a batch that ends as one may end: once each row is done by our own rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from transformers import LogitsProcessorList, StoppingCriteria, StoppingCriteriaList
from transformers.generation.configuration_utils import GenerationMode

from btrans_eval.errors import UserError


class AllDone(StoppingCriteria):
    """Ends a batch at the first token at which all of its rows have been done.

    Args:
        watches: of each row, whether it is done with these tokens of the response.
    """

    def __init__(self, watches: Sequence[Callable[[list[int]], bool]]) -> None:
        self._watches = list(watches)
        self._said: list[list[int]] = [[] for _ in watches]
        self._is_done = [False] * len(watches)

    def __call__(self, input_ids: Tensor, scores: Any, **others: Any) -> bool:
        """Args: token ids (rows, tokens), one token longer than at the last call."""
        for row, token in enumerate(input_ids[:, -1].tolist()):
            if not self._is_done[row]:
                self._said[row].append(token)
                self._is_done[row] = self._watches[row](self._said[row])
        return all(self._is_done)


class StockUntil:
    """What ``model.generate`` takes as ``custom_generate`` to do what it does by itself, greedily.

    Args:
        ended: one more reason to end the batch.
    """

    def __init__(self, ended: StoppingCriteria) -> None:
        self._ended = ended

    def __call__(
        self,
        model: Any,
        input_ids: Tensor,
        logits_processor: LogitsProcessorList,
        stopping_criteria: StoppingCriteriaList,
        generation_config: Any,
        **model_kwargs: Any,
    ) -> Any:
        mode = generation_config.get_generation_mode()
        if mode is not GenerationMode.GREEDY_SEARCH:
            raise UserError(
                "think_end_token: stop strings wait for the end of the thoughts in greedy or "
                f"sampled decoding only, but the generation config asks for {mode.value}"
            )
        return model._sample(
            input_ids,
            logits_processor=logits_processor,
            stopping_criteria=StoppingCriteriaList([*stopping_criteria, self._ended]),
            generation_config=generation_config,
            **model_kwargs,
        )
