"""Whether members may share batches: found out at the start, by letting two of them do so."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from btrans_eval.config import PopulationConfig
from btrans_eval.errors import UserError
from btrans_eval.model_adapters.vllm import setup
from btrans_eval.model_adapters.vllm.noise import Noise
from btrans_eval.model_adapters.vllm.probe import distance, new_logprobs, read_logprobs
from btrans_eval.population.norms import NormLayer

logger = logging.getLogger(__name__)

_TOGETHER = 0.1
"""Share of what a member's noise does above which a member is not the same in a shared batch."""
_ROUNDING = 4.0
"""The same, as a multiple of what a batch of two changes without noise."""
_CLEAR = 0.5
"""Share of what noise does up to which rounding may hide it."""
_NEW = 8
_SECOND = 11, 11
"""First token and length of the second member's prompt: another than the first's."""


class Sharing:
    """Whether members share batches of an engine: what forbids it, and the trial.

    Args:
        config: the population that it is started for.
        others: the harness's and vLLM's model arguments.
        model_config: vLLM's own of the model.

    Raises:
        UserError: if the user insists on what cannot be.
    """

    def __init__(self, config: PopulationConfig, others: Mapping[str, Any], model_config: Any):
        self.reason = _forbidden(config, others, model_config)
        """Why members answer one after another; None: as far as is known they need not."""
        self._tried: set[str] = set()
        self._refuse(config)
        # who has asked for it needs no reason
        self._is_told = config.scheduling == "member"
        self._tell()

    def settle(self, noise: Noise, config: PopulationConfig, layers: Sequence[NormLayer]) -> None:
        """Try it with noise in layers that it was not tried with.

        Args:
            noise: of the engines.
            config: the population that is to answer.
            layers: that it has noise in, found already.

        Raises:
            UserError: if the user insists on what cannot be.
        """
        if config.scheduling != "member" and self.reason is None:
            new = [layer for layer in layers if layer.name not in self._tried]
            self.reason = failure(noise, new) if new else None
            self._tried |= {layer.name for layer in new}
            if new and self.reason is None:
                width = sum(layer.width for layer in layers)
                logger.info(
                    "scheduling: mixed; tables for %d members take %.1f MiB of the model's memory",
                    noise.tables.slots, noise.tables.slots * width * 4 / 2**20,
                )  # fmt: skip
        self._refuse(config)
        if config.scheduling is None:
            self._tell()

    def _refuse(self, config: PopulationConfig) -> None:
        if config.scheduling == "mixed" and self.reason is not None:
            raise UserError(
                f"scheduling: members cannot share batches, since {self.reason}, got mixed; use "
                "scheduling=member"
            )

    def _tell(self) -> None:
        if self.reason is not None and not self._is_told:
            logger.warning("scheduling: members answer one after another, since %s", self.reason)
            self._is_told = True


def _forbidden(
    config: PopulationConfig, others: Mapping[str, Any], model_config: Any
) -> str | None:
    """Why members cannot share batches of an engine that is not started yet; None: they may."""
    if setup.is_stock(config):
        return None  # all members are the model itself
    if config.scheduling == "member":
        return "vLLM was started with scheduling=member"
    for name in ("data", "tensor", "pipeline", "prefill_context", "decode_context"):
        argument = f"{name}_parallel_size"
        if int(others.get(argument) or 1) > 1:
            return f"it was not tested with {argument}={others[argument]}"
    for name in ("speculative_config", "enable_dbo", "ubatch_size", "kv_sharing_fast_prefill"):
        if others.get(name):
            return f"layers may see other tokens than vLLM scheduled with {name}"
    if model_config.is_multimodal_model:
        return "it was not tested with models that read more than text"
    return None


def failure(noise: Noise, layers: Sequence[NormLayer]) -> str | None:
    """Why two members cannot share a batch; None: what they said was what each says alone.

    Two members with pretended noise, one after another, are what is expected. They read prompts of
    their own in one batch, in both orders: with noise in one kind of layers at a time, since some
    may be called with other rows than tokens, and then in all of them, where they generate too.

    Args:
        noise: of the engines, whose tables hold two members at least.
        layers: that noise is wanted in, found already.
    """
    for workers in noise.engines.tell("btrans_tap"):
        for reason in workers:
            if reason:
                return str(reason)
    noise.engines.tell("btrans_try", True)
    try:
        return _first(noise, layers)
    finally:
        noise.engines.tell("btrans_try", False)
        noise.set({})


def _first(noise: Noise, layers: Sequence[NormLayer]) -> str | None:
    kinds: dict[str, list[NormLayer]] = {}
    for layer in layers:
        kinds.setdefault(re.sub(r"\d+", "N", layer.name), []).append(layer)
    prompts = [noise.probe.tokens(), noise.probe.tokens(*_SECOND)]
    for kind, some in [*kinds.items(), ("all layers", list(layers))]:
        new = _NEW if kind == "all layers" else 1
        found = _together(noise, some, prompts, new)
        if found is not None:
            return f"with noise in {kind} {found}"
    return None


def _together(
    noise: Noise, layers: Sequence[NormLayer], prompts: list[list[int]], new: int
) -> str | None:
    """What is wrong with two members in one batch, with noise in these layers."""
    keys = ["trial 0", "trial 1"]
    shifts = [noise.pretended(layers, member) for member in range(2)]
    asked = {"prompt_logprobs": 1, "logprobs": 1, "max_tokens": new}
    seen = []  # by member, in each order
    noise.show(zip(keys, shifts, strict=True), keys)
    noise.engines.tell("btrans_try", True)
    for order in ([0, 1], [1, 0]):
        outputs = noise.probe.ask_members({keys[i]: prompts[i] for i in order}, asked)
        seen += [(member, *_said(outputs[keys[member]])) for member in order]
        ((told,),) = noise.engines.tell("btrans_try", True)
        if told["faults"]:
            return f"vLLM's model runner does not say whose a token is ({told['faults'][0]})"
        if told["read"] < 2 or (new > 1 and told["written"] < 2):
            return "two members were not put into one step"
    noise.set(shifts[0])
    alone = [_said(output) for output in noise.probe.ask(prompts, asked)]
    read = noise.probe.look(*[tokens for tokens, _ in alone])
    rounding = max(distance(a, said) for a, (_, said) in zip(read, alone, strict=True))
    readings = []  # of what was said in shared batches: by the model itself, and by each member
    for given in ({}, *shifts):
        noise.set(given)
        readings.append(noise.probe.look(*[tokens for _, tokens, _ in seen]))
    for place, (member, _, said) in enumerate(seen):
        stock, *of_members = (reading[place] for reading in readings)
        own, other = of_members[member], of_members[1 - member]
        effect = min(distance(own, stock), distance(own, other))
        gap, allowed = distance(said, own), _ROUNDING * rounding + _TOGETHER * effect
        # written so that numbers that are none fail
        if not allowed < _CLEAR * effect:
            return f"rounding ({rounding:.2g}) hides what it does ({effect:.2g})"
        if not gap <= allowed:
            return (
                f"a member says otherwise in a shared batch than alone ({gap:.2g} nats a token, "
                f"of {effect:.2g} that noise does)"
            )
    return None


def _said(output: Any) -> tuple[list[int], list[float]]:
    """A prompt with what was generated, and the log likelihoods of all but the first token."""
    tokens = [*output.prompt_token_ids, *output.outputs[0].token_ids]
    return tokens, [*read_logprobs(output), *new_logprobs(output)]
