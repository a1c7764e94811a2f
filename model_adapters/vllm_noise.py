"""Members in vLLM's workers: which layers carry noise, that it reaches them, and whose it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tqdm import tqdm
from vllm import SamplingParams, TokensPrompt

from btrans_eval.errors import UserError
from btrans_eval.model_adapters.vllm_engine import Engines
from btrans_eval.population import noise as noises
from btrans_eval.population.norms import NormLayer
from btrans_eval.population.population import Population

_PROBE_LENGTH = 16
_UNKNOWN = object()


class Noise:
    """The noise of engines whose workers are of the class ``NoisyWorker``.

    Args:
        engines: as started.
        vocabulary: how many tokens the model knows.
    """

    def __init__(self, engines: Engines, vocabulary: int) -> None:
        self._engines = engines
        tokens = [(5 + 7 * place) % min(vocabulary, 1000) for place in range(_PROBE_LENGTH)]
        self._probe = TokensPrompt(prompt_token_ids=tokens)
        self._names: dict[str, str] = {}
        self._proved: set[str] = set()
        self._held: Any = _UNKNOWN

    def find(self, layers: Sequence[NormLayer]) -> None:
        """Find these layers in vLLM, and see that the noise of each reaches what is generated.

        Args:
            layers: as transformers has them.

        Raises:
            UserError: if vLLM lacks one of them, splits it among workers, or computes it in a way
                that passes its noise by.
        """
        wanted = [layer for layer in layers if layer.name not in self._proved]
        found = [
            _union(workers)
            for workers in self._engines.tell("btrans_find", [layer.name for layer in wanted])
        ]
        for places in found:
            _check(wanted, places)
        self._names |= {layer.name: found[0][layer.name][0] for layer in wanted}
        self._prove(wanted)
        self._proved |= {layer.name for layer in wanted}

    def gains(self, layers: Sequence[NormLayer]) -> dict[str, float]:
        """Root mean square of each layer's gain, by canonical name."""
        names = [self._names[layer.name] for layer in layers]
        found = _union(self._engines.tell("btrans_gains", names)[0])
        return {layer.name: found[name] for layer, name in zip(layers, names, strict=True)}

    def hold(self, population: Population, member: int | None) -> str:
        """From now on the engines answer as a member; None: as the model itself.

        Returns:
            the salt that tells its keys and values from all others'.

        Raises:
            RuntimeError: if a request is still running.
        """
        if member is None or population.is_stock:
            salt, shifts = "the model itself", {}
        else:
            salt = f"{population.digest()}:{population.seed}:{member}"
            shifts = {} if salt == self._held else self._shifts(population, member)
        if salt != self._held:
            self._set(shifts)
            self._held = salt
        return salt

    def _shifts(self, population: Population, member: int) -> dict[str, bytes]:
        return {
            self._names[layer.name]: population.shift(member, index).astype("<f4").tobytes()
            for index, layer in enumerate(population.layers)
            if not population.layer_noise[index].is_none
        }

    def _set(self, shifts: Mapping[str, bytes]) -> None:
        self._held = _UNKNOWN
        self._engines.forget()
        for workers in self._engines.tell("btrans_set", dict(shifts)):
            done = {name for worker in workers for name in worker}
            if done != set(shifts):
                missing = sorted(set(shifts) - done)
                raise RuntimeError(f"vLLM's workers did not take the noise of {missing}")

    # ------------------------------------------------------- that noise reaches every layer
    def _prove(self, layers: Sequence[NormLayer]) -> None:
        """See that noise in each layer alone changes what the model says of a few tokens."""
        self._set({})
        stock = self._look()
        rounding = max(abs(a - b) for a, b in zip(stock, self._look(), strict=True))
        unchanged = []
        for layer in tqdm(
            layers, desc="Whether noise reaches every layer", disable=len(layers) < 2
        ):
            shift = noises.eps(0, 0, layer.name, layer.width).astype("<f4").tobytes()
            self._set({self._names[layer.name]: shift})
            seen = self._look()
            # written so that a number that is none counts as a change
            if all(abs(a - b) <= 2 * rounding for a, b in zip(stock, seen, strict=True)):
                unchanged.append(layer.name)
        self._set({})
        if unchanged:
            raise UserError(
                f"norms: vLLM computes {_some(unchanged)} in a way that passes the noise by, so "
                "members would not be those of btrans-hf; leave these out with norms=, or use "
                "--model btrans-hf"
            )

    def _look(self) -> list[float]:
        """Log likelihoods of the probe's tokens."""
        self._engines.forget()
        parameters = SamplingParams(temperature=0, prompt_logprobs=1, max_tokens=1)
        (output,) = self._engines.generate([self._probe], [parameters], None)
        of_tokens = output.prompt_logprobs[1:]
        tokens = output.prompt_token_ids[1:]
        return [float(each[t].logprob) for each, t in zip(of_tokens, tokens, strict=True)]


def _union(workers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the workers of an engine have together; layers of a pipeline lie in one of them."""
    return {name: value for worker in workers for name, value in worker.items()}


def _check(layers: Sequence[NormLayer], places: Mapping[str, Sequence[Any]]) -> None:
    missing = [layer.name for layer in layers if layer.name not in places]
    if missing:
        raise UserError(
            f"norms: vLLM's model lacks {_some(missing)} of the {len(layers)} layers that "
            "transformers has, so members would not be those of btrans-hf; leave these out with "
            "norms=, or use --model btrans-hf"
        )
    for layer in layers:
        _, width = places[layer.name]
        if width != layer.width:
            raise UserError(
                f"norms: {layer.name} is {layer.width} wide in transformers and {width} in vLLM, "
                "which splits or merges it; leave it out with norms=, or use "
                "tensor_parallel_size=1"
            )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
