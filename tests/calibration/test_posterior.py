"""The fitted posterior against what is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from btrans_eval.calibration.posterior import Fitting, Posterior, rows_of
from btrans_eval.errors import UserError

WIDTHS, SCALES, ROWS = [2, 3], [0.5, 2.0], 240
PRIOR_SIGMA = np.repeat(SCALES, WIDTHS)
TARGETS = np.random.default_rng(0).normal(size=(ROWS, 5))


def quadratic(precision):
    """log p of row r is -1/2 (z - t_r)' P (z - t_r)."""
    matrix = torch.tensor(precision)

    def log_likelihood(places, biases):
        away = torch.cat(biases, 1) - torch.tensor(TARGETS[places])
        return -0.5 * torch.einsum("ri,ij,rj->r", away, matrix, away)

    return log_likelihood


def fitted(precision, fitting):
    posterior = Posterior(SCALES, WIDTHS)
    for _ in posterior.fit(quadratic(precision), ROWS, fitting):
        pass
    mean, sigma = (np.concatenate(each) for each in zip(*posterior.moments(), strict=True))
    return mean, sigma


DIAGONAL = np.diag([0.3, 2.0, 0.1, 1.0, 4.0]) * 12 / ROWS
ROOT = np.random.default_rng(1).normal(size=(5, 5))
CORRELATED = (ROOT @ ROOT.T / 5 + 0.1 * np.eye(5)) * 12 / ROWS


@pytest.mark.parametrize("precision", [DIAGONAL, CORRELATED], ids=["diagonal", "correlated"])
@pytest.mark.parametrize("beta", [1.0, 3.0])
def test_the_optimum_of_a_gaussian_is_found(precision, beta):
    mean, sigma = fitted(precision, Fitting(steps=3000, rows=ROWS, learning_rate=0.03, beta=beta))
    whole, prior = ROWS * precision, beta * np.diag(1 / PRIOR_SIGMA**2)
    expected = np.linalg.solve(whole + prior, whole @ TARGETS.mean(0))
    best = (np.diag(whole) / beta + 1 / PRIOR_SIGMA**2) ** -0.5
    assert sigma == pytest.approx(best, rel=0.01)
    assert np.abs(mean - expected).max() < 0.01 * PRIOR_SIGMA.max()
    marginal = np.sqrt(np.diag(np.linalg.inv(whole / beta + prior / beta)))
    if precision is CORRELATED:  # mean field is narrower, and that is what was found
        assert (best < 0.97 * marginal).all()


def test_minibatches_find_the_same():
    mean, sigma = fitted(DIAGONAL, Fitting(steps=6000, rows=24, learning_rate=0.01))
    whole = ROWS * np.diag(DIAGONAL)
    assert sigma == pytest.approx((whole + 1 / PRIOR_SIGMA**2) ** -0.5, rel=0.03)
    expected = whole * TARGETS.mean(0) / (whole + 1 / PRIOR_SIGMA**2)
    assert np.abs(mean - expected).max() < 0.03


def test_kl_is_the_closed_form():
    posterior = Posterior(SCALES, WIDTHS)
    assert float(posterior.kl().detach()) == 0
    torch.manual_seed(0)
    with torch.no_grad():
        posterior.mean.normal_()
        posterior.log_scale.normal_()
    of_torch = 0.0
    for (mean, sigma), scale in zip(posterior.moments(), SCALES, strict=True):
        q = torch.distributions.Normal(torch.tensor(mean), torch.tensor(sigma))
        p = torch.distributions.Normal(torch.zeros(len(mean)), torch.full((len(mean),), scale))
        of_torch += float(torch.distributions.kl_divergence(q, p).sum())
    assert float(posterior.kl().detach()) == pytest.approx(of_torch, rel=1e-6)


def test_every_row_comes_once_a_pass_and_steps_do_not_depend_on_what_was_before():
    fitting = Fitting(rows=4, seed=3)
    passes = [place for step in range(2 * ROWS // 4) for place in rows_of(step, ROWS, fitting)]
    assert sorted(passes[:ROWS]) == sorted(passes[ROWS:]) == list(range(ROWS))
    assert passes[:ROWS] != passes[ROWS:]
    assert rows_of(0, 2, Fitting(rows=4)) in ([0, 1], [1, 0])


def test_it_goes_on_bit_for_bit():
    fitting, said = Fitting(steps=40, rows=3), quadratic(CORRELATED)
    whole, first, second = (Posterior(SCALES, WIDTHS) for _ in range(3))
    for _ in whole.fit(said, ROWS, fitting):
        pass
    for line in first.fit(said, ROWS, fitting):
        if line["step"] == 17:
            break
    second.restore(first.state())
    for _ in second.fit(said, ROWS, fitting):
        pass
    assert torch.equal(whole.mean, second.mean)
    assert torch.equal(whole.log_scale, second.log_scale)


def test_mistakes():
    with pytest.raises(UserError, match="learning_rate: must be above 0, got 0"):
        Fitting(learning_rate=0)
    with pytest.raises(UserError, match="beta"):
        Fitting(beta=-1)
    posterior = Posterior(SCALES, WIDTHS)
    with pytest.raises(UserError, match="at step 1 is not finite"):
        next(posterior.fit(lambda places, biases: biases[0].sum(1) * torch.nan, 4, Fitting()))
    with pytest.raises(UserError, match="does not depend on its biases"):
        next(posterior.fit(lambda places, biases: torch.zeros(len(places)), 4, Fitting()))
