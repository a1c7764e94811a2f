"""Fingerprints: whether two runs use the same weights and the same tokenizer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from btrans_eval.errors import UserError

_SAMPLED = 4096
_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@torch.no_grad()
def of_model(model: nn.Module) -> str:
    """Hex digest of a model's configuration and weights, adapters and quantized ones included.

    Of every tensor in the state dict: name, dtype, shape, the exact sum of its bits taken as
    integers, and up to 4096 evenly spaced values. So it is quick, the same on every device, and
    changes when a checkpoint was trained further, if only in one value (unless several changes
    cancel in the sum and all miss the sampled places).

    Raises:
        UserError: if weights are not on a device (offloaded to disk).
    """
    digest = hashlib.sha256()
    _add_config(digest, getattr(model, "config", None))
    for name, adapter in sorted(getattr(model, "peft_config", {}).items()):
        digest.update(_text([name, adapter.to_dict()]))
    if used := _adapters_in_use(model):
        digest.update(_text(used))
    _add_tensors(digest, sorted(_tensors(model)))
    return digest.hexdigest()


@torch.no_grad()
def of_parts(config: Any, tensors: Iterable[tuple[str, Tensor]]) -> str:
    """What `of_model` gives for a model with this configuration and state dict, without adapters.

    Args:
        config: of the model.
        tensors: the state dict in the order of its names; each is let go before the next is taken.
    """
    digest = hashlib.sha256()
    _add_config(digest, config)
    _add_tensors(digest, tensors)
    return digest.hexdigest()


def _add_config(digest: Any, config: Any) -> None:
    if config is not None:
        facts = {k: v for k, v in config.to_dict().items() if k not in _NOT_THE_MODEL}
        digest.update(_text(facts))


def _add_tensors(digest: Any, tensors: Iterable[tuple[str, Tensor]]) -> None:
    for name, tensor in tensors:
        digest.update(_text([name, str(tensor.dtype), list(tensor.shape)]))
        digest.update(_content(tensor, name))


# where it was loaded from and how, which is no part of what it computes or has a key of its own
_NOT_THE_MODEL = {"_name_or_path", "transformers_version", "_attn_implementation_autoset", "dtype"}


def _text(facts: Any) -> bytes:
    return json.dumps(facts, sort_keys=True, default=_plain).encode()


def _plain(value: Any) -> Any:
    return sorted(map(str, value)) if isinstance(value, (set, frozenset)) else str(value)


def _tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    state = model.state_dict()
    return [(name, value) for name, value in state.items() if isinstance(value, Tensor)]


def _content(tensor: Tensor, name: str) -> bytes:
    if tensor.is_meta:
        raise UserError(
            f"store: the weights of {name} are offloaded, so this model cannot be told from "
            "another; keep it in memory, or leave out store="
        )
    flat = tensor.detach().contiguous().view(-1)
    if not flat.numel():
        return b""
    words = flat.view(_WORDS[flat.element_size()])
    total = int(words.sum(dtype=torch.int64))
    step = -(-words.numel() // _SAMPLED)
    sampled = words[::step].cpu().numpy()
    return total.to_bytes(8, "big", signed=True) + sampled.tobytes()


def _adapters_in_use(model: nn.Module) -> list[str]:
    """Which of several adapters are active, or that none is; empty where all there are act."""
    tuners = [
        module
        for module in model.modules()
        # a method of the same name tells nothing: transformers' models have one
        if isinstance(getattr(type(module), "disable_adapters", None), property)
    ]
    found = {
        "none" if module.disable_adapters else str(module.active_adapters) for module in tuners
    }
    several = len(getattr(model, "peft_config", {})) > 1
    return sorted(found) if several or "none" in found else []


def of_tokenizer(tokenizer: Any) -> str:
    """Hex digest of a tokenizer: how it splits, its vocabulary and its special tokens."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        whole: Any = [sorted(tokenizer.get_vocab().items()), str(tokenizer.name_or_path)]
    else:
        whole = json.loads(backend.to_str())
        for state in ("padding", "truncation"):  # of its last use
            whole.pop(state, None)
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    spaces = getattr(tokenizer, "clean_up_tokenization_spaces", None)
    facts = [type(tokenizer).__name__, whole, special, spaces]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
