"""What is known of a checkpoint without loading it: its layers, and the fingerprint of its weights.

For engines whose weights lie in other processes, in layouts of their own.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import safe_open
from torch import Tensor, nn
from transformers.utils.hub import cached_file

from btrans_eval.errors import UserError
from btrans_eval.population import fingerprint

logger = logging.getLogger(__name__)

_INDEX, _WHOLE = "model.safetensors.index.json", "model.safetensors"


class Checkpoint:
    """A causal language model on the hub or in a folder.

    Args:
        name: of the model, as transformers takes it.
        loading: what else its configuration is loaded with, such as the revision.

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
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"pretrained: must be a model on the hub or in a folder, but {self.name!r} "
                f"could not be read ({reason})"
            ) from error

    def outline(self) -> nn.Module:
        """The transformers model without weights, on the device ``meta``.

        Its modules, their names and the shapes of what they return are the model's own.
        """
        config = self._load_config()
        config.pad_token_id = None  # else some models look for padding in tokens that are not there
        # grouped experts take no other dtype, and shapes do not depend on it
        with torch.device("meta"):
            model = transformers.AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
                config, dtype=torch.bfloat16, **self._trust()
            )
        return model.eval()  # type: ignore[no-any-return]

    def fingerprint(self, dtype: torch.dtype) -> str:
        """`fingerprint.of_model` of the model as transformers loads it in ``dtype``.

        Tensor by tensor from the checkpoint's files. Where their names are not those of the model
        (experts that are stacked when loaded), transformers loads it, on the CPU.
        """
        with torch.device("meta"):
            model = transformers.AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
                self._load_config(), dtype=dtype, **self._trust()
            )
        kinds = {name: value.dtype for name, value in model.state_dict().items()}
        with ExitStack() as stack:
            files = self._tensor_files(stack)
            places = {name: self._place(name, model, files) for name in kinds}
            if files and all(places.values()):
                return fingerprint.of_parts(model.config, _cast(kinds, places, files))
        logger.warning("reading the weights of %s through transformers", self.name)
        loaded = transformers.AutoModelForCausalLM.from_pretrained(
            self.name, dtype=dtype, **self._loading
        )
        return fingerprint.of_model(loaded)

    def _trust(self) -> dict[str, Any]:
        return {name: value for name, value in self._loading.items() if name != "revision"}

    def _tensor_files(self, stack: ExitStack) -> dict[str, Any]:
        """The open file of each tensor; none where the checkpoint has no safetensors."""
        index = self._find(_INDEX)
        if index is not None:
            names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        else:
            names = {_WHOLE}
        found: dict[str, Any] = {}
        for path in map(self._find, sorted(names)):
            if path is None:
                return {}
            file = stack.enter_context(safe_open(path, framework="pt"))
            found |= dict.fromkeys(file.keys(), file)
        return found

    def _find(self, file: str) -> Path | None:
        revision = self._loading.get("revision")
        found = cached_file(
            self.name, file, revision=revision, _raise_exceptions_for_missing_entries=False
        )
        return None if found is None else Path(found)

    def _place(self, name: str, model: Any, files: Mapping[str, Any]) -> str | None:
        """The tensor's name in the files: its own, or that of the one it is tied to."""
        if name in files:
            return name
        tied = getattr(model, "all_tied_weights_keys", None) or {}
        source = tied.get(name)
        return source if source in files else None


def _cast(
    kinds: Mapping[str, torch.dtype], places: Mapping[str, str | None], files: Mapping[str, Any]
) -> Iterator[tuple[str, Tensor]]:
    for name, place in sorted(places.items()):
        assert place is not None
        yield name, files[place].get_tensor(place).to(kinds[name])


def of_folder(path: str) -> str:
    """Hex digest of an adapter's files; of its name where it is no folder."""
    digest = hashlib.sha256()
    folder = Path(path)
    if not folder.is_dir():
        return f"hub {path}"
    for file in sorted(folder.glob("adapter_*")):
        digest.update(file.name.encode() + b"\0")
        with file.open("rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
