"""Members in vLLM's workers: which layers carry noise, that it reaches them, and whose it is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from btrans_eval.errors import UserError
from btrans_eval.model_adapters.vllm.mixing import NOBODY
from btrans_eval.model_adapters.vllm.probe import Probe, distance
from btrans_eval.model_adapters.vllm.replicas import Engines
from btrans_eval.model_adapters.vllm.tables import Tables, check_taken
from btrans_eval.population import noise as noises
from btrans_eval.population.norms import NormLayer
from btrans_eval.population.population import Population

_PROBE_SIGMA = 0.05
_LEFT_OUT = 0.2
"""Share of what noise does above which some of it was left out; rounding, and experts that are
chosen otherwise by it, stay below."""
_HALF_PRECISION = 2**-7
"""What a weight may differ by that was rounded to 16 bits."""
_UNKNOWN, _SHARED = object(), object()


class Noise:
    """The noise of engines whose workers are of the class ``NoisyWorker``.

    Args:
        engines: as started.
        vocabulary: how many tokens the model knows.
        slots: how many members the workers' tables hold; 0: they have none.
    """

    def __init__(self, engines: Engines, vocabulary: int, slots: int = 0) -> None:
        self.engines = engines
        self.tables = Tables(engines, slots)
        self.probe = Probe(engines, vocabulary)
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
            for workers in self.engines.tell("btrans_find", [layer.name for layer in wanted])
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
        workers = self.engines.tell("btrans_gains", names)[0]
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
        salt = _salt(population, member)
        if salt != self._held:
            self.set(self._shifts(population, member))
            self._held = salt
        return salt

    def share(
        self, population: Population, members: Collection[int | None]
    ) -> dict[int | None, str]:
        """From now on the engines answer as each of these members, by the key of a request.

        Args:
            members: as many as tables hold, at most; None: the model itself.

        Returns:
            by member, its salt as of `hold`, which is also the key of its requests.

        Raises:
            RuntimeError: if a request is still running, and tables have to change; or if they do
                not hold as many.
        """
        salts = {member: _salt(population, member) for member in members}
        owners = {salt: member for member, salt in salts.items() if salt != NOBODY}
        if len(owners) > self.tables.slots:
            raise RuntimeError(f"tables hold {self.tables.slots} members, not {len(owners)}")
        missing = sorted(owners.keys() - self.tables.held)
        if missing or self._held is not _SHARED:
            self.show(((salt, self._shifts(population, owners[salt])) for salt in missing), owners)
        return salts

    def show(
        self, shifts: Iterable[tuple[str, Mapping[str, bytes]]], keep: Collection[str]
    ) -> None:
        """From now on requests have the noise of their key, and tables hold this, too.

        Args:
            shifts: keys and their noise; that of many members is not wanted at once.
            keep: the keys of all that tables have to hold, these among them.

        Raises:
            RuntimeError: if a request is still running.
        """
        self._held = _UNKNOWN
        self.engines.forget()
        for key, given in shifts:
            self.tables.give(key, given, keep)
        self.tables.mix()
        self._held = _SHARED

    def _shifts(self, population: Population, member: int | None) -> dict[str, bytes]:
        if member is None or population.is_stock:
            return {}
        return {
            self._names[layer.name]: population.shift(member, index).astype("<f4").tobytes()
            for index, layer in enumerate(population.layers)
            if not population.layer_noise[index].is_none
        }

    def pretended(
        self, layers: Sequence[NormLayer], member: int = 0, sigma: float = 1.0
    ) -> dict[str, bytes]:
        """Noise of these layers for a trial, by their names in vLLM."""
        return {
            self._names[layer.name]: (sigma * noises.eps(0, member, layer.name, layer.width))
            .astype("<f4")
            .tobytes()
            for layer in layers
        }

    def set(self, shifts: Mapping[str, bytes]) -> None:
        """From now on the engines answer with this noise, of whomever."""
        self._held = _UNKNOWN
        self.engines.forget()
        check_taken(shifts, self.engines.tell("btrans_set", dict(shifts)))

    # ------------------------------------------------------- that noise reaches every layer
    def _compare(self, weights: Mapping[str, Tensor]) -> None:
        """See that vLLM holds these weights as they are, or with the 1 that is added to them.

        Elsewhere channels have changed places, or a factor that belongs after the noise was folded
        in.
        """
        names = {self._names[name]: name for name in weights}
        held = _union(self.engines.tell("btrans_weights", list(names))[0])
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
        self.set({})
        (stock,), (again,) = self.probe.look(), self.probe.look()
        rounding = max(abs(a - b) for a, b in zip(stock, again, strict=True))
        unchanged = []
        for layer in tqdm(
            layers, desc="Whether noise reaches every layer", disable=len(layers) < 2
        ):
            self.set(self.pretended([layer]))
            (seen,) = self.probe.look()
            # written so that a number that is none counts as a change
            if all(abs(a - b) <= 2 * rounding for a, b in zip(stock, seen, strict=True)):
                unchanged.append(layer.name)
        self.set({})
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
        self.set({})
        tokens, said = self.probe.generate()
        (read,) = self.probe.look(tokens)
        rounding = distance(said, read[-len(said) :])
        self.set(self.pretended(layers, sigma=_PROBE_SIGMA))
        tokens, said = self.probe.generate()
        (noisy,) = self.probe.look(tokens)
        self.set({})
        (read,) = self.probe.look(tokens)
        effect = distance(noisy[-len(said) :], read[-len(said) :])
        # written so that a number that is none is refused
        if not distance(said, noisy[-len(said) :]) <= 10 * rounding + _LEFT_OUT * effect:
            raise UserError(
                "norms: with noise vLLM generates tokens otherwise than it reads them, so a kernel "
                "that decodes passes some of the noise by, and members would not be those of "
                "btrans-hf; use --model btrans-hf"
            )


def _salt(population: Population, member: int | None) -> str:
    """What tells a member's keys and values from all others'."""
    if member is None or population.is_stock:
        return NOBODY
    return f"{population.digest()}:{population.seed}:{member}"


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
