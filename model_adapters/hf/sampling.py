"""What transformers' scores become: processed row by row, drawn from a stream of each row's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from transformers.generation.configuration_utils import GenerationMode

from btrans_eval.errors import UserError
from btrans_eval.population.streams import Stream

OF_SCORES = (TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper, MinPLogitsWarper)
OF_HISTORY = (RepetitionPenaltyLogitsProcessor,)
_OF_MODES = (
    "num_beams", "constraints", "force_words_ids", "dola_layers", "prompt_lookup_num_tokens",
    "assistant_early_exit", "use_mtp", "penalty_alpha",
)  # fmt: skip


def refuse_other_modes(config: Any) -> None:
    """Refuse what a generation config asks for, unless it is the best token, or a drawn one."""
    mode = config.get_generation_mode()
    if mode in (GenerationMode.GREEDY_SEARCH, GenerationMode.SAMPLE):
        return
    given = {name: getattr(config, name, None) for name in _OF_MODES}
    name = next((n for n, value in given.items() if value not in (None, False, 1)), "gen_kwargs")
    raise UserError(
        f"{name}: asks for {mode.value.replace('_', ' ')}, and members decode greedily or sample; "
        f"got {given.get(name)}; take it out of --gen_kwargs or the model's generation_config.json"
    )


def refuse_rows_beside(config: Any, given: Mapping[str, Any], is_as_stock: bool) -> None:
    """Refuse a checkpoint that has a prompt answered by several rows, which belong to nobody.

    Args:
        config: the checkpoint's generation config, or None.
        given: the request's arguments, which win over it.
        is_as_stock: whether responses are those of `hf`, which may search with beams.
    """
    for name in ("num_return_sequences",) if is_as_stock else ("num_beams", "num_return_sequences"):
        rows = getattr(config, name, None) or 1
        if name not in given and rows > 1:
            # the other is checked as it stands in the file, whatever is given over it
            mend = "use --gen_kwargs num_beams=1" if name == "num_beams" else "set it to 1 there"
            raise UserError(
                f"{name}: must be 1 under a population, and the model's generation_config.json has "
                f"{rows}: a row belongs to one member; {mend}"
            )


def process(
    processors: LogitsProcessorList, histories: Callable[[], Sequence[list[int]]], scores: Tensor
) -> Tensor:
    """Apply processors of transformers to rows of different lengths.

    Args:
        processors: of the kinds in OF_SCORES, which look at the scores only, or OF_HISTORY.
        histories: gives prompt and response so far of each row, without padding: to a processor
            a padding token would be one that was said. Asked only where one looks at them.
        scores: float32, shape (rows, vocabulary).
    """
    for processor in processors:
        if isinstance(processor, OF_SCORES):
            of_scores: Any = processor  # looks at no tokens
            scores = of_scores(None, scores)
        else:
            alone = RepetitionPenaltyLogitsProcessor(processor.penalty)  # of one row, unpadded
            each = [
                alone(torch.tensor([history], device=scores.device), scores[row : row + 1])
                for row, history in enumerate(histories())
            ]
            scores = torch.cat(each)
    return scores


def choose(
    scores: Tensor, said: Tensor, streams: Sequence[Stream | None], places: Sequence[int]
) -> tuple[list[int], list[float]]:
    """The next token of each row: drawn from its stream, or the best where it has none.

    Args:
        scores: processed, shape (rows, vocabulary), -inf where excluded.
        said: what the model says, before it was processed, same shape.
        streams: of all rows, or None for all.
        places: number of each row's next token, from 0.

    Returns:
        The tokens, and the log-probability of each as `log_probabilities` has it.
    """
    if streams[0] is None:
        chosen, total = _best(scores)
    else:
        uniform = [
            stream.uniform(place)
            for stream, place in zip(streams, places, strict=True)
            if stream is not None
        ]
        chosen, total = _drawn(scores, uniform)
    # in one piece: the host waits for the device once; a whole number below 2^24 is a float32
    finite = total.isfinite().all()[None].float()
    parts = [chosen[:, 0].float(), log_probabilities(said, chosen), finite]
    *found, is_finite = torch.cat(parts).tolist()
    _check_finite(bool(is_finite))
    return list(map(int, found[: len(scores)])), found[len(scores) :]


def log_probabilities(said: Tensor, chosen: Tensor) -> Tensor:
    """Log of the softmax at the tokens that were chosen, nats, shape (rows,).

    Args:
        said: what the model says, float32, shape (rows, vocabulary).
        chosen: a token of each row, shape (rows, 1).
    """
    return (said.gather(-1, chosen) - said.logsumexp(-1, keepdim=True))[:, 0]


def best(scores: Tensor) -> Tensor:
    """The best token of each row, shape (rows, 1)."""
    chosen, value = _best(scores)
    _check_finite(bool(value.isfinite().all()))
    return chosen


def draw(scores: Tensor, uniform: Sequence[float]) -> Tensor:
    """A token of each row by inverting its distribution function, shape (rows, 1).

    Args:
        scores: shape (rows, vocabulary), -inf where excluded.
        uniform: a number in (0, 1] for each row.
    """
    chosen, total = _drawn(scores, uniform)
    _check_finite(bool(total.isfinite().all()))
    return chosen


def on(device: torch.device, numbers: Sequence[Any], dtype: torch.dtype = torch.long) -> Tensor:
    """Numbers of the host on the device, for which the host does not wait."""
    tensor = torch.tensor(numbers, dtype=dtype)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def _best(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The best token of each row, and its score, which is no number where one of the row is not."""
    chosen = scores.argmax(-1, keepdim=True)
    return chosen, scores.gather(-1, chosen)


