"""``btrans-hf``: the harness's ``hf`` model type, answered by a population."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import torch
import transformers
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
from btrans_eval.harness.judging import keep_verdicts
from btrans_eval.harness.lm import PopulationLM
from btrans_eval.harness.memory import RowLimit
from btrans_eval.harness.ranks import Ranks, prepare_launch
from btrans_eval.harness.response import Response
from btrans_eval.harness.responses import open_log
from btrans_eval.harness.shelf import Shelf
from btrans_eval.model_adapters.sampling import OwnStreams
from btrans_eval.population import calibrate, fingerprint
from btrans_eval.population.population import Population
from btrans_eval.population.streams import Stream
from btrans_eval.store.keys import canonical
from btrans_eval.store.store import Store

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
            if not {"sigma", "kl"} & set(own) and own.get("prior", "isotropic") == "isotropic":
                own["sigma"] = SIGMA  # known: the demo needs no calibration
            logger.warning("no `pretrained` given: running the demo model, SmolLM2-135M-Instruct")
        self.population_config = config = PopulationConfig(**own)
        if others.get("backend") == "seq2seq":
            raise UserError("backend: must be causal under a population, got 'seq2seq'")
        # HFLM's own default, cuda, fails on a machine without
        others.setdefault("device", "cuda" if torch.cuda.is_available() else "cpu")
        prepare_launch()
        super().__init__(pretrained, **others)
        self._ranks = Ranks.of(self)
        self._logits_cache = self.logits_cache
        self._row_limit = RowLimit()
        self._log = None
        self._store: Store | None = None
        self._facts: dict[str, Any] | None = None
        self.become(config, config.responses)

    def become(self, config: PopulationConfig, responses: str | None) -> None:
        """From now on, answer as another population of the same model.

        Args:
            config: the population.
            responses: JSON-lines file for every member's response, or None.
        """
        self.population_config = config
        with self._bound(None):
            found = calibrate.resolve(self.model, self.tokenizer, config)
        sigma, scales, self._calibration = self._ranks.from_first(found)
        self._population = Population(
            self.model,
            sigma=sigma,
            mu=config.mu,
            prior=config.prior,
            noise=config.noise,
            noise_from=config.noise_from,
            norms=config.norms,
            seed=config.seed,
            scales=scales,
        )
        # continuations that share a row have different contexts
        self.logits_cache = self._logits_cache and config.noise_from == "prompt"
        self._shelf = self._open_shelf(config.store)
        if self._log is not None:
            self._log.close()
        self._log = open_log(responses, self._ranks, config.store is not None)
        self._used = {}

    def _open_shelf(self, path: str | None) -> Shelf | None:
        if path is None:
            return None
        if self._store is None or str(self._store.path) != path:
            self._store = Store(path)
            keep_verdicts(self._store)
        if self._facts is None:
            self._facts = self._engine_facts()
        return Shelf(self._store, str(self.pretrained), self._population, self._facts)

    def _engine_facts(self) -> dict[str, Any]:
        """What responses depend on, apart from the members and the request."""
        config = self.model.config
        return {
            "engine": "transformers " + ".".join(transformers.__version__.split(".")[:2]),
            "model": fingerprint.of_model(self.model),
            "tokenizer": fingerprint.of_tokenizer(self.tokenizer),
            "dtype": str(self.model.dtype),
            "autocast": str(self.mixed_precision_dtype),
            "softmax_dtype": str(self.softmax_dtype),
            "quantization": getattr(config, "quantization_config", None),
            "attention": getattr(config, "_attn_implementation", None),
            "experts": getattr(config, "_experts_implementation", None),
            "think_end_token": self.think_end_token,
            "max_length": self.max_length,
        }

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
        request = batch[0].question.request
        until, limit, arguments = self._resolve(request)
        tokens, mask = self._pad([self._prompt_tokens(row.question.request) for row in batch])
        if arguments["do_sample"]:
            arguments["custom_generate"] = OwnStreams([self._stream(row) for row in batch])
        starts = (mask.sum(1) - 1).tolist() if self._population.noise_from == "generation" else None
        with self._population.members([row.member for row in batch], starts):
            output = self._model_generate(
                context=tokens.to(self.device),
                attention_mask=mask.to(self.device),
                stop=until,
                max_length=tokens.shape[1] + limit,
                **arguments,
            )
        rows = [row[tokens.shape[1] :] for row in output.tolist()]
        return [self._response(row, until, limit) for row in rows]

    def _resolve(self, request: Any) -> tuple[list[str], int, dict[str, Any]]:
        """Stop strings, limit in tokens, and what else ``generate`` is given."""
        arguments = self._arguments(request)
        known = vars(transformers.GenerationConfig())
        for name in {*arguments} - {*known, "until", "max_gen_toks"}:
            refuse_misspelled([name], [*known, "max_gen_toks"], "generation argument")
            raise UserError(f"{name}: transformers knows no such generation argument")
        end = self.tok_decode(self.eot_token_id, skip_special_tokens=False)
        until = handle_stop_sequences(arguments.pop("until", None), eos=end)
        return until, arguments.pop("max_gen_toks"), arguments

    def _generation_facts(self, request: Any) -> dict[str, Any]:
        until, limit, arguments = self._resolve(request)
        of_checkpoint = self.model.generation_config.to_diff_dict()
        of_checkpoint.pop("transformers_version", None)
        return {
            "until": until,
            "max_gen_toks": limit,
            "arguments": arguments,
            "generation_config": of_checkpoint,
            "ends": sorted(self._end_tokens()),
        }

    def _prompt_tokens(self, request: Any) -> list[int]:
        _, limit, _ = self._resolve(request)
        tokens, _ = self.tok_batch_encode(
            [request.args[0]], left_truncate_len=self.max_length - limit, truncation=self.truncation
        )
        return tokens[0].tolist() or [self.prefix_token_id]  # an empty prompt, as in loglikelihood

    def _pad(self, prompts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and attention mask, shape (rows, longest prompt), padded on the left.

        Not the harness's way, which looks at the first row only to see whether the prompts of a
        batch hold a BOS token of their own.
        """
        longest = max(map(len, prompts))
        padding = self.tokenizer.pad_token_id
        tokens = [[padding] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
        mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        return torch.tensor(tokens), torch.tensor(mask)

    def _stream(self, row: Row) -> Stream:
        """Where the row draws its tokens from."""
        question, (member, sample) = row.question, row.question.draws[row.draw]
        arguments = canonical(self._arguments(question.request))
        seed = self.population_config.seed
        return Stream(seed, self._prompt(question), arguments, member, sample)

    def _response(self, tokens: list[int], until: list[str], limit: int) -> Response:
        """The text of one row, with how many tokens it took and whether the limit cut it."""
        ends = self._end_tokens()
        count = next((i for i, token in enumerate(tokens) if token in ends), len(tokens))

        def has_stopped(length: int) -> bool:
            # special tokens count, as for the harness's own stopping criterion
            raw = self.tok_decode(tokens[:length], skip_special_tokens=False)
            return any(stop and stop in raw for stop in until)

        stopped = has_stopped(count)
        if stopped:  # the row went on until the last row of its batch was done
            count = bisect_left(range(count + 1), True, key=has_stopped)
        of_checkpoint = getattr(self.model.generation_config, "max_new_tokens", None) or limit
        truncated = count >= min(limit, of_checkpoint) and not stopped
        # what came after the stop string depends on how long the rest of the batch went on
        return Response(self._text(tokens[:count], until), count, truncated)

    def _end_tokens(self) -> set[int]:
        """Tokens after which a row holds nothing more."""
        ends = getattr(self.model.generation_config, "eos_token_id", None)
        listed = ends if isinstance(ends, list) else [ends]
        return {*listed, self.eot_token_id} - {None}

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
        members = [self._bound_member] * inps.shape[0]
        with self._population.members(members, self._first_noisy(inps.tolist())):
            return super()._model_call(inps, *args, **kwargs)  # type: ignore[no-any-return]
