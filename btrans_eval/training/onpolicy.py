"""What generated against what is updated: the same, or corrected for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from btrans_eval.errors import UserError

BOUNDS = {torch.float64: 1e-3, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.1}
"""Of the mean |difference| of log-probabilities, by the precision of a pass."""


def padded(likelihoods: Sequence[Sequence[float]], tokens: Tensor) -> Tensor:
    """Log-probabilities of each row's tokens as a table of the shape of ``tokens``, 0 behind."""
    table = torch.zeros(tokens.shape, dtype=torch.float32, device=tokens.device)
    for row, found in enumerate(likelihoods):
        table[row, : len(found)] = torch.tensor(found, device=tokens.device)
    return table


def difference(passed: Tensor, sampled: Tensor, mask: Tensor) -> Tensor:
    """Mean |difference| of log-probabilities over the tokens of a mask, all (rows, tokens).

    0 where the mask has none: nothing is then updated.
    """
    apart = (passed - sampled).abs()[mask.bool()]
    return apart.mean() if apart.numel() else apart.new_zeros(())


def refuse_apart(found: float, dtype: torch.dtype, generation: int) -> None:
    """Stop training where the pass that is updated is not the one that generated.

    Raises:
        UserError: saying by how much they differ.
    """
    if not found <= BOUNDS[dtype]:
        raise UserError(
            f"on-policy check: log-probabilities of generation {generation} differ from those of "
            f"a pass over its finished rows by {found:.3g} on average, more than "
            f"{BOUNDS[dtype]:g}: what would be updated is not what answered, and training was "
            "stopped. Models that learn a vector for each position (GPT-2) need prompts of one "
            "length in trl; any other is worth a report"
        )


def importance(
    passed: Tensor, sampled: Tensor, mask: Tensor, limit: float
) -> tuple[Tensor, dict[str, float]]:
    """Truncated importance weights of tokens, min(p / p_sampled, limit), and what is logged.

    Args:
        passed: log-probabilities of what learns, (rows, tokens).
        sampled: those that the tokens were sampled with.
        mask: the tokens that count; others have weight 0.
        limit: at least 1.
    """
    chosen = mask.bool()
    ratio = (passed - sampled).exp()
    weights = ratio.clamp(max=limit).masked_fill(~chosen, 0.0)
    return weights, {
        "importance_weight": float(weights[chosen].mean()),
        "importance_truncated": float((ratio[chosen] > limit).float().mean()),
    }
