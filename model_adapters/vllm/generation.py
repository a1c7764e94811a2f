"""How ``btrans-vllm`` generates: members side by side, or each over all of its prompts in turn."""

from __future__ import annotations

import hashlib
import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lm_eval.models.utils import (
    maybe_truncate,
    normalize_gen_kwargs,
    postprocess_generated_text,
)
from vllm import SamplingParams
from vllm.exceptions import VLLMValidationError

from btrans_eval.config import refuse_misspelled
from btrans_eval.errors import UserError
from btrans_eval.harness.batches import Row
from btrans_eval.harness.engine import prompt_digest, stops_of_key
from btrans_eval.harness.response import Response, mean_logprob
from btrans_eval.harness.turns import Order
from btrans_eval.model_adapters.thoughts import first_prefix, has_to_wait, stop_place
from btrans_eval.model_adapters.vllm.probe import logprobs_of
from btrans_eval.population.population import Population
from btrans_eval.store.keys import canonical

logger = logging.getLogger(__name__)

SCHEME = 1
"""Number of the recipe of a sampled response's seed. Any change of it needs a new number."""

KNOWN = tuple(inspect.signature(SamplingParams).parameters)
_USUAL = {"skip_special_tokens": False, "spaces_between_special_tokens": False}
"""What the harness adds to arguments that lack it."""
_OURS = {
    "stop": "until",
    "max_tokens": "max_gen_toks",
    "n": "the task's repeats, or members=",
    "output_kind": "nothing",
    "prompt_logprobs": "a task of loglikelihoods",
    "detokenize": "nothing",
}


