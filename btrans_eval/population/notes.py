"""What carries no noise though it is, or may be taken for, a normalization layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import nn

from btrans_eval.population.norms import Survey
from btrans_eval.population.priors import LayerNoise

_SHOWN = 3


def notes_of(survey: Survey, noises: Sequence[LayerNoise]) -> list[str]:
    """One sentence for each reason; none for most models.

    Args:
        survey: of the model.
        noises: of its layers; it is told of those that have none where others have.
    """
    none = [layer.name for layer, noise in zip(survey.layers, noises, strict=True) if noise.is_none]
    silent = none if len(none) < len(noises) else []
    notes = []
    if survey.functions:
        notes.append(
            f"norms: {_kinds(survey.functions)} normalizes vectors in its own code, where no noise "
            f"can be added: {_some(survey.functions)}"
        )
    if scales := survey.unusual.get("no norms"):
        notes.append(
            "norms: these return less than a vector for each that they are given and carry "
            f"no noise: {_some(scales)}"
        )
    if survey.unreached:
        notes.append(
            f"norms: a pass over tokens does not reach these, so they carry no noise and must not "
            f"be called under it: {_some(survey.unreached)}"
        )
    if silent:
        notes.append(f"prior: these layers change nothing and carry no noise: {_some(silent)}")
    return notes


def _kinds(modules: Mapping[str, nn.Module]) -> str:
    return ", ".join(sorted({type(module).__name__ for module in modules.values()}))


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - _SHOWN
    return ", ".join(listed[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
