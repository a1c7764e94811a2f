"""Members in vLLM's workers: which layers carry noise, that it reaches them, and whose it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from vllm import SamplingParams, TokensPrompt

from btrans_eval.errors import UserError
from btrans_eval.model_adapters.vllm.replicas import Engines
from btrans_eval.population import noise as noises
from btrans_eval.population.norms import NormLayer
from btrans_eval.population.population import Population

_PROBE_LENGTH = 16
_PROBE_SIGMA = 0.05
_LEFT_OUT = 0.2
"""Share of what noise does above which some of it was left out; rounding, and experts that are
chosen otherwise by it, stay below."""
_HALF_PRECISION = 2**-7
"""What a weight may differ by that was rounded to 16 bits."""
_UNKNOWN = object()


class Noise:
    """The noise of engines whose workers are of the class ``NoisyWorker``.

    Args:
        engines: as started.
        vocabulary: how many tokens the model knows.
    """

    def __init__(self, engines: Engines, vocabulary: int) -> None:
        self._engines = engines
        self._probe = [(5 + 7 * place) % min(vocabulary, 1000) for place in range(_PROBE_LENGTH)]
        self._names: dict[str, str] = {}
        self._proved: set[str] = set()
        self._held: Any = _UNKNOWN

    def find(self, layers: Sequence[NormLayer], weights: Mapping[str, Tensor]) -> None:
        """Find these layers in vLLM, and see that the noise of each reaches what is generated.

        Args:
            layers: as transformers has them.
            weights: of layers in the checkpoint, by canonical name.

        Raises:
            UserError: if vLLM lacks one of them, splits it among workers, holds another weight of
                it, or computes it in a way that passes its noise by.
        """
        wanted = [layer for layer in layers if layer.name not in self._proved]
        found = [
            _union(workers)
            for workers in self._engines.tell("btrans_find", [layer.name for layer in wanted])
        ]
        for places in found:
            _check(wanted, places)
        self._names |= {layer.name: found[0][layer.name][0] for layer in wanted}
        self._compare(
            {layer.name: weights[layer.name] for layer in wanted if layer.name in weights}
        )
        self._prove(wanted)
        if wanted:
            self._prove_decoding(wanted)
        self._proved |= {layer.name for layer in wanted}

    def gains(self, layers: Sequence[NormLayer]) -> dict[str, float]:
        """Root mean square of each layer's gain, by canonical name."""
        names = [self._names[layer.name] for layer in layers]
        workers = self._engines.tell("btrans_gains", names)[0]
        found = {}
        for layer, name in zip(layers, names, strict=True):
            parts = [worker[name] for worker in workers if name in worker]
            for part in parts:
                if isinstance(part, str):
                    raise UserError(part)
            # workers may share the heads of a layer, equally many each
            alike = len(set(parts)) == 1
            found[layer.name] = parts[0] if alike else fmean(part**2 for part in parts) ** 0.5
        return found

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
    def _compare(self, weights: Mapping[str, Tensor]) -> None:
        """See that vLLM holds these weights as they are, or with the 1 that is added to them.

        Elsewhere channels have changed places, or a factor that belongs after the noise was folded
        in.
        """
        names = {self._names[name]: name for name in weights}
        held = _union(self._engines.tell("btrans_weights", list(names))[0])
        for own, name in names.items():
            there = weights[name].float().flatten()
            here = torch.from_numpy(np.frombuffer(held.get(own, b""), dtype="<f4").copy())
            if weights[name].ndim > 1 and len(here) < len(there):
                continue  # of heads that workers share
            if here.shape != there.shape or not any(
                torch.allclose(here, there + plus, rtol=_HALF_PRECISION, atol=_HALF_PRECISION)
                for plus in (0, 1)
            ):
                raise UserError(
                    f"norms: vLLM holds another weight of {name} than the checkpoint, so members "
                    "would not be those of btrans-hf; leave it out with norms=, or use --model "
                    "btrans-hf"
                )

    def _prove(self, layers: Sequence[NormLayer]) -> None:
        """See that noise in each layer alone changes what the model says of a few tokens."""
        self._set({})
        stock = self._look(self._probe)
        rounding = max(abs(a - b) for a, b in zip(stock, self._look(self._probe), strict=True))
        unchanged = []
        for layer in tqdm(
            layers, desc="Whether noise reaches every layer", disable=len(layers) < 2
        ):
            shift = noises.eps(0, 0, layer.name, layer.width).astype("<f4").tobytes()
            self._set({self._names[layer.name]: shift})
            seen = self._look(self._probe)
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

    def _prove_decoding(self, layers: Sequence[NormLayer]) -> None:
        """See that tokens are as likely when they are generated as when they are read.

        Kernels that serve single tokens only might pass the noise by. With noise in all layers
        the two may differ by what they do without noise, and by little of what noise does.
        """
        shifts = {
            self._names[layer.name]: (
                _PROBE_SIGMA * noises.eps(0, 0, layer.name, layer.width)
            ).astype("<f4").tobytes()
            for layer in layers
        }  # fmt: skip
        self._set({})
        tokens, said = self._generate()
        rounding = _distance(said, self._look(tokens)[-len(said) :])
        self._set(shifts)
        tokens, said = self._generate()
        noisy = self._look(tokens)[-len(said) :]
        self._set({})
        effect = _distance(noisy, self._look(tokens)[-len(said) :])
        # written so that a number that is none is refused
        if not _distance(said, noisy) <= 10 * rounding + _LEFT_OUT * effect:
            raise UserError(
                "norms: with noise vLLM generates tokens otherwise than it reads them, so a kernel "
                "that decodes passes some of the noise by, and members would not be those of "
                "btrans-hf; use --model btrans-hf"
            )

    def _look(self, tokens: Sequence[int]) -> list[float]:
        """Log likelihoods of tokens as vLLM reads them, from the second on."""
        self._engines.forget()
        parameters = SamplingParams(temperature=0, prompt_logprobs=1, max_tokens=1)
        prompt = TokensPrompt(prompt_token_ids=list(tokens))
        (output,) = self._engines.generate([prompt], [parameters], None)
        return _logprobs(output.prompt_logprobs[1:], output.prompt_token_ids[1:])

    def _generate(self) -> tuple[list[int], list[float]]:
        """The probe with tokens that vLLM adds to it, and the log likelihoods of these."""
        self._engines.forget()
        parameters = SamplingParams(
            temperature=0, logprobs=1, max_tokens=_PROBE_LENGTH, ignore_eos=True
        )
        prompt = TokensPrompt(prompt_token_ids=self._probe)
        (output,) = self._engines.generate([prompt], [parameters], None)
        new = list(output.outputs[0].token_ids)
        return [*self._probe, *new], _logprobs(output.outputs[0].logprobs, new)


def _logprobs(of_tokens: Sequence[Any], tokens: Sequence[int]) -> list[float]:
    return [float(each[token].logprob) for each, token in zip(of_tokens, tokens, strict=True)]


def _distance(some: Sequence[float], others: Sequence[float]) -> float:
    """Mean absolute difference."""
    return fmean(abs(a - b) for a, b in zip(some, others, strict=True))


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
