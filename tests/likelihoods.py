"""What a member of btrans-hf says of given tokens, in one pass over prompt and response."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from engine import generation


def teacher_forced(lm, prompt: str, member: int, tokens: Sequence[int]) -> list[float]:
    """Log-probability of each token, nats, in float64 from the model's own logits.

    Args:
        lm: a ``BTransHF``; its noise is of the whole sequence.
    """
    if not tokens:
        return []
    before = lm.engine.prompt_tokens(generation([prompt])[0])
    ids = torch.tensor([[*before, *tokens]])
    with torch.no_grad(), lm.runner.population.members([member]):
        logits = lm.model(input_ids=ids).logits[0, len(before) - 1 : -1]
    said = logits.double().log_softmax(-1)
    return [said[place, token].item() for place, token in enumerate(tokens)]
