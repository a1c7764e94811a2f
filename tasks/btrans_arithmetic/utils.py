"""Questions of five levels, each behind two that are answered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from btrans_eval.tasks.btrans_demo.utils import answer_of as answer_of

EXAMPLES = {
    1: "Larger of 14, 61: 61\nLarger of 85, 23: 85\n",
    2: "5 + 2 = 7\n4 + 4 = 8\n",
    3: "Is 14 less than 61? yes\nIs 85 less than 23? no\n",
    4: "12 + 35 = 47\n43 + 24 = 67\n",
    5: "Sam has 3 pens and gets 4 more. Now Sam has 7 pens.\n",
}
"""By level. Without one the demo model does not know what is wanted."""


def doc_to_text(doc: Mapping[str, Any]) -> str:
    """The prompt: answered questions of the same level, and the question."""
    return EXAMPLES[int(doc["level"])] + str(doc["question"])


def score(doc: Mapping[str, Any], response: str) -> float:
    """1.0 if the response gives the answer, else 0.0."""
    return 1.0 if answer_of(response) == doc["answer"] else 0.0


def load(**_: Any) -> dict[str, Any]:
    """Both splits as datasets, whatever folder the harness runs in."""
    import datasets

    return {
        split: datasets.Dataset.from_list([json.loads(row) for row in _rows(split)])
        for split in ("train", "test")
    }


def _rows(split: str) -> list[str]:
    file = Path(__file__).with_name(f"{split}.jsonl")
    return file.read_text(encoding="utf-8").splitlines()
