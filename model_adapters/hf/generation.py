"""How ``btrans-hf`` generates: batch by batch with ``model.generate``, or refilling one batch."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import Any

import torch
import transformers
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs

from btrans_eval.config import PopulationConfig, refuse_misspelled
from btrans_eval.errors import UserError
from btrans_eval.harness.arguments import refuse_what_counts_the_batch
from btrans_eval.harness.batches import Row
from btrans_eval.harness.engine import STATIC, prompt_digest, stops_of_key
from btrans_eval.harness.memory import RowLimit
from btrans_eval.harness.response import Response
from btrans_eval.harness.turns import Named, Order
from btrans_eval.model_adapters.hf import passes
from btrans_eval.model_adapters.hf.capacity import rows_that_fit
from btrans_eval.model_adapters.hf.ending import Ending
from btrans_eval.model_adapters.hf.refill import Prepared, Refill, Text, Unfit, unfit_before
from btrans_eval.model_adapters.hf.sampling import RowByRow, refuse_rows_beside
from btrans_eval.model_adapters.hf.sharing import prefixes_of, share
from btrans_eval.model_adapters.hf.stopping import AllDone, StockUntil
from btrans_eval.population.population import Population
from btrans_eval.population.streams import Stream
from btrans_eval.store.keys import canonical

logger = logging.getLogger(__name__)

_OURS = {
    "eos_token_id": "until",
    "stop_strings": "until",
    "pad_token_id": "nothing",
    "use_cache": "nothing",
}


class Generation:
    """Rows of requests as tokens of the model, for a population that may change.

    Args:
        lm: an ``HFLM``, loaded.
        row_limit: how many rows have fitted into memory.

    Attributes:
        reads_once: whether what prompts begin with alike may be read once for each member.
        shares: whether some of the last ones did.
    """

    def __init__(self, lm: HFLM, row_limit: RowLimit) -> None:
        self._lm, self._row_limit = lm, row_limit
        self._prepared: dict[str, Prepared | Unfit] = {}

    def become(self, population: Population, config: PopulationConfig) -> None:
        """From now on, rows are answered by this population's members."""
        self._population, self._is_refilled = population, config.batching == "refill"
        self.reads_once, self.shares = self._is_refilled and not population.is_stock, False

    # ------------------------------------------------------------- what is asked
    def arguments(self, request: Any) -> dict[str, Any]:
        """The generation arguments of a request as the harness resolves them; a fresh copy."""
        of_checkpoint = getattr(self._lm.model, "generation_config", None)
        for name in ("min_length", "max_time"):
            refuse_what_counts_the_batch(name, getattr(of_checkpoint, name, None))
        found: dict[str, Any] = normalize_gen_kwargs(request.args[1], self._lm.max_gen_toks)
        refuse_rows_beside(of_checkpoint, found, self._is_as_stock(found))
        return found

    def asked(self, request: Any) -> dict[str, Any]:
        """All of the request's generation arguments that its responses depend on."""
        until, limit, arguments = self._resolve(request)
        told = {**arguments, "max_gen_toks": limit}
        of_checkpoint = self._lm.model.generation_config.to_diff_dict()
        of_checkpoint.pop("transformers_version", None)
        return {
            "until": stops_of_key(until, self._end_text(), self.arguments(request), told),
            "max_gen_toks": limit,
            "arguments": arguments,
            "generation_config": of_checkpoint,
            "ends": sorted(self._end_tokens()),
        }

    def prompt_tokens(self, request: Any) -> list[int]:
        """The prompt as it is fed, without padding."""
        _, limit, _ = self._resolve(request)
        tokens, _ = self._lm.tok_batch_encode(
            [request.args[0]],
            left_truncate_len=self._lm.max_length - limit,
            truncation=self._lm.truncation,
        )
        # an empty prompt, as in loglikelihood
        return tokens[0].tolist() or [self._lm.prefix_token_id]

    def batching(self, request: Any) -> str:
        """Refilled, unless static batches are asked for or needed.

        Raises:
            UserError: if transformers refuses the generation arguments.
        """
        if self._is_as_stock(self._resolve(request)[2]):
            return STATIC  # bit for bit what `hf` says
        found = self._prepare(request)
        return "refill" if self._is_refilled and isinstance(found, Prepared) else STATIC

    def rows_at_once(self, longest: Any) -> int:
        """How many rows a batch has at most, given the request with the longest prompt."""
        if self._lm.batch_size != "auto":
            return int(self._lm.batch_size)
        length = len(self.prompt_tokens(longest)) + self._resolve(longest)[1]
        most = self._lm.max_batch_size
        rows = rows_that_fit(self._lm.model, self._lm.prefix_token_id, length, most)
        logger.warning("batch_size: auto begins with %d rows of up to %d tokens", rows, length)
        return rows

    # ---------------------------------------------------------------- generation
    def generate(self, rows: Sequence[Row], order: Order) -> Iterator[list[tuple[Row, Response]]]:
        """Rows of equal generation arguments, in groups, as they are finished."""
        request = rows[0].question.request
        if self.batching(request) != STATIC:
            yield from self.flow(rows, order)
            return
        name = f"{request.task_name}, row {request.doc_id}"
        for piece, texts in self._row_limit.run(rows, self.static, name):
            yield list(zip(piece, texts, strict=True))

    def static(self, batch: Sequence[Row]) -> list[Response]:
        """One text per row of a batch that ends as one, each of its own member."""
        request = batch[0].question.request
        ending = self.ending(request)
        until, limit, arguments = self._resolve(request)
        prompts = [self.prompt_tokens(row.question.request) for row in batch]
        tokens, mask = passes.padded(prompts, self._lm.tokenizer.pad_token_id)
        ended = None
        noting: RowByRow | None = None
        if ending.waits:
            until, ended = [], AllDone([ending.watch() for _ in batch])
        if not self._is_as_stock(arguments):
            padding = (mask == 0).sum(1).tolist()
            streams = [self._stream_of(row) for row in batch] if arguments["do_sample"] else None
            arguments["custom_generate"] = noting = RowByRow(padding, streams, ended)
        elif ended is not None:  # else nothing is given that `hf` does not: bit for bit its own
            arguments["custom_generate"] = StockUntil(ended)
        starts = (mask.sum(1) - 1).tolist() if self._population.noise_from == "generation" else None
        with self._population.members([row.member for row in batch], starts):
            output = self._lm._model_generate(
                context=tokens.to(self._lm.device),
                attention_mask=mask.to(self._lm.device),
                stop=until,
                max_length=tokens.shape[1] + limit,
                **arguments,
            )
        new = output[:, tokens.shape[1] :].tolist()
        logprobs: list[Any] = noting.logprobs() if noting else [None] * len(new)
        return [ending.response(*each) for each in zip(new, logprobs, strict=True)]

    def _prepare(self, request: Any) -> Prepared | Unfit:
        """What transformers makes of a request's arguments, or why they need static batches."""
        _, limit, arguments = self._resolve(request)
        name = canonical([limit, arguments])
        if name not in self._prepared:
            self._prepared[name] = found = self._look(limit, arguments)
            if isinstance(found, Unfit) and self._is_refilled:
                logger.warning("batching: static for %s, because %s", request.task_name, found)
        return self._prepared[name]

    @cached_property
    def growing_cache(self) -> str | None:
        """What the model calls its cache, if what was read can be kept there; else None."""
        try:
            found = self._look(1, {"do_sample": False})
        except UserError:  # what cannot generate can score all the same
            return None
        return found.cache_argument if isinstance(found, Prepared) else None

    def _look(self, limit: int, arguments: dict[str, Any]) -> Prepared | Unfit:
        prepared, other = Prepared(), unfit_before(self._lm.model, arguments)
        tokens = torch.tensor([[self._lm.prefix_token_id]], device=self._lm.device)
        try:
            self._lm._model_generate(
                context=tokens,
                attention_mask=torch.ones_like(tokens),
                stop=[],
                max_length=1 + limit,
                custom_generate=prepared,
                **arguments,
            )
        except Unfit as unfit:
            other = other or unfit
        except UserError:
            raise
        except ValueError as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"gen_kwargs: transformers refuses them ({reason})") from error
        return other or prepared

    def flow(self, rows: Sequence[Row], order: Order) -> Iterator[list[tuple[Row, Response]]]:
        """Texts of rows that come and go."""
        request = rows[0].question.request
        ending, prepared = self.ending(request), self._prepare(request)
        if isinstance(prepared, Unfit):
            raise prepared
        sampled = self._resolve(request)[2]["do_sample"]
        prompts: dict[int, list[int]] = {}

        def text(place: int, row: Row) -> Text:
            question = row.question
            if id(question) not in prompts:
                prompts[id(question)] = self.prompt_tokens(question.request)
            stream = self._stream_of(row) if sampled else None
            return Text(place, row.member, prompts[id(question)], stream, ending.watch())

        def start(rows: list[Row], places: int) -> Iterator[list[tuple[int, Response]]]:
            texts = [text(place, row) for place, row in enumerate(rows)]
            are_alike, held = self._population.noise_from == "generation", None
            self.shares = self.reads_once and share(texts, are_alike)
            if self.shares:
                held = prefixes_of(self._lm.model, prepared.cache_argument, self.bound, places)
            batch = Refill(self._lm.model, prepared, self._bind, places, ending.limit, held)
            for group in batch.run(texts, Named(order, [(rows[one.place], one) for one in texts])):
                yield [(one.place, ending.response(one.tokens, one.logprobs)) for one in group]

        most, name = self.rows_at_once(request), request.task_name
        yield from self._row_limit.flow(rows, most, start, name, order(rows).wants)

    def _bind(self, texts: Sequence[Text]) -> AbstractContextManager[None]:
        """Row i of the batch is answered by text i's member."""
        starts = [len(text.prompt) - 1 for text in texts]
        return self.bound([text.member for text in texts], starts)

    @contextmanager
    def bound(self, members: Sequence[int], starts: Sequence[int] | None) -> Iterator[None]:
        """Rows are answered by these members, in the precision of `hf`.

        Args:
            starts: where each one's noise begins, if that is with generation.
        """
        is_late = self._population.noise_from == "generation"
        precision = self._lm.mixed_precision_dtype
        with (
            self._population.members(members, starts if is_late else None),
            torch.autocast(self._lm.device.type, dtype=precision, enabled=precision is not None),
        ):
            yield

    def _resolve(self, request: Any) -> tuple[list[str], int, dict[str, Any]]:
        """Stop strings, limit in tokens, and what else ``generate`` is given."""
        arguments = self.arguments(request)
        config: Any = transformers.GenerationConfig  # has no types
        known = vars(config())
        for name in {*arguments} & {*_OURS}:
            raise UserError(f"{name}: is set for each response; use {_OURS[name]} instead")
        for name in {*arguments} - {*known, "until", "max_gen_toks"}:
            refuse_misspelled([name], [*known, "max_gen_toks"], "generation argument")
            raise UserError(f"{name}: transformers knows no such generation argument")
        until = handle_stop_sequences(arguments.pop("until", None), eos=self._end_text())
        if not self._is_as_stock(arguments):  # `hf` ends at the first token for an empty one
            until = [stop for stop in until if stop]
        return until, arguments.pop("max_gen_toks"), arguments

    def _is_as_stock(self, arguments: dict[str, Any]) -> bool:
        """Whether responses are to be, bit for bit, what `hf` says."""
        return self._population.is_stock and not arguments["do_sample"]

    def _stream_of(self, row: Row) -> Stream:
        """Where the row draws its tokens from."""
        question = row.question
        arguments = canonical(self.arguments(question.request))
        prompt = prompt_digest(self, question)
        return Stream(self._population.seed, prompt, arguments, row.member, row.sample)

    def ending(self, request: Any) -> Ending:
        """When a response to the request ends, and what its text is."""
        until, limit, _ = self._resolve(request)
        # a checkpoint's own limit wins over the harness's in transformers
        limit = getattr(self._lm.model.generation_config, "max_new_tokens", None) or limit
        return Ending(
            lambda tokens, clean: self._lm.tok_decode(tokens, skip_special_tokens=clean),
            until,
            limit,
            frozenset(self._end_tokens()),
            self._lm.think_end_token,
            self._end_text(),
            self._lm.enable_thinking is not False,
        )

    def _end_text(self) -> str:
        return str(self._lm.tok_decode(self._lm.eot_token_id, skip_special_tokens=False))

    def _end_tokens(self) -> set[int]:
        """Tokens after which a row holds nothing more."""
        ends = getattr(self._lm.model.generation_config, "eos_token_id", None)
        listed = ends if isinstance(ends, list) else [ends]
        return {*listed, self._lm.eot_token_id} - {None}
