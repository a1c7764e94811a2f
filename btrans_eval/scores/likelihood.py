"""Likelihoods of a population."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from btrans_eval.errors import UserError


def log_mean(log_likelihoods: Sequence[float]) -> float:
    """Log of the mean likelihood, ``logsumexp(l) - log K``, in float64.

    The posterior predictive of K equally likely members.

    Args:
        log_likelihoods: one per member, in nats, each at most 0 and possibly -inf.

    Returns:
        The log of the mean, in nats; a single value as it is; NaN where one is NaN.

    Raises:
        UserError: on no value.
    """
    values = np.asarray(log_likelihoods, dtype=np.float64)
    if values.size == 0:
        raise UserError("log_likelihoods: must be one or more numbers, got none")
    peak = values.max()
    if values.size == 1 or np.isneginf(peak):
        return float(peak)
    return float(peak + np.log(np.mean(np.exp(values - peak))))