def _drawn(scores: Tensor, uniform: Sequence[float]) -> tuple[Tensor, Tensor]:
    """A token of each row, and the sum of its probabilities, shapes (rows, 1)."""
    cumulative = scores.softmax(-1).cumsum(-1, dtype=_widest(scores.device))
    total = cumulative[:, -1:]
    threshold = on(scores.device, uniform, cumulative.dtype)[:, None]
    # the first token whose cumulative probability reaches the threshold: never one of
    # probability 0, because thresholds are above 0 and at most the sum of all
    chosen = torch.searchsorted(cumulative, threshold * total)
    # where the sum is no number nothing reaches it: kept a token until the sum is looked at
    return chosen.clamp(max=scores.shape[-1] - 1), total


def _check_finite(is_finite: bool) -> None:
    if not is_finite:
        raise UserError(
            "sigma: the model's output is not finite, so no token can be chosen; use a smaller "
            "sigma, or dtype=float32"
        )


class RowByRow:
    """What ``model.generate`` takes as ``custom_generate``, for rows that know nothing of others.

    Args:
        padding: padding tokens on the left of each row.
        streams: where row i draws its tokens from; None: the best token.
        ended: one more reason to end the batch.
    """

    def __init__(
        self,
        padding: Sequence[int],
        streams: Sequence[Stream] | None,
        ended: StoppingCriteria | None = None,
    ) -> None:
        self._padding, self._streams = padding, streams
        self._ended = ended
        self._noted: list[Tensor] = []

    def logprobs(self) -> list[list[float]]:
        """Log-probability of each row's generated tokens; past its end, of tokens it has not."""
        return torch.stack(self._noted, 1).tolist() if self._noted else []

    def __call__(
        self,
        model: Any,
        input_ids: Tensor,
        logits_processor: LogitsProcessorList,
        stopping_criteria: Any,
        generation_config: Any,
        **model_kwargs: Any,
    ) -> Any:
        processors: list[LogitsProcessor] = [
            _Unpadded(each, self._padding) if isinstance(each, OF_HISTORY) else each
            for each in logits_processor
        ]
        if self._streams is not None:
            processors.append(Draw(self._streams, input_ids.shape[1]))
            generation_config.do_sample = False  # a copy; the draw leaves one token to take
        else:
            processors.append(_Finite())
        if self._ended is not None:
            stopping_criteria = StoppingCriteriaList([*stopping_criteria, self._ended])
        return model._sample(
            input_ids,
            logits_processor=LogitsProcessorList([_Noting(processors, self._noted)]),
            stopping_criteria=stopping_criteria,
            generation_config=generation_config,
            **model_kwargs,
        )


class _Noting(LogitsProcessor):
    """What processors make of scores; notes how likely the model finds what is best then.

    Args:
        processors: the last of which leaves the best token to be taken.
        noted: gets the log-probabilities, shape (rows,); they stay on the device.
    """

    def __init__(self, processors: Sequence[LogitsProcessor], noted: list[Tensor]) -> None:
        self._processors: Any = LogitsProcessorList(processors)  # its types know no plain tensor
        self._noted = noted

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        processed: Tensor = self._processors(input_ids, scores)
        self._noted.append(log_probabilities(scores, processed.argmax(-1, keepdim=True)))
        return processed


class _Unpadded(LogitsProcessor):
    """A processor that looks at what was said, given each row without its padding."""

    def __init__(self, processor: LogitsProcessor, padding: Sequence[int]) -> None:
        self._processors, self._padding = LogitsProcessorList([processor]), padding

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        rows = input_ids.tolist()
        said = [row[start:] for start, row in zip(self._padding, rows, strict=True)]
        return process(self._processors, lambda: said, scores)


class Draw(LogitsProcessor):
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
        chosen = draw(scores, [stream.uniform(token) for stream in self._streams])
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen, 0.0)


class _Finite(LogitsProcessor):
    """Changes nothing; refuses scores of which the best is no number."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        best(scores)
        return scores


def _widest(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64
