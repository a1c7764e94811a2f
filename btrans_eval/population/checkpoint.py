"""What is known of a checkpoint without loading it: its layers, and the fingerprint of its weights.

For engines whose weights lie in other processes, in layouts of their own.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import safe_open
from torch import Tensor, nn
from transformers.utils.hub import cached_file

from btrans_eval.errors import UserError
from btrans_eval.population import fingerprint
from btrans_eval.population.gains import gain_rms
from btrans_eval.population.norms import NormLayer

_from_config: Any = transformers.AutoModelForCausalLM.from_config  # has no types
logger = logging.getLogger(__name__)

_INDEX, _WHOLE = "model.safetensors.index.json", "model.safetensors"


def unreadable(name: str, error: Exception) -> UserError:
    """What is wrong with a model that transformers cannot read: no such folder, or what it says."""
    rule = "pretrained: must be a model on the hub or in a folder, but "
    # the hub's names have one slash at most, and neither begin nor end with it
    is_path = name.startswith(("/", "./", "../", "~")) or name.endswith("/") or name.count("/") > 1
    if is_path and not os.path.exists(name):
        return UserError(f"{rule}there is no folder {name}; name one that save_pretrained wrote")
    return UserError(f"{rule}{name!r} could not be read ({str(error).strip().splitlines()[0]})")


class Checkpoint:
    """A causal language model on the hub or in a folder.

    Args:
        name: of the model, as transformers takes it.
        loading: what else its configuration is loaded with: revision, subfolder and whether
            code of its own is trusted.

    Raises:
        UserError: if there is no such model, or it is an encoder-decoder.
    """

    def __init__(self, name: str, loading: Mapping[str, Any]) -> None:
        self.name, self._loading = name, dict(loading)
        self.config = self._load_config()
        if getattr(self.config, "is_encoder_decoder", False):
            raise UserError(
                f"pretrained: must be a decoder-only model, but {name} is an encoder-decoder"
            )

    def _load_config(self) -> Any:
        try:
            return transformers.AutoConfig.from_pretrained(self.name, **self._loading)
        except (OSError, ValueError) as error:
            raise unreadable(self.name, error) from error

    def outline(self) -> nn.Module:
        """The transformers model without weights, on the device ``meta``.

        Its modules, their names and the shapes of what they return are the model's own.
        """
        config = self._load_config()
        config.pad_token_id = None  # else some models look for padding in tokens that are not there
        # grouped experts take no other dtype, and shapes do not depend on it
        with torch.device("meta"):
            model: nn.Module = _from_config(config, dtype=torch.bfloat16, **self._trust())
        return model.eval()

    def fingerprint(self, dtype: torch.dtype) -> str:
        """`fingerprint.of_model` of the model as transformers loads it in ``dtype``.

        Tensor by tensor from the checkpoint's files. Where their names are not those of the model
        (experts that are stacked when loaded), transformers loads it, on the CPU.
        """
        with torch.device("meta"):
            model = _from_config(self._load_config(), dtype=dtype, **self._trust())
        found = self.fingerprint_of(model)
        if found is not None:
            return found
        logger.warning("reading the weights of %s through transformers", self.name)
        loaded = transformers.AutoModelForCausalLM.from_pretrained(
            self.name, dtype=dtype, **self._loading
        )
        return fingerprint.of_model(loaded)

    def fingerprint_of(self, model: Any) -> str | None:
        """`fingerprint.of_model` of an outline of this checkpoint, had it its weights.

        Tensor by tensor from the checkpoint's files; None where they lack one of the outline's
        names.
        """
        kinds = {name: value.dtype for name, value in model.state_dict().items()}
        with ExitStack() as stack:
            files = self._tensor_files(stack)
            places = {name: self._place(name, model, files) for name in kinds}
            if not all(places.values()):
                return None
            return fingerprint.of_parts(model.config, _cast(kinds, places, files))

    def weights(
        self, model: Any, layers: Sequence[NormLayer], cache_dir: str | None = None
    ) -> dict[str, Tensor]:
        """The weight of each layer, by name, as it is stored; of what is on this machine.

        Args:
            model: an outline of this checkpoint.
            layers: of it; those without a weight are left out.
            cache_dir: where files of the hub lie, if not in its own cache.
        """
        with ExitStack() as stack:
            files = self._tensor_files(stack, local_files_only=True, cache_dir=cache_dir)
            names = {layer.name: f"{layer.name}.weight" for layer in layers}
            places = {name: self._place(whole, model, files) for name, whole in names.items()}
            return {
                name: files[place].get_tensor(place)
                for name, place in places.items()
                if place is not None
            }

    def gains(self, model: Any, layers: Sequence[NormLayer]) -> dict[str, float]:
        """`gains.gain_rms` of each layer, by name; of the weights, only these layers' are read.

        Args:
            model: an outline of this checkpoint, in the dtype that it is computed in, whose
                weights `fingerprint_of` finds.
            layers: of any outline of it.
        """
        found = {}
        with ExitStack() as stack:
            files = self._tensor_files(stack)
            for layer in layers:
                norm = copy.deepcopy(model.get_submodule(layer.path)).to_empty(device="cpu")
                names = {name: f"{layer.path}.{name}" for name in norm.state_dict()}
                places = {name: self._place(whole, model, files) for name, whole in names.items()}
                kinds = {name: value.dtype for name, value in norm.state_dict().items()}
                norm.load_state_dict(dict(_cast(kinds, places, files)))
                found[layer.name] = gain_rms(replace(layer, module=norm))
        return found

    def _trust(self) -> dict[str, Any]:
        where = ("revision", "subfolder")
        return {name: value for name, value in self._loading.items() if name not in where}

    def _tensor_files(self, stack: ExitStack, **where: Any) -> dict[str, Any]:
        """The open file of each tensor; none where the checkpoint has no safetensors."""
        names = {_WHOLE}
        if self._find(_WHOLE, **where) is None:  # which transformers takes where both are there
            index = self._find(_INDEX, **where)
            if index is None:
                return {}
            names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        found: dict[str, Any] = {}
        for path in [self._find(name, **where) for name in sorted(names)]:
            if path is None:
                return {}
            file = stack.enter_context(safe_open(path, framework="pt"))
            found |= dict.fromkeys(file.keys(), file)
        return found

    def _find(self, file: str, **where: Any) -> Path | None:
        found = cached_file(
            self.name,
            file,
            revision=self._loading.get("revision"),
            subfolder=self._loading.get("subfolder", ""),
            _raise_exceptions_for_missing_entries=False,
            **where,
        )
        return None if found is None else Path(found)

    def _place(self, name: str, model: Any, files: Mapping[str, Any]) -> str | None:
        """The tensor's name in the files: its own, or that of the one it is tied to.

        Without the prefix of the model without its head, where the files are of that.
        """
        tied = getattr(model, "all_tied_weights_keys", None) or {}
        prefix = f"{model.base_model_prefix}."
        for own in (name, tied.get(name)):
            for place in () if own is None else (own, own.removeprefix(prefix)):
                if place in files:
                    return place
        return None


def _cast(
    kinds: Mapping[str, torch.dtype], places: Mapping[str, str | None], files: Mapping[str, Any]
) -> Iterator[tuple[str, Tensor]]:
    for name, place in sorted(places.items()):
        assert place is not None
        yield name, files[place].get_tensor(place).to(kinds[name])


def of_folder(path: str) -> str:
    """Hex digest of an adapter's files.

    Raises:
        UserError: if it is no folder.
    """
    digest = hashlib.sha256()
    folder = Path(path)
    if not folder.is_dir():
        raise UserError(
            f"lora_local_path: must be a folder where responses are stored, got {path}, which may "
            "hold other files tomorrow; download it and name the folder"
        )
    for file in sorted(folder.glob("adapter_*")):
        digest.update(file.name.encode() + b"\0")
        with file.open("rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
