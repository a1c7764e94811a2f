"""``btrans-hf``: the harness's ``hf`` model type, answered by a population."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import handle_stop_sequences, postprocess_generated_text

from btrans_eval.config import (
    OWN_ARGUMENTS,
    PopulationConfig,
    refuse_misspelled,
    split_arguments,
)
from btrans_eval.demo import SIGMA, demo_arguments
from btrans_eval.errors import UserError
from btrans_eval.harness.batches import Row
from btrans_eval.harness.lm import PopulationLM
from btrans_eval.harness.ranks import Ranks, prepare_launch
from btrans_eval.harness.response import Response
from btrans_eval.harness.responses import open_log
from btrans_eval.population.population import Population

logger = logging.getLogger(__name__)


class BTransHF(PopulationLM, HFLM):  # type: ignore[misc]
    """A population of one transformers model under lm_eval.

    Takes every argument of ``HFLM`` and those of ``btrans_eval.config.PopulationConfig``.

    Raises:
        UserError: on an argument outside its range, before the model is loaded.
    """

    def __init__(self, pretrained: Any = None, **arguments: Any) -> None:
        own, others = split_arguments(arguments)
        refuse_misspelled(others, OWN_ARGUMENTS)
        if pretrained is None:
            others = {**demo_arguments(), **others}
            pretrained = others.pop("pretrained")
            own.setdefault("sigma", SIGMA)
            logger.warning("no `pretrained` given: running the demo model, SmolLM2-135M-Instruct")
        if "sigma" not in own:
            raise UserError("sigma: must be given for a model of your own; for example sigma=0.01")
        self.population_config = config = PopulationConfig(**own)
        if others.get("backend") == "seq2seq":
            raise UserError("backend: must be causal under a population, got 'seq2seq'")
        # HFLM's own default, cuda, fails on a machine without
        others.setdefault("device", "cuda" if torch.cuda.is_available() else "cpu")
        prepare_launch()
        super().__init__(pretrained, **others)
        self._ranks = Ranks.of(self)
        self._population = Population(
            self.model,
            sigma=config.sigma,
            mu=config.mu,
            prior=config.prior,
            noise=config.noise,
            norms=config.norms,
            seed=config.seed,
        )
        self._log = open_log(config.responses, self._ranks)
        self._used = {}

    # ------------------------------------------------------------------ loading
    def _get_config(self, pretrained: str, *args: Any, **kwargs: Any) -> None:
        try:
            super()._get_config(pretrained, *args, **kwargs)
        except OSError as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"pretrained: must be a model on the hub or in a folder, but {pretrained!r} "
                f"could not be read ({reason})"
            ) from error
        if getattr(self._config, "is_encoder_decoder", False):
            raise UserError(
                f"pretrained: must be a decoder-only model, but {pretrained} is an encoder-decoder"
            )

    def _create_model(self, pretrained: str, *args: Any, **kwargs: Any) -> None:
        try:
            super()._create_model(pretrained, *args, **kwargs)
        except TypeError as error:
            if "unexpected keyword argument" not in str(error):
                raise
            name = str(error).rsplit("'", 2)[1]
            raise UserError(f"{name}: no such model argument ({error})") from error

    # --------------------------------------------------------------- generation
    def _generate(self, batch: Sequence[Row]) -> list[Response]:
        """One text per row, each of its own member."""
        prompts = [row.question.request.args[0] for row in batch]
        arguments = self._arguments(batch[0].question.request)
        end = self.tok_decode(self.eot_token_id, skip_special_tokens=False)
        until = handle_stop_sequences(arguments.pop("until", None), eos=end)
        limit = arguments.pop("max_gen_toks")
        tokens, mask = self.tok_batch_encode(
            prompts, left_truncate_len=self.max_length - limit, truncation=self.truncation
        )
        max_length = arguments.pop("max_length", tokens.shape[1] + limit)
        with self._population.members([row.member for row in batch]):
            output = self._model_generate(
                context=tokens.to(self.device),
                attention_mask=mask.to(self.device),
                stop=until,
                max_length=max_length,
                **arguments,
            )
        rows = [row[tokens.shape[1] :] for row in output.tolist()]
        return [self._response(row, until, max_length - tokens.shape[1]) for row in rows]

    def _response(self, tokens: list[int], until: list[str], limit: int) -> Response:
        """The text of one row, with how many tokens it took and whether the limit cut it."""
        ends = self._end_tokens()
        count = next((i for i, token in enumerate(tokens) if token in ends), len(tokens))

        def has_stopped(length: int) -> bool:
            raw = self.tok_decode(tokens[:length])
            return any(stop and stop in raw for stop in until)

        stopped = has_stopped(count)
        if stopped:  # the row went on until the last row of its batch was done
            count = bisect_left(range(count + 1), True, key=has_stopped)
        truncated = count >= limit and not stopped
        return Response(self._text(tokens, until), count, truncated)

    def _end_tokens(self) -> set[int]:
        """Tokens after which a row holds nothing more: the model's end tokens, and padding."""
        ends = getattr(self.model.generation_config, "eos_token_id", None)
        listed = ends if isinstance(ends, list) else [ends]
        return {*listed, self.eot_token_id, self.tokenizer.pad_token_id} - {None}

    def _text(self, tokens: list[int], until: list[str]) -> str:
        """What the stock ``hf`` model type makes of generated tokens."""
        end = self.think_end_token
        if isinstance(end, int) and end in tokens:
            tokens = tokens[len(tokens) - tokens[::-1].index(end) :]
        text = self.tok_decode(tokens)
        if isinstance(end, int):
            text = text.lstrip()
        stop_thinking = end if isinstance(end, str) else None
        return postprocess_generated_text(text, stop=until, think_end_token=stop_thinking)  # type: ignore[no-any-return]

    def _rows_per_batch(self) -> int:
        if self.batch_size == "auto":
            return int(self._detect_batch_size())
        return int(self.batch_size)

    def _detect_batch_size(self, *args: Any, **kwargs: Any) -> Any:
        with self._bound(None):  # the search runs the model as it is
            return super()._detect_batch_size(*args, **kwargs)

    def _model_call(self, inps: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if self._bound_member is None:
            return super()._model_call(inps, *args, **kwargs)  # type: ignore[no-any-return]
        with self._population.members([self._bound_member] * inps.shape[0]):
            return super()._model_call(inps, *args, **kwargs)  # type: ignore[no-any-return]
