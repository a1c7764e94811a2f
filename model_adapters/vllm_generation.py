"""How ``btrans-vllm`` generates: one member after another, each over all of its prompts."""

from __future__ import annotations

import hashlib
import inspect
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from lm_eval.models.utils import maybe_truncate, postprocess_generated_text
from vllm import SamplingParams
from vllm.exceptions import VLLMValidationError

from btrans_eval.config import refuse_misspelled
from btrans_eval.errors import UserError
from btrans_eval.harness.batches import Row
from btrans_eval.harness.lm import PopulationLM
from btrans_eval.harness.plan import Question
from btrans_eval.harness.response import Response
from btrans_eval.model_adapters.ending import first_prefix
from btrans_eval.model_adapters.thoughts import has_to_wait, stop_place
from btrans_eval.store.keys import canonical

logger = logging.getLogger(__name__)

SCHEME = 1
"""Number of the recipe of a sampled response's seed. Any change of it needs a new number."""

KNOWN = tuple(inspect.signature(SamplingParams).parameters)
_OURS = {
    "stop": "until",
    "max_tokens": "max_gen_toks",
    "n": "the task's repeats, or members=",
    "output_kind": "nothing",
    "prompt_logprobs": "a task of loglikelihoods",
    "detokenize": "nothing",
}


