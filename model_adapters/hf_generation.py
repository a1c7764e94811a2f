"""How ``btrans-hf`` generates: batch by batch with ``model.generate``, or refilling one batch."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from lm_eval.models.utils import handle_stop_sequences

from btrans_eval.config import refuse_misspelled
from btrans_eval.errors import UserError
from btrans_eval.harness.batches import Row
from btrans_eval.harness.lm import PopulationLM
from btrans_eval.harness.response import Response
from btrans_eval.model_adapters.capacity import rows_that_fit
from btrans_eval.model_adapters.ending import Ending
from btrans_eval.model_adapters.refill import ARGUMENTS, Prepared, Refill, Text, Unfit
from btrans_eval.model_adapters.sampling import RowByRow
from btrans_eval.model_adapters.stopping import AllDone, StockUntil
from btrans_eval.population.streams import Stream
from btrans_eval.store.keys import canonical

logger = logging.getLogger(__name__)

_OURS = {
    "eos_token_id": "until",
    "stop_strings": "until",
    "pad_token_id": "nothing",
    "use_cache": "nothing",
}


class HFGeneration(PopulationLM):
    """Mixed in before ``HFLM``."""

    _prepared: dict[str, Prepared | Unfit]

    def _generate(self, batch: Sequence[Row]) -> list[Response]:
        """One text per row, each of its own member."""
        request = batch[0].question.request
        ending = self._ending(request)
        until, limit, arguments = self._resolve(request)
        tokens, mask = self._pad([self._prompt_tokens(row.question.request) for row in batch])
        ended = None
        if ending.waits:
            until, ended = [], AllDone([ending.watch() for _ in batch])
        if not (self._population.is_stock and not arguments["do_sample"]):
            padding = (mask == 0).sum(1).tolist()
            streams = [self._stream_of(row) for row in batch] if arguments["do_sample"] else None
            arguments["custom_generate"] = RowByRow(padding, streams, ended)
        elif (
            ended is not None
        ):  # else nothing is given that `hf` does not give: bit for bit its own
            arguments["custom_generate"] = StockUntil(ended)
        starts = (mask.sum(1) - 1).tolist() if self._population.noise_from == "generation" else None
        with self._population.members([row.member for row in batch], starts):
            output = self._model_generate(
                context=tokens.to(self.device),
                attention_mask=mask.to(self.device),
                stop=until,
                max_length=tokens.shape[1] + limit,
                **arguments,
            )
        return [ending.response(row[tokens.shape[1] :]) for row in output.tolist()]

    def _flows(self, request: Any) -> bool:
        """Refilled, unless static batches are asked for or needed.

        Raises:
            UserError: if transformers refuses the generation arguments.
        """
        if self._population.is_stock and not self._resolve(request)[2]["do_sample"]:
            return False  # bit for bit what `hf` says
        found = self._prepare(request)
        return self.population_config.batching == "refill" and isinstance(found, Prepared)

    def _prepare(self, request: Any) -> Prepared | Unfit:
        """What transformers makes of a request's arguments, or why they need static batches."""
        _, limit, arguments = self._resolve(request)
        name = canonical([limit, arguments])
        if name not in self._prepared:
            self._prepared[name] = found = self._look(limit, arguments)
            if isinstance(found, Unfit) and self.population_config.batching == "refill":
                logger.warning("batching: static for %s, because %s", request.task_name, found)
        return self._prepared[name]

    def _look(self, limit: int, arguments: dict[str, Any]) -> Prepared | Unfit:
        adapter = getattr(self.model, "active_peft_config", None)
        if getattr(adapter, "is_prompt_learning", False):
            return Unfit("the adapter puts a learned prompt before the tokens")
        if getattr(adapter, "alora_invocation_tokens", None):
            return Unfit("the adapter begins at a place in the prompt")
        prepared = Prepared()
        other = [
            Unfit(f"{name} is not known to be the same for every row of a batch")
            for name in arguments
            if name not in ARGUMENTS
        ]
        tokens = torch.tensor([[self.prefix_token_id]], device=self.device)
        try:
            self._model_generate(
                context=tokens,
                attention_mask=torch.ones_like(tokens),
                stop=[],
                max_length=1 + limit,
                custom_generate=prepared,
                **arguments,
            )
        except Unfit as reason:
            other.append(reason)
        except ValueError as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"gen_kwargs: transformers refuses them ({reason})") from error
        return other[0] if other else prepared

    def _flow(self, rows: Sequence[Row]) -> Iterator[list[tuple[Row, Response]]]:
        """Texts of rows that come and go."""
        request = rows[0].question.request
        ending, prepared = self._ending(request), self._prepare(request)
        sampled = self._resolve(request)[2]["do_sample"]
        prompts: dict[int, list[int]] = {}

        def text(place: int, row: Row) -> Text:
            question = row.question
            if id(question) not in prompts:
                prompts[id(question)] = self._prompt_tokens(question.request)
            stream = self._stream_of(row) if sampled else None
            return Text(place, row.member, prompts[id(question)], stream, ending.watch())

        def start(rows: list[Row], places: int) -> Iterator[list[tuple[int, Response]]]:
            batch = Refill(self.model, prepared, self._bind, places, ending.limit)
            for group in batch.run([text(place, row) for place, row in enumerate(rows)]):
                yield [(each.place, ending.response(each.tokens)) for each in group]

        most = self._rows_per_batch(request)
        yield from self._row_limit.flow(rows, most, start, request.task_name)

    @contextmanager
    def _bind(self, texts: Sequence[Text]) -> Iterator[None]:
        """Row i of the batch is answered by text i's member, in the precision of `hf`."""
        starts = None
        if self._population.noise_from == "generation":
            starts = [len(text.prompt) - 1 for text in texts]
        precision = self.mixed_precision_dtype
        with (
            self._population.members([text.member for text in texts], starts),
            torch.autocast(self.device.type, dtype=precision, enabled=precision is not None),
        ):
            yield

    def _resolve(self, request: Any) -> tuple[list[str], int, dict[str, Any]]:
        """Stop strings, limit in tokens, and what else ``generate`` is given."""
        arguments = self._arguments(request)
        known = vars(transformers.GenerationConfig())
        for name in {*arguments} & {*_OURS}:
            raise UserError(f"{name}: is set for each response; use {_OURS[name]} instead")
        for name in {*arguments} - {*known, "until", "max_gen_toks"}:
            refuse_misspelled([name], [*known, "max_gen_toks"], "generation argument")
            raise UserError(f"{name}: transformers knows no such generation argument")
        until = handle_stop_sequences(arguments.pop("until", None), eos=self._end_text())
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

    def _stream_of(self, row: Row) -> Stream:
        """Where the row draws its tokens from."""
        question, (member, sample) = row.question, row.question.draws[row.draw]
        arguments = canonical(self._arguments(question.request))
        seed = self.population_config.seed
        return Stream(seed, self._prompt(question), arguments, member, sample)

    def _ending(self, request: Any) -> Ending:
        until, limit, _ = self._resolve(request)
        # a checkpoint's own limit wins over the harness's in transformers
        limit = getattr(self.model.generation_config, "max_new_tokens", None) or limit
        return Ending(
            lambda tokens, clean: self.tok_decode(tokens, skip_special_tokens=clean),
            until,
            limit,
            frozenset(self._end_tokens()),
            self.think_end_token,
            self._end_text(),
            self.enable_thinking is not False,
        )

    def _end_text(self) -> str:
        return str(self.tok_decode(self.eot_token_id, skip_special_tokens=False))

    def _end_tokens(self) -> set[int]:
        """Tokens after which a row holds nothing more."""
        ends = getattr(self.model.generation_config, "eos_token_id", None)
        listed = ends if isinstance(ends, list) else [ends]
        return {*listed, self.eot_token_id} - {None}

    def _rows_per_batch(self, longest: Any) -> int:
        if self.batch_size != "auto":
            return int(self.batch_size)
        limit = self._resolve(longest)[1]
        length = len(self._prompt_tokens(longest)) + limit
        rows = rows_that_fit(self.model, self.prefix_token_id, length, self.max_batch_size)
        logger.warning("batch_size: auto begins with %d rows of up to %d tokens", rows, length)
        return rows