class Generation:
    """Rows of requests as prompts of vLLM.

    Args:
        lm: the harness's ``VLLM``, loaded.
        call: prompts to vLLM's outputs, each under a member.
        rows_at_once: prompts that vLLM is given at once.
        places: how many of them it runs at once.
        ends: the tokens that end a response, as the checkpoint's generation config names them.
    """

    def __init__(
        self,
        lm: Any,
        call: Callable[[list[int], list[list[int]], list[SamplingParams]], list[Any]],
        rows_at_once: int,
        places: int,
        ends: Any,
    ) -> None:
        self._lm, self._call, self._rows_at_once, self._places = lm, call, rows_at_once, places
        self._of_checkpoint = ends

    def become(self, population: Population, members_at_once: int) -> None:
        """From now on, rows are answered by this population's members.

        Args:
            population: the members.
            members_at_once: how many may share a batch.
        """
        self._population, self._members_at_once = population, members_at_once

    def arguments(self, request: Any) -> dict[str, Any]:
        """The generation arguments of a request as the harness resolves them; a fresh copy."""
        found: dict[str, Any] = normalize_gen_kwargs(request.args[1], self._lm.max_gen_toks)
        return found

    def asked(self, request: Any) -> dict[str, Any]:
        """All of the request's generation arguments that its responses depend on."""
        arguments, until, limit = self._resolve(request)
        given = self.arguments(request)
        told = {n: v for n, v in arguments.items() if n not in _USUAL or v != _USUAL[n]}
        told |= {"max_gen_toks": limit, "do_sample": True}
        told |= {} if given.get("seed") is None else {"seed": given["seed"]}
        stops = stops_of_key(until, self._eos(), given, told)
        facts = {**arguments, "until": stops, "max_gen_toks": limit, "seed": given.get("seed")}
        return {**facts, "ends": [self._of_checkpoint, self._lm.eot_token_id]}

    def prompt_tokens(self, request: Any) -> list[int]:
        """The prompt as it is fed."""
        limit = self._resolve(request)[2]
        tokens, _ = maybe_truncate(
            self._lm.tok_encode(request.args[0]),
            max_gen_toks=limit,
            max_model_len=self._lm.max_length,
            side=self._lm.truncation_side,
            verbose=True,
        )
        return tokens or [self._lm.prefix_token_id]

    def generate(self, rows: Sequence[Row], order: Order) -> Iterator[list[tuple[Row, Response]]]:
        """Texts of the rows, in pieces that keep the engine full and are soon stored.

        Members that may not share a batch take turns, as many at a time as may, over all rows that
        are needed; none is begun early, for that would fill no batch but the next member's.
        """
        turns = order(rows)
        if len({row.member for row in rows}) <= self._members_at_once:
            most, early = self._rows_at_once, self._places
        else:
            most, early = len(rows), 0
        while taken := turns.take(most, early):
            for own in self._by_turn(taken):
                for start in range(0, len(own), self._rows_at_once):
                    piece = own[start : start + self._rows_at_once]
                    yield list(zip(piece, self._piece(piece), strict=True))

    def _by_turn(self, rows: Sequence[Row]) -> list[list[Row]]:
        """The rows of members who may share a batch, turn by turn."""
        members = sorted({row.member for row in rows})
        turn_of = {member: place // self._members_at_once for place, member in enumerate(members)}
        turns: dict[int, list[Row]] = {}
        for row in rows:
            turns.setdefault(turn_of[row.member], []).append(row)
        return [own for _, own in sorted(turns.items())]

    def _piece(self, rows: Sequence[Row]) -> list[Response]:
        """Texts of rows that vLLM is given at once."""
        arguments, until, limit = self._resolve(rows[0].question.request)
        outputs = self._call(
            [row.member for row in rows],
            [self.prompt_tokens(row.question.request) for row in rows],
            [self._parameters(row, arguments, until, limit) for row in rows],
        )
        return [self._response(output.outputs[0], until) for output in outputs]

    def _parameters(
        self, row: Row, arguments: dict[str, Any], until: list[str], limit: int
    ) -> SamplingParams:
        """Of one response; a sampled one has a seed of its own."""
        # a stop string within the thoughts stops nothing, and vLLM cannot tell
        stop = [each for each in until if each == self._eos()] if self._thinks() else until
        seed = self._seed(row) if arguments.get("temperature", 1.0) else None
        arguments = {"logprobs": 0, **arguments}  # 0: of the token that was chosen alone
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
        arguments = canonical(self.arguments(row.question.request))
        seed, prompt = self._population.seed, prompt_digest(self, row.question)
        key = ["vllm sample", SCHEME, seed, prompt, arguments, row.member, row.sample]
        digest = hashlib.sha256(canonical(key).encode()).digest()
        return int.from_bytes(digest[:8], "big") >> 1

    def _response(self, output: Any, until: list[str]) -> Response:
        """What the stock ``vllm`` model type makes of an output, with what is known of it.

        vLLM was told no stop string of a thinking model's: the one that counts is looked for here.

        Raises:
            UserError: if vLLM gave the response up, so that its text is none of the model's.
        """
        if output.finish_reason not in ("stop", "length"):
            raise UserError(
                f"vllm: a response ended by {output.finish_reason!r}, which is no end of a text; "
                "mend what vLLM's log says and run again (with store= nothing is generated twice)"
            )
        end: str | None = self._lm.think_end_token
        may_think = self._lm.enable_thinking is not False
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
                text = self._lm.tokenizer.decode(list(output.token_ids[:length]))
                found = stop_place(text, until, thinks)
                return None if found is None else len(text) - found

            count = first_prefix(count, lambda length: rest(length) is not None)
            said = said[: place + (rest(count) or 0)]  # the last token whole, as in `btrans-hf`
        text = postprocess_generated_text(said, until, end)
        logprobs = None if output.logprobs is None else logprobs_of(output)
        return Response(text, count, truncated, mean_logprob(logprobs, count))

    def _resolve(self, request: Any) -> tuple[dict[str, Any], list[str], int]:
        """What ``SamplingParams`` is given beside stop strings and limit, and these."""
        given = self.arguments(request)
        for name in {*given} - {"until", "max_gen_toks", "do_sample"}:
            if name in _OURS:
                raise UserError(f"{name}: is set for each response; use {_OURS[name]} instead")
            if name not in KNOWN:
                refuse_misspelled([name], [*KNOWN, "max_gen_toks"], "generation argument")
                raise UserError(f"{name}: vLLM knows no such generation argument")
        arguments, until, limit = self._lm.modify_gen_kwargs(
            request.args[1],
            eos=self._eos(),
            default_max_gen_toks=self._lm.max_gen_toks,
        )
        if not given["do_sample"]:
            arguments["temperature"] = 0.0  # vLLM samples unless told, and the harness may not tell
        arguments.pop("seed", None)  # is part of what each response's own seed is made from
        return arguments, [stop for stop in until if stop], limit  # vLLM takes no empty one

    def _eos(self) -> str:
        tokenizer = self._lm.tokenizer
        return str(tokenizer.decode(self._lm.eot_token_id) or tokenizer.eos_token or "")

    def _thinks(self) -> bool:
        return bool(self._lm.think_end_token)
