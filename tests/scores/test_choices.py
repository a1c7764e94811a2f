"""Probabilities of choices in one table, and temperatures, against loops and a search."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from btrans_eval.errors import UserError
from btrans_eval.scores.choices import (
    FEW,
    LARGEST,
    choices,
    cross_fitted,
    figures,
    fitted,
    measured,
    member,
    scaled_figures,
    surprises,
    without_best,
)
from btrans_eval.scores.doubt import doubt, summary
from btrans_eval.scores.folds import copies, folds, resamples
from btrans_eval.scores.uncertainty import auroc, squared_calibration_error


def drawn(questions=30, members=3, seed=0, spread=3.0):
    """Tables with 2 to 5 choices, whose right ones are more likely by chance."""
    draw = np.random.default_rng(seed)
    tables, golds = [], []
    for _ in range(questions):
        kinds = int(draw.integers(2, 6))
        table = draw.normal(-20, spread, (members, kinds))
        gold = int(draw.integers(kinds))
        table[:, gold] += draw.normal(0.5, 1) * spread
        tables.append(table)
        golds.append(gold)
    return tables, golds


def nll_of(table, gold, temperature):
    """Of one question, by the definition."""
    own = []
    for row in table:
        weights = [math.exp((value - max(row)) / temperature) for value in row]
        own.append(weights[gold] / sum(weights))
    return -math.log(sum(own) / len(own))


@pytest.mark.parametrize("members", [1, 4])
def test_figures_are_those_of_a_run(members):
    tables, golds = drawn(members=members)
    one_by_one = [doubt(table, gold) for table, gold in zip(tables, golds, strict=True)]
    found = measured(choices(tables, golds))
    for name, values in (("entropy", found.entropy), ("epistemic", found.epistemic)):
        assert values == pytest.approx([getattr(one, name) for one in one_by_one], abs=1e-12)
    assert found.sure == pytest.approx([one.mean.max() for one in one_by_one])
    told = summary(one_by_one)
    once = figures(found, np.arange(30)[None], several=members > 1)
    for name in ("accuracy", "nll", "brier", "ece_20", "auroc_entropy"):
        assert once[name][0] == pytest.approx(told[name]), name
    if members > 1:
        assert once["auroc_epistemic"][0] == pytest.approx(told["auroc_epistemic"])
    else:
        assert "auroc_epistemic" not in once
    assert once["auroc_probability"][0] == pytest.approx(auroc(found.sure, found.right))
    squared = squared_calibration_error(found.sure, found.right, 20).value
    assert once["squared_error_20"][0] == pytest.approx(squared)


def test_draws_are_figures_of_the_questions_drawn():
    tables, golds = drawn()
    found = measured(choices(tables, golds))
    rows = resamples(100, 30)[:5]
    several = figures(found, rows, several=True)
    for place, row in enumerate(rows):
        again = measured(choices([tables[q] for q in row], [golds[q] for q in row]))
        once = figures(again, np.arange(30)[None], several=True)
        for name, values in once.items():
            assert several[name][place] == pytest.approx(values[0]), name


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("spread", [0.3, 3.0, 30.0])
def test_temperature_is_where_a_bounded_search_finds_it(members, spread):
    tables, golds = drawn(members=members, spread=spread, seed=2)

    def loss(log):
        pairs = zip(tables, golds, strict=True)
        return sum(nll_of(table, gold, math.exp(log)) for table, gold in pairs) / 30

    ends = (-math.log(10), math.log(LARGEST))
    best = minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-8})
    surprise = surprises(choices(tables, golds))
    (found,) = fitted(surprise, np.ones((1, 30)))
    assert math.log(found) == pytest.approx(best.x, abs=2e-3)
    assert loss(math.log(found)) - best.fun < 1e-6
    # scaling the likelihoods scales the temperature, and nothing else
    (twice,) = fitted(surprises(choices([2 * table for table in tables], golds)), np.ones((1, 30)))
    assert twice == pytest.approx(2 * found, rel=2e-3)


def test_temperature_of_what_is_calibrated_is_one():
    draw = np.random.default_rng(0)
    logs = draw.normal(0, 2, (4000, 1, 4))
    shares = np.exp(logs[:, 0])
    shares /= shares.sum(axis=1, keepdims=True)
    golds = [int(draw.choice(4, p=each)) for each in shares]
    (found,) = fitted(surprises(choices(list(logs * 3), golds)), np.ones((1, 4000)))
    assert found == pytest.approx(3, rel=0.06)


def test_what_says_nothing_of_a_temperature_leaves_it_at_one():
    flat = surprises(choices([[[0.0, 0.0]]] * 3, [0, 1, 0]))
    assert fitted(flat, np.ones((1, 3))) == pytest.approx(1)
    impossible = surprises(choices([[[0.0, -math.inf]]] * 3, [1, 1, 1]))
    assert fitted(impossible, np.ones((1, 3))) == pytest.approx(1)
    assert np.isnan(fitted(flat, np.zeros((1, 3)))).all()


def test_a_temperature_is_of_the_other_folds():
    tables, golds = drawn(questions=23)
    fold = folds([str(q) for q in range(23)])
    rows = np.vstack([np.arange(23), resamples(100, 23)[:3]])
    found = cross_fitted(surprises(choices(tables, golds)), fold, copies(rows))
    assert found.shape == (4, 5)
    for place, row in enumerate(rows):
        for each in range(5):
            others = [q for q in row if fold[q] != each]
            some = choices([tables[q] for q in others], [golds[q] for q in others])
            own = fitted(surprises(some), np.ones((1, len(others))))
            assert found[place, each] == pytest.approx(own[0])


def test_scaled_figures_are_of_each_folds_own_temperature():
    tables, golds = drawn(questions=23)
    fold = folds([str(q) for q in range(23)])
    rows = resamples(100, 23)[:4]
    temperatures = np.random.default_rng(0).uniform(0.5, 4, (4, 5))
    found = scaled_figures(choices(tables, golds), temperatures, fold, rows)
    for place, row in enumerate(rows):
        nll = [nll_of(tables[q], golds[q], temperatures[place, fold[q]]) for q in row]
        assert found["nll"][place] == pytest.approx(sum(nll) / 23)
    temperatures[1, fold[rows[1, 0]]] = np.nan  # a question that is drawn has none
    found = scaled_figures(choices(tables, golds), temperatures, fold, rows)
    assert np.isnan(found["nll"][1]) and np.isfinite(found["nll"][[0, 2, 3]]).all()


def test_a_temperature_leaves_the_choices_of_one_model_as_they_are():
    tables, golds = drawn(members=1)
    given = choices(tables, golds)
    warm, cold = measured(given, 5.0), measured(given, 0.2)
    assert (warm.right == cold.right).all()
    assert (warm.entropy > cold.entropy).all() and (warm.sure < cold.sure).all()
    # none of this is so of several: the mean of the warm may prefer another choice
    assert (measured(given, np.full(30, 5.0)).nll == warm.nll).all()


def test_members_alone_and_chances_that_floats_cannot_hold():
    tables, golds = drawn()
    given = choices(tables, golds)
    own = measured(member(given, 1)).nll
    pairs = zip(tables, golds, strict=True)
    assert own == pytest.approx([nll_of(table[1:2], gold, 1) for table, gold in pairs])
    far = measured(choices([[[0.0, -2000.0]], [[0.0, -math.inf]]], [1, 1]))
    assert far.nll.tolist() == [2000, math.inf] and far.entropy.tolist() == [0, 0]


def test_members_that_agree_do_not_disagree_by_rounding():
    table = np.tile(np.random.default_rng(0).normal(0, 2, (20, 1, 3)), (1, 3, 1))
    found = figures(measured(choices(list(table), [0] * 20)), np.arange(20)[None], several=True)
    assert found["auroc_epistemic"][0] == 0.5


def test_tables_of_other_members_are_refused():
    with pytest.raises(UserError, match="same members"):
        choices([[[0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]], [0, 0])
    with pytest.raises(UserError, match="one question or more"):
        choices([], [])


def scatter(questions: int, spread: float) -> float:
    """Standard deviation of ln T, fitted to four fifths of the questions; T of all is 1."""
    draw = np.random.default_rng(0)
    logs = []
    for _ in range(200):
        tables = draw.normal(0, spread, (questions * 4 // 5, 1, 4))
        shares = np.exp(tables[:, 0])
        shares /= shares.sum(axis=1, keepdims=True)
        golds = [int(draw.choice(4, p=each)) for each in shares]
        surprise = surprises(choices(list(tables), golds))
        logs.append(np.log(fitted(surprise, np.ones((1, len(golds))))[0]))
    return float(np.std(logs))


@pytest.mark.parametrize("spread", [1, 2, 4])
def test_few_questions_are_as_few_as_is_said(spread):
    assert FEW == 50 and 0.19 < scatter(FEW, spread) < 0.31 and scatter(20, spread) > 0.35


def test_folds_without_a_best_temperature_are_counted():
    fold = np.array([0, 1, 2, 2])
    of = lambda temperatures, right: without_best(  # noqa: E731
        np.array(temperatures), fold, np.array(right, dtype=float)
    )
    assert of([1.0, 2.0, 0.5], [1, 0, 0, 1]) == 0
    assert of([1 / LARGEST, 2.0, LARGEST], [1, 0, 0, 1]) == 2
    assert of([1.0, 0.05, 0.5], [1, 0, 1, 1]) == 1  # all but fold 1 are right
    assert of([1.0, 1 / LARGEST, 0.5], [1, 0, 1, 1]) == 1
    assert of([0.1, 0.1, 0.1], [1, 1, 1, 1]) == 3
