"""What a population says of text that it was not fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import torch
from torch import Tensor, nn

from btrans_eval.population.population import Population

MEMBERS = 8


@dataclass(frozen=True)
class HeldOut:
    """Measures of some sequences, in nats per token.

    Attributes:
        model: -log p(next token) of the model itself.
        member: of a member, mean over members.
        mixture: of all members as one predictor, -log of the mean over members of the likelihood
            of a whole sequence: a member stays itself for a sequence.
        kl: KL(model || member), mean over members.
        information: mutual information of next token and member: entropy of the members' mean
            prediction less the mean of their entropies, in [0, log members].
        tokens: how many were predicted.
    """

    model: float
    member: float
    mixture: float
    kl: float
    information: float
    tokens: int


@torch.no_grad()
def measure(
    model: nn.Module,
    population: Population,
    sequences: Sequence[Sequence[int]],
    members: int = MEMBERS,
) -> HeldOut:
    """Measure members 0 to ``members`` - 1 of a population, teacher-forced, in float32."""
    sums = torch.zeros(5, dtype=torch.float64)
    device, count = next(model.parameters()).device, 0
    for tokens in sequences:
        row = torch.tensor([list(tokens)], device=device)
        target = row[0, 1:]
        base = _predictions(model, row)[0]
        with population.members(range(members)):
            each = _predictions(model, row.expand(members, -1))
        own = each.gather(2, target.expand(members, -1)[..., None]).double().sum((1, 2))
        mean = each.logsumexp(0) - log(members)
        sums += torch.tensor(
            [
                -base.gather(1, target[:, None]).double().sum(),
                -own.mean(),
                log(members) - own.logsumexp(0),
                (base.exp() * (base - each)).double().sum() / members,
                _entropy(mean) - _entropy(each) / members,
            ],
            dtype=torch.float64,
        )
        count += len(target)
    base_loss, member, mixture, kl, information = (sums / count).tolist()
    return HeldOut(base_loss, member, mixture, kl, information, count)


def _predictions(model: nn.Module, rows: Tensor) -> Tensor:
    """Log probabilities of the next tokens, shape (rows, tokens - 1, vocabulary)."""
    logits = model(rows.contiguous(), use_cache=False).logits[:, :-1]
    return torch.log_softmax(logits.float(), dim=-1)


def _entropy(predictions: Tensor) -> float:
    """Summed over all tokens."""
    return -float((predictions.exp() * predictions).double().sum())
