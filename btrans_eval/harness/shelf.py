"""One model's place in a store: which of its responses are there, and where new ones go."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from btrans_eval.harness.response import Response
from btrans_eval.population.noise import SCHEME as NOISE_SCHEME
from btrans_eval.population.population import Population
from btrans_eval.population.streams import SCHEME as SAMPLING_SCHEME
from btrans_eval.store.keys import Context, canonical, key
from btrans_eval.store.store import ResponseId, Store, StoredResponse


class Shelf:
    """Responses of one model under one noise.

    Args:
        store: the file.
        model: name of the model, for listings.
        population: the members.
        engine: what the responses depend on apart from the members: fingerprints, dtype,
            engine and the like.
    """

    def __init__(
        self, store: Store, model: str, population: Population, engine: Mapping[str, Any]
    ) -> None:
        self.store = store
        self._model, self._noise = model, describe_noise(population)
        self._facts = {
            **engine,
            "noise": None if population.is_stock else population.digest(),
            "seed": population.seed,
            "schemes": {"noise": NOISE_SCHEME, "sampling": SAMPLING_SCHEME},
        }
        self._contexts: dict[str, Context] = {}

    def context(self, asked: Mapping[str, Any]) -> Context:
        """All that responses to requests with these resolved arguments have in common."""
        name = canonical(asked)
        if name not in self._contexts:
            facts = {**self._facts, "asked": asked}
            self._contexts[name] = Context(self._model, self._noise, facts)
        return self._contexts[name]

    def differences(self, context: Context, facts: Mapping[str, Any]) -> set[str]:
        """Names of facts and generation arguments that another context has otherwise.

        None where the two are of different kinds: another engine, or loglikelihoods.
        """
        ours, theirs = json.loads(canonical(context.facts)), dict(facts)
        asked, other = ours.pop("asked"), theirs.pop("asked", {})
        if asked.keys() != other.keys():  # of another engine, or of responses and loglikelihoods
            return set()
        pairs = [(ours, theirs), (asked, other)]
        found = {
            name
            for one, another in pairs
            for name in {*one, *another}
            if one.get(name) != another.get(name)
        }
        # the fingerprint is of the weights in their dtype
        return found - {"model"} if "dtype" in found else found

    def keys(self, context: Context, places: Sequence[ResponseId]) -> list[bytes]:
        """The key of each place."""
        digest = context.digest
        return [key(digest, place.prompt, place.member, place.sample) for place in places]

    def read(self, context: Context, places: Sequence[ResponseId]) -> list[Response | None]:
        """The response of each place; None where there is none."""
        keys = self.keys(context, places)
        found = self.store.responses(keys)
        return [_response(found[each]) if each in found else None for each in keys]

    def write(
        self,
        context: Context,
        responses: Sequence[tuple[ResponseId, Response]],
        seconds: float,
    ) -> None:
        """Keep new responses; ``seconds`` is the wall time of each one's share of its batch."""
        self.store.add_responses(
            context,
            [
                (
                    place,
                    StoredResponse(str(text), text.tokens, bool(text.truncated), text.mean_logprob),
                )
                for place, text in responses
            ],
            seconds,
        )

    def read_likelihoods(
        self, context: Context, places: Sequence[ResponseId]
    ) -> list[tuple[float, bool] | None]:
        """The (loglikelihood, whether greedy) of each place; None where there is none."""
        keys = self.keys(context, places)
        found = self.store.likelihoods(keys)
        return [found.get(each) for each in keys]

    def write_likelihoods(
        self, context: Context, values: Sequence[tuple[ResponseId, tuple[float, bool]]]
    ) -> None:
        """Keep new loglikelihoods; one that is no number is not kept."""
        kept = [(place, value) for place, value in values if not math.isnan(value[0])]
        self.store.add_likelihoods(context, kept)


def _response(found: StoredResponse) -> Response:
    return Response(found.text, found.tokens, found.truncated, found.mean_logprob)


def describe_noise(population: Population) -> str:
    """The noise in a few words, for listings."""
    if population.is_stock:
        return "none"
    amount = "" if population.sigma is None else f"sigma={population.sigma:g} "
    said = amount + Path(population.prior).name
    said += f" mu={population.mu:g}" if population.mu else ""
    said += f" norms={population.norms}" if population.norms != "all" else ""
    said += " noise=token" if population.noise == "token" else ""
    said += " noise_from=generation" if population.noise_from == "generation" else ""
    return f"{said} seed={population.seed}"
