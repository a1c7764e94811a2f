"""A model of the harness that answers from a list, and rows in the hub's layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import datasets
from lm_eval.api.model import LM


class Canned(LM):
    """Copy r of a prompt gets ``responses(prompt)[r]``, as a plain string."""

    def __init__(self, responses: Callable[[str], list[str]]) -> None:
        super().__init__()
        self._responses = responses

    def generate_until(self, requests, disable_tqdm=False):
        seen: dict[int, int] = {}
        texts = []
        for request in requests:
            copy = seen[id(request)] = seen.get(id(request), -1) + 1
            texts.append(self._responses(request.args[0])[copy])
        return texts

    def loglikelihood(self, requests, disable_tqdm=False):
        return [(-float(len(request.args[1])), False) for request in requests]

    def loglikelihood_rolling(self, requests, disable_tqdm=False):
        raise AssertionError("not asked for here")


def dataset(
    folder: Path,
    name: str,
    split: str,
    rows: list[dict],
    config: str = "default",
    also: tuple[str, ...] = (),
) -> None:
    """Write rows where ``datasets`` finds them by name, with ``folder`` as the working one.

    The same rows are in the splits ``also``.

    ``datasets`` knows prepared rows again by name alone, so each folder has a cache of its own.
    """
    datasets.config.HF_DATASETS_CACHE = folder / "cache"
    place = folder / name
    place.mkdir(parents=True)
    listed = ""
    for each in (split, *also):
        (place / f"{each}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        listed += f"  - split: {each}\n    path: {each}.jsonl\n"
    (place / "README.md").write_text(
        f"---\nconfigs:\n- config_name: {config}\n  data_files:\n{listed}---\n"
    )
