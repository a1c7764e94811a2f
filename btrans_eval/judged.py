"""A response that was read and scored, and how samples files and members files write it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class JudgedResponse:
    """One response to a question, judged among the question's others.

    Attributes:
        text: the response.
        answer: what was read from it; None where it is invalid, or where nothing was read.
        label: class of the answer among the question's answers; None where it is invalid.
        scores: by metric, what the task gives this response alone; empty where nothing scores.
        tokens: generated tokens, where the engine counted.
        truncated: whether the limit cut it, where the engine knows.
        mean_logprob: of its tokens under the member's own distribution, nats, where it is known
            (`harness.response`).
        verdict: what became of it where it is a program that was run, in a few words.
    """

    text: str
    answer: str | None = None
    label: int | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    tokens: int | None = None
    truncated: bool | None = None
    mean_logprob: float | None = None
    verdict: str | None = None

    def sample(self) -> str:
        """What the harness logs of it, beside the text: one JSON object."""
        item = {
            "answer": self.answer,
            "class": self.label,
            "scores": dict(self.scores),
            "tokens": self.tokens,
            "truncated": self.truncated,
            "mean_logprob": self.mean_logprob,
        } | ({} if self.verdict is None else {"verdict": self.verdict})
        return json.dumps(item, ensure_ascii=False)

    def of_member(self, member: int, sample: int, is_read: bool = True) -> dict[str, Any]:
        """Its entry in a members file; without an answer where none was read."""
        return {
            "member": member,
            "sample": sample,
            "text": self.text,
            **({"answer": self.answer} if is_read else {}),
            "tokens": self.tokens,
            "truncated": self.truncated,
            "mean_logprob": self.mean_logprob,
        }


def from_sample(text: str, item: str) -> JudgedResponse | None:
    """What was logged, read again; None if it is not of ours."""
    try:
        found = json.loads(item)
    except (TypeError, ValueError):
        return None
    if not isinstance(found, dict) or not {"answer", "scores"} <= set(found):
        return None
    return JudgedResponse(
        text,
        found["answer"],
        found["class"],
        found["scores"],
        found["tokens"],
        found["truncated"],
        found.get("mean_logprob"),  # what was logged before there was one has none
        found.get("verdict"),
    )
