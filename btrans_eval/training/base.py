"""The model that is trained: loaded as the harness loads it, the demo's weights unquantized."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers

from btrans_eval.demo import demo_arguments
from btrans_eval.errors import UserError
from btrans_eval.model_adapters.hf import BTransHF
from btrans_eval.population import cache_folder, fingerprint

logger = logging.getLogger(__name__)

_MARK = "fingerprint.json"


def base_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Model arguments of what is trained and evaluated.

    Args:
        given: by the user; without ``pretrained`` the demo model.

    Raises:
        UserError: on an argument that training cannot do with.
    """
    for name, reason in (
        ("peft", "training begins with an adapter of its own"),
        ("delta", "train the model that the delta makes"),
        ("parallelize", "use accelerate launch"),
    ):
        if given.get(name):
            raise UserError(f"{name}: cannot be had in training, got {given[name]!r}: {reason}")
    arguments = dict(given)
    if arguments.get("pretrained") is None:
        arguments = {**demo_arguments(), **arguments}
    arguments.setdefault("dtype", "float32")
    if arguments.get("gguf_file"):
        arguments["pretrained"] = _unquantized(arguments)
        arguments.pop("gguf_file")
    return arguments


def _unquantized(arguments: Mapping[str, Any]) -> str:
    """A folder with the weights of a GGUF file as they are computed with, made once.

    transformers' trainer and ``save_pretrained`` refuse a model as loaded from such a file.
    """
    file = Path(str(arguments["pretrained"])) / str(arguments["gguf_file"])
    digest = hashlib.sha256(file.read_bytes() if file.is_file() else str(file).encode())
    digest.update(f"{arguments['dtype']} {transformers.__version__}".encode())
    folder = cache_folder.folder() / "models" / f"{file.stem}-{digest.hexdigest()[:16]}"
    if (folder / _MARK).is_file():
        return str(folder)
    logger.warning("%s: its weights are copied to %s, once, for training", file.name, folder)
    lm = BTransHF(**{**arguments, "sigma": 0.0, "batch_size": 1, "device": "cpu"})
    config = lm.model.config
    settings = {n: v for n, v in config.to_dict().items() if n != "quantization_config"}
    models: Any = transformers.AutoModelForCausalLM  # has no types
    plain = models.from_config(type(config).from_dict(settings), dtype=lm.model.dtype)
    plain.load_state_dict(lm.model.state_dict())
    plain.generation_config = lm.model.generation_config
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        plain.save_pretrained(part)
        lm.tokenizer.save_pretrained(part)
        facts = {"weights": fingerprint.of_model(plain), "source": str(file)}
        (part / _MARK).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        if not folder.exists():  # another process may have been first
            os.rename(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return str(folder)


def load(arguments: Mapping[str, Any]) -> Any:
    """The model, its tokenizer and the harness's ways with them: a ``BTransHF`` without noise.

    Raises:
        UserError: if a copied model is no longer what was copied.
    """
    lm = BTransHF(**{**arguments, "sigma": 0.0, "batch_size": 1})
    mark = Path(str(arguments["pretrained"])) / _MARK
    if mark.is_file():
        expected = json.loads(mark.read_text(encoding="utf-8"))["weights"]
        if fingerprint.of_model(lm.model) != expected and str(lm.model.dtype) == "torch.float32":
            raise UserError(
                f"pretrained: {mark.parent} is not what was copied there; remove that folder and "
                "run the same command again"
            )
    return lm
