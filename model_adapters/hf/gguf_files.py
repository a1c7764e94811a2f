"""GGUF files, as transformers loads them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any


@contextmanager
def parsed_once() -> Iterator[None]:
    """Within, each GGUF file is parsed once, and its tensors' names are made once.

    transformers parses it for the configuration, the tokenizer and the weights, and makes all names
    anew for each module, which was most of the time that loading the demo model took.
    """
    try:
        gguf: Any = importlib.import_module("gguf")
    except ImportError:  # transformers itself says that it is missing
        yield
        return
    reader, names = gguf.GGUFReader, gguf.get_tensor_name_map
    gguf.GGUFReader, gguf.get_tensor_name_map = cache(reader), cache(names)
    try:
        yield
    finally:
        gguf.GGUFReader, gguf.get_tensor_name_map = reader, names
