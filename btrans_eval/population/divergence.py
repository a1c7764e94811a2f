"""How far members are from their model: divergence over text, teacher-forced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor, nn

from btrans_eval.errors import UserError
from btrans_eval.population.population import Population

MEMBERS = (0, 1, 2, 3)
LONGEST = 256
"""Tokens of a piece of text at most."""


@cache
def shipped_text() -> str:
    """Short passages of our own: prose, dialogue, arithmetic, code, four languages."""
    return (Path(__file__).parent / "passages.txt").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Divergence:
    """What noise does to a model's predictions; a tuple has one number for each member.

    Attributes:
        kl: KL(model || member), nats per token.
        changed: share of tokens after which the greedy choice is another one.
        log_perplexity: mean of -log p(next token), nats per token.
        base_log_perplexity: of the model itself.
        tokens: after how many tokens predictions were compared, for each member.
    """

    kl: tuple[float, ...]
    changed: tuple[float, ...]
    log_perplexity: tuple[float, ...]
    base_log_perplexity: float
    tokens: int

    @property
    def mean_kl(self) -> float:
        """Mean over the members."""
        return fmean(self.kl)

    @property
    def stderr(self) -> float:
        """Standard error of the mean over the members."""
        return float(stdev(self.kl) / len(self.kl) ** 0.5)


class Yardstick:
    """Text that populations of one model are measured on.

    Args:
        model: in evaluation mode.
        tokenizer: its own.
        text: passages separated by lines of ``---``; None: `shipped_text`.
        most_tokens: only the first pieces, up to so many tokens; None: all.

    Raises:
        UserError: if the text has no token, or the model is in training mode.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        text: str | None = None,
        most_tokens: int | None = None,
    ) -> None:
        if model.training:
            raise UserError("model: must be in evaluation mode; call model.eval() first")
        self._model = model
        self._bos = getattr(tokenizer, "bos_token_id", None)
        self._pieces: list[list[int]] = []
        for piece in pieces(tokenizer, shipped_text() if text is None else text):
            if len(piece) - (piece[0] == self._bos) < 2:
                continue  # nothing to predict
            if most_tokens is None or self.tokens + len(piece) <= most_tokens or not self._pieces:
                self._pieces.append(piece)
        if not self._pieces:
            raise UserError("text: must hold a passage of at least two tokens, got none")

    @property
    def tokens(self) -> int:
        """Length of the text."""
        return sum(map(len, self._pieces))

    @torch.no_grad()
    def measure(self, population: Population, members: Sequence[int] = MEMBERS) -> Divergence:
        """Divergence of members from the model, every token of the text weighing the same.

        KL = sum over the vocabulary of p (log p - log q), float32 log-softmax of the model as it
        is loaded, p the model's and q the member's prediction after every token but BOS.

        Raises:
            UserError: if the model's own output is not finite. A member's may be infinite.
        """
        sums = torch.zeros(3, len(members), dtype=torch.float64)  # KL, changed, -log p
        base_loss, count, targets = 0.0, 0, 0
        for tokens in self._pieces:
            start = int(tokens[0] == self._bos)
            row = torch.tensor([tokens], device=next(self._model.parameters()).device)
            base = self._predictions(row)[0, start:]
            if not torch.isfinite(base).all():
                raise UserError("model: its output on the calibration text is not finite")
            answer = row[0, start + 1 :].to(base.device)
            base_loss += float(_loss(base, answer))
            count, targets = count + len(base), targets + len(answer)
            with population.members(members):
                rows = self._predictions(row.expand(len(members), -1))[:, start:]
            for index, own in enumerate(rows):
                terms = base.exp() * (base - own)
                sums[0, index] += float(terms.sum(dtype=torch.float64))
                sums[1, index] += float((own.argmax(-1) != base.argmax(-1)).sum())
                sums[2, index] += float(_loss(own, answer))
        kl, changed = (sums[:2] / count).tolist()
        loss = (sums[2] / targets).tolist()
        return Divergence(tuple(kl), tuple(changed), tuple(loss), base_loss / targets, count)

    def _predictions(self, rows: Tensor) -> Tensor:
        """Log probabilities after every token, float32, shape (rows, tokens, vocabulary)."""
        logits = self._model(rows.contiguous(), use_cache=False).logits
        return torch.log_softmax(logits.float(), dim=-1)


def _loss(predictions: Tensor, answer: Tensor) -> Tensor:
    """Sum of -log p of the next tokens."""
    return -predictions[: len(answer)].gather(1, answer[:, None]).sum(dtype=torch.float64)


def pieces(tokenizer: Any, text: str) -> Iterator[list[int]]:
    """Token ids of each passage, long ones cut into pieces of `LONGEST` tokens."""
    for passage in text.split("\n---\n"):
        tokens = tokenizer(passage.strip("\n"))["input_ids"]
        for start in range(0, len(tokens), LONGEST):
            yield list(tokens[start : start + LONGEST])
