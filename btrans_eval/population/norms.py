"""Find the normalization layers of a model, by names that every wrapper agrees on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from btrans_eval.config import check_pattern
from btrans_eval.errors import UserError
from btrans_eval.population import gates, probe

# not NormalizedLinear, not Baichuan's NormHead
_NORM_CLASS = re.compile(r"(?i:norm)(alization)?(?![a-z]|Head)")
_USUAL_SPELLING = re.compile(r"Norm(?![a-z]|Head)")
_CHANNEL_NORMS = re.compile(r"^(Sync|Lazy)?(Batch|Instance|Group)Norm", re.IGNORECASE)
_QUERY_KEY = re.compile(r"(^|[._])(q|k|qk|query|key)_?(layer_?)?norm", re.IGNORECASE)


@dataclass(frozen=True)
class NormLayer:
    """One normalization layer.

    Attributes:
        name: module path in the base model, the same under PEFT, accelerate or torch.compile;
            with the part's number after a dot where the module returns several.
        module: the module whose output the noise is added to.
        width: size of the last dimension of its output.
        is_flat: whether its output holds the rows of a batch one after another in one dimension,
            (rows * tokens, width), and not in a dimension of their own.
        part: which of several norms that the module returns, from 0; None where it returns one.
        is_gated: whether the module multiplies by a gate after its gain, so that noise goes
            before the gate.
        call: how the module was called; None where that is not known.
    """

    name: str
    module: nn.Module
    width: int
    is_flat: bool = False
    part: int | None = None
    is_gated: bool = False
    call: probe.Call | None = None

    @property
    def path(self) -> str:
        """Of the module in the base model."""
        return self.name if self.part is None else self.name.rpartition(".")[0]


@dataclass(frozen=True)
class Survey:
    """What was found of a model's norms.

    Attributes:
        layers: those that were chosen, in the order of the model's modules.
        unreached: by name, modules that were chosen and that a forward pass did not reach; they
            carry no noise, and must not be called under it.
        functions: by name, modules that normalize vectors in their own code.
        unusual: what a class's name and a short pass do not tell, by kind, names of chosen layers;
            empty for most models.
    """

    layers: tuple[NormLayer, ...]
    unreached: Mapping[str, nn.Module]
    functions: Mapping[str, nn.Module]
    unusual: Mapping[str, list[str]]


def unwrap(model: nn.Module) -> nn.Module:
    """The transformers model inside torch.compile, DistributedDataParallel and PEFT wrappers."""
    while True:
        if isinstance(compiled := getattr(model, "_orig_mod", None), nn.Module):
            model = compiled
        elif isinstance(model, nn.parallel.DistributedDataParallel):
            model = model.module
        elif callable(under := getattr(model, "get_base_model", None)):
            model = under()
        else:
            return model


def find_norms(model: nn.Module, norms: str = "all") -> list[NormLayer]:
    """The layers of `survey`."""
    return list(survey(model, norms).layers)


def survey(model: nn.Module, norms: str = "all") -> Survey:
    """The chosen normalization layers of ``model``, and what else is to be known of its norms.

    One forward pass over two rows tells what each layer returns, and a longer one where that does
    not reach all. A module that does not return vectors of its input's shape is no norm.

    Args:
        model: a model as loaded, wrapped or not.
        norms: ``all``; ``residual`` (as wide as the hidden state, no query or key norms); or a
            regular expression searched for in the layers' names.

    Raises:
        UserError: if the model has no normalization layer, if none is chosen, or if it cannot be
            told for one that is where its noise belongs or which row of its output is whose.
    """
    model = unwrap(model)
    modules = dict(_normalization_modules(model))
    if not modules:
        kinds = sorted({type(module).__name__ for module in model.modules()})
        raise UserError(
            f"norms: the model must have normalization layers, but {type(model).__name__} has "
            f"none among its modules ({', '.join(kinds)}); choose another model"
        )
    seen, late = _calls(model, modules)
    found = {
        name: list(_parts(name, modules[name], call))
        for name, call in seen.items()
        if _may_be_chosen(name, call, norms, model)
    }
    chosen = [
        _placed(layer, seen[name])
        for name, layers in found.items()
        for layer in layers
        if _is_chosen(layer.name, layer.width, norms, model)
    ]
    if not chosen:
        names = ", ".join(list(seen)[:8])
        more = f", and {len(seen) - 8} more" if len(seen) > 8 else ""
        raise UserError(
            f"norms: must choose at least one layer, but {norms!r} matches none of "
            f"{names}{more}; use norms=all, norms=residual or a regular expression on these names"
        )
    _refuse_sorted(model, [layer for layer in chosen if layer.is_flat])
    unreached = {
        name: module
        for name, module in modules.items()
        if name not in seen and _is_chosen(name, _width(module), norms, model)
    }
    kinds_of = {
        "gated": [layer.name for layer in chosen if layer.is_gated],
        "parts": [layer.name for layer in chosen if layer.part is not None],
        "late": [layer.name for layer in chosen if layer.path in late],
        "spelled": [layer.name for layer in chosen if not _is_usual(layer.module)],
        "no norms": [
            name
            for name, layers in found.items()
            if not layers and _is_chosen(name, 0, norms, model)
        ],
    }
    return Survey(
        tuple(chosen),
        unreached,
        probe.functional_norms(model, [modules[name] for name in seen]),
        {kind: names for kind, names in kinds_of.items() if names},
    )


def _calls(
    model: nn.Module, modules: Mapping[str, nn.Module]
) -> tuple[dict[str, probe.Call], set[str]]:
    """How each was called, and the names of those that only a long pass reaches."""
    short = probe.calls(model, list(modules.values()), probe.ROWS, probe.LENGTH)
    seen = {name: call for name, call in zip(modules, short, strict=True) if call}
    missing = [name for name in modules if name not in seen]
    length = min(probe.LONG, _longest(model))
    late: dict[str, probe.Call] = {}
    if missing and length > probe.LENGTH:
        long = probe.calls(model, [modules[name] for name in missing], probe.ROWS, length)
        late = {name: call for name, call in zip(missing, long, strict=True) if call}
    together = {**seen, **late}
    return {name: together[name] for name in modules if name in together}, set(late)


def _longest(model: nn.Module) -> int:
    config: Any = getattr(model, "config", None)
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    return int(getattr(config, "max_position_embeddings", None) or probe.LENGTH)


def _parts(name: str, module: nn.Module, call: probe.Call) -> Iterator[NormLayer]:
    """The norms that a module returns."""
    for part in gates.normalized_parts(module, call, name):
        width = call.outputs[part][-1]
        if call.is_tuple:
            yield NormLayer(f"{name}.{part}", module, width, part=part)
        else:
            yield NormLayer(name, module, width)


def _placed(layer: NormLayer, call: probe.Call) -> NormLayer:
    shape = call.outputs[layer.part or 0]
    is_gated = layer.part is None and gates.is_gated(layer.module, call, layer.name)
    is_flat = _is_flat(shape, call.length, layer.name)
    return replace(layer, is_flat=is_flat, is_gated=is_gated, call=call)


def _may_be_chosen(name: str, call: probe.Call, norms: str, model: nn.Module) -> bool:
    """Whether a module has to be looked into: what is left out by its name is not called."""
    names = [f"{name}.{part}" for part in range(len(call.outputs))] if call.is_tuple else [name]
    shapes = zip(names, call.outputs, strict=True)
    return any(_is_chosen(each, shape[-1], norms, model) for each, shape in shapes if shape)


def _refuse_sorted(model: nn.Module, layers: Sequence[NormLayer]) -> None:
    """Refuse flat layers that see other tokens than those of each row in turn, as experts do.

    A pass over tokens that are all alike may take all of them to one expert; two kinds go apart.
    """
    for length in {layer.call.length for layer in layers if layer.call}:
        of_length = [layer for layer in layers if layer.call and layer.call.length == length]
        modules = [layer.module for layer in of_length]
        again = probe.calls(model, modules, probe.ROWS, length, are_alike=False)
        for layer, call in zip(of_length, again, strict=True):
            if call != layer.call:
                raise UserError(
                    f"norms: {layer.name} is given tokens of a batch apart from their rows, so "
                    "whose they are cannot be told; leave it out with a regular expression, or "
                    "use norms=residual"
                )


def _is_flat(shape: tuple[int, ...], length: int, name: str) -> bool:
    if shape[0] == probe.ROWS:
        return False
    if len(shape) == 2 and shape[0] % (probe.ROWS * length) == 0:
        return True
    raise UserError(
        f"norms: rows of a batch must come first in a layer's output, but {name} returned "
        f"{shape} for {probe.ROWS} rows of {length} tokens; leave it out with a regular "
        "expression, or use norms=residual"
    )


def _width(module: nn.Module) -> int:
    """Of a layer that was not called, by its weight; 0 where that does not tell."""
    weight = getattr(module, "weight", None)
    return int(weight.shape[-1]) if isinstance(weight, Tensor) and weight.ndim else 0


def _normalization_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    inside: tuple[str, ...] = ()
    for name, module in model.named_modules():
        if inside and name.startswith(inside):
            continue
        if is_norm(module) or is_norm(wrapped_by_peft(module)):
            inside = (*inside, name + ".")
            yield name, module


def wrapped_by_peft(module: nn.Module) -> nn.Module | None:
    """The layer that a PEFT tuner or a saved copy stands in for; its noise is added once."""
    for attribute in ("base_layer", "original_module"):
        inner = getattr(module, attribute, None)
        if isinstance(inner, nn.Module):
            return inner
    return None


def is_norm(module: nn.Module | None) -> bool:
    """Whether a module may be a normalization layer over its last dimension, by its class."""
    if module is None or next(module.children(), None) is not None:
        return False
    name = type(module).__name__
    named = bool(_NORM_CLASS.search(name)) and not _CHANNEL_NORMS.search(name)
    return named or isinstance(module, (nn.LayerNorm, nn.RMSNorm))


def _is_usual(module: nn.Module) -> bool:
    """Whether its class's name has a Norm in it."""
    inner = wrapped_by_peft(module)
    return bool(_USUAL_SPELLING.search(type(module if inner is None else inner).__name__))


def _is_chosen(name: str, width: int, norms: str, model: nn.Module) -> bool:
    if norms == "all":
        return True
    if norms == "residual":
        return width == hidden_size(model) and not _QUERY_KEY.search(name)
    return check_pattern("norms", norms).search(name) is not None


def hidden_size(model: nn.Module) -> int:
    """Width of the residual stream."""
    config: Any = model.config
    return int(config.get_text_config().hidden_size)