class VLLMGeneration(PopulationLM):
    """Mixed in before the harness's ``VLLM``."""

    rows_at_once: int

    def _flows(self, request: Any) -> bool:
        return True

    def _batching(self, question: Question) -> str:
        return "vllm"

    def _rows_per_batch(self, longest: Any) -> int:
        return self.rows_at_once

    def _flow(self, rows: Sequence[Row]) -> Iterator[list[tuple[Row, Response]]]:
        """Texts of each member's rows, in pieces that keep the engine full and are soon stored."""
        of_member: dict[int, list[Row]] = {}
        for row in rows:
            of_member.setdefault(row.member, []).append(row)
        for _, own in sorted(of_member.items()):
            size = self._rows_per_batch(own[0].question.request)
            for start in range(0, len(own), size):
                piece = own[start : start + size]
                yield list(zip(piece, self._generate(piece), strict=True))

    def _generate(self, batch: Sequence[Row]) -> list[Response]:
        """Texts of rows of one member."""
        (member,) = {row.member for row in batch}
        arguments, until, limit = self._resolve(batch[0].question.request)
        with self._bound(member):
            outputs = self._model_generate(  # type: ignore[attr-defined]
                [self._prompt_tokens(row.question.request) for row in batch],
                generate=True,
                sampling_params=[self._parameters(row, arguments, until, limit) for row in batch],
            )
        return [self._response(output.outputs[0], until) for output in outputs]

    def _parameters(
        self, row: Row, arguments: dict[str, Any], until: list[str], limit: int
    ) -> SamplingParams:
        """Of one response; a sampled one has a seed of its own."""
        # a stop string within the thoughts stops nothing, and vLLM cannot tell
        stop = [self._eos()] if self._thinks() else until
        seed = self._seed(row) if arguments.get("temperature", 1.0) else None
        try:
            return SamplingParams(max_tokens=limit, stop=stop, seed=seed, **arguments)
        except (VLLMValidationError, ValueError, TypeError) as error:
            reason = str(error).strip().splitlines()[0]
            task = row.question.request.task_name
            raise UserError(f"gen_kwargs: vLLM refuses those of {task} ({reason})") from error

    def _seed(self, row: Row) -> int:
        """Of the generator that vLLM keeps for the response, 63 bits.

        The first 64 bits of SHA-256 over the JSON array ``["vllm sample", SCHEME, seed, prompt,
        arguments, member, sample]``, less one. So a response depends on nothing around it; its
        draws are not those of ``btrans-hf``.
        """
        question, (member, sample) = row.question, row.question.draws[row.draw]
        arguments = canonical(self._arguments(question.request))
        seed = self.population_config.seed
        key = ["vllm sample", SCHEME, seed, self._prompt(question), arguments, member, sample]
        digest = hashlib.sha256(canonical(key).encode()).digest()
        return int.from_bytes(digest[:8], "big") >> 1

    def _response(self, output: Any, until: list[str]) -> Response:
        """What the stock ``vllm`` model type makes of an output, with its counts.

        vLLM was told no stop string of a thinking model's: the one that counts is looked for here.
        """
        end: str | None = self.think_end_token  # type: ignore[attr-defined]
        may_think = self.enable_thinking is not False  # type: ignore[attr-defined]
        waits = has_to_wait(end, until, self._eos())
        thinks = end if waits and (may_think or str(end) in output.text) else None
        # an end token is the last of the tokens, and no part of the response
        by_token = output.finish_reason == "stop" and not isinstance(output.stop_reason, str)
        count = len(output.token_ids) - by_token
        said = output.text
        place = stop_place(said, until, thinks)
        truncated = output.finish_reason == "length" and place is None
        if waits and place is not None:

            def rest(length: int) -> int | None:
                """How much stands behind the stop string in the first so many tokens."""
                text = self.tokenizer.decode(list(output.token_ids[:length]))  # type: ignore[attr-defined]
                found = stop_place(text, until, thinks)
                return None if found is None else len(text) - found

            count = first_prefix(count, lambda length: rest(length) is not None)
            said = said[: place + (rest(count) or 0)]  # the last token whole, as in `btrans-hf`
        text = postprocess_generated_text(said, until, end)
        return Response(text, count, truncated)

    def _resolve(self, request: Any) -> tuple[dict[str, Any], list[str], int]:
        """What ``SamplingParams`` is given beside stop strings and limit, and these."""
        given = self._arguments(request)
        for name in {*given} - {"until", "max_gen_toks", "do_sample"}:
            if name in _OURS:
                raise UserError(f"{name}: is set for each response; use {_OURS[name]} instead")
            if name not in KNOWN:
                refuse_misspelled([name], [*KNOWN, "max_gen_toks"], "generation argument")
                raise UserError(f"{name}: vLLM knows no such generation argument")
        arguments, until, limit = self.modify_gen_kwargs(  # type: ignore[attr-defined]
            request.args[1],
            eos=self._eos(),
            default_max_gen_toks=self.max_gen_toks,  # type: ignore[attr-defined]
        )
        if not given["do_sample"]:
            arguments["temperature"] = 0.0  # vLLM samples unless told, and the harness may not tell
        arguments.pop("seed", None)  # is part of what each response's own seed is made from
        return arguments, until, limit

    def _eos(self) -> str:
        tokenizer = self.tokenizer  # type: ignore[attr-defined]
        return str(tokenizer.decode(self.eot_token_id) or tokenizer.eos_token or "")  # type: ignore[attr-defined]

    def _thinks(self) -> bool:
        return bool(self.think_end_token)  # type: ignore[attr-defined]

    def _generation_facts(self, request: Any) -> dict[str, Any]:
        arguments, until, limit = self._resolve(request)
        given = self._arguments(request)
        facts = {**arguments, "until": until, "max_gen_toks": limit, "seed": given.get("seed")}
        return {**facts, "ends": self._ends()}

    def _ends(self) -> Any:
        """The tokens that end a response, as the checkpoint's generation config names them."""
        config = self._model_config.try_get_generation_config()  # type: ignore[attr-defined]
        return [config.get("eos_token_id"), self.eot_token_id]  # type: ignore[attr-defined]

    def _of_checkpoint(self, name: str) -> Any:
        """Nothing: vLLM takes end tokens from it, and no other rule of when a text ends."""
        return None

    def _prompt_tokens(self, request: Any) -> list[int]:
        limit = self._resolve(request)[2]
        tokens, _ = maybe_truncate(
            self.tok_encode(request.args[0]),  # type: ignore[attr-defined]
            max_gen_toks=limit,
            max_model_len=self.max_length,  # type: ignore[attr-defined]
            side=self.truncation_side,  # type: ignore[attr-defined]
            verbose=True,
        )
        return tokens or [self.prefix_token_id]  # type: ignore[attr-defined]
