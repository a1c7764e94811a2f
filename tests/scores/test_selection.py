"""Selected members against slow loops, and the folds that they are judged by."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from btrans_eval.errors import UserError
from btrans_eval.scores import selection
from btrans_eval.scores.estimators import maj_at_k
from btrans_eval.scores.folds import FEW, FOLDS, copies, folds, resamples


def drawn(questions=14, members=5, seed=0, kinds=3):
    """Classes with invalid answers and ties; a class is right, wrong or half right."""
    draw = random.Random(seed)
    classes = [
        [draw.choice([None, *range(kinds)]) for _ in range(members)] for _ in range(questions)
    ]
    worth = [[draw.choice([0.0, 0.5, 1.0]) for _ in range(kinds)] for _ in range(questions)]
    scores = [
        [0.0 if label is None else worth[q][label] for label in row]
        for q, row in enumerate(classes)
    ]
    return classes, scores


def vote_of(labels, scores, everything):
    """Plurality by counting; ``everything`` are all K (label, score) of the question."""
    valid = [label for label in labels if label is not None]
    if not valid:
        return 0.0
    most = max(valid.count(label) for label in valid)
    winners = {label for label in valid if valid.count(label) == most}
    worth = []
    for winner in winners:
        own = [score for label, score in everything if label == winner]
        worth.append(sum(own) / len(own))
    return sum(worth) / len(worth)


def slowly(classes, scores, fold, m, rows):
    """Cross-fitting over a list of question places, one by one."""
    members, total = len(classes[0]), 0.0
    for q in rows:
        others = [each for each in rows if fold[each] != fold[q]]
        if not others:
            return float("nan")
        earned = [sum(scores[each][j] for each in others) for j in range(members)]
        order = sorted(range(members), key=lambda j: (-round(earned[j], 9), j))
        chosen = order[:m]
        total += vote_of(
            [classes[q][j] for j in chosen], chosen, list(zip(classes[q], scores[q], strict=True))
        )
    return total / len(rows)


def as_copies(rows, questions):
    return np.bincount(rows, minlength=questions)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("m", [1, 2, 4])
def test_selection_is_that_of_a_loop_in_every_draw(seed, m):
    classes, scores = drawn(seed=seed)
    fold = folds([str(q) for q in range(14)], seed)
    draw = random.Random(seed)
    samples = [list(range(14)), *[[draw.randrange(14) for _ in range(14)] for _ in range(20)]]
    weights = np.array([as_copies(rows, 14) for rows in samples])
    found = selection.selected(selection.answers(classes, scores), fold, m, weights)
    expected = [slowly(classes, scores, fold, m, rows) for rows in samples]
    assert found == pytest.approx(expected, nan_ok=True)


def test_few_questions_are_left_out_one_by_one():
    classes, scores = drawn(questions=4, seed=3)
    fold = folds(list("abcd"))
    assert sorted(fold) == [0, 1, 2, 3]
    rows = [[0, 1, 2, 3], [1, 1, 2, 3], [2, 2, 2, 2]]
    weights = np.array([as_copies(each, 4) for each in rows])
    found = selection.selected(selection.answers(classes, scores), fold, 2, weights)
    assert found[:2] == pytest.approx([slowly(classes, scores, fold, 2, each) for each in rows[:2]])
    assert np.isnan(found[2])  # of one question alone nothing can be chosen by others


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_the_mean_over_all_sets_is_the_vote_of_random_members(m):
    classes, scores = drawn(questions=8, members=5, seed=1)
    sets = np.array([[j in each for j in range(5)] for each in itertools.combinations(range(5), m)])
    mean = selection.vote(sets, selection.answers(classes, scores)).mean(axis=0)
    assert mean == pytest.approx(selection.anyone(classes, scores, m))
    assert selection.anyone(classes, scores, m) == pytest.approx(
        [maj_at_k(c, s, m) for c, s in zip(classes, scores, strict=True)]
    )


def test_a_good_member_is_found_and_one_that_never_answers_is_not():
    classes = [[None, 0, 1]] * 12
    scores = [[0.0, 0.0, 1.0]] * 12
    fold = folds([str(q) for q in range(12)])
    once = np.ones((1, 12), dtype=int)
    given = selection.answers(classes, scores)
    assert selection.selected(given, fold, 1, once) == 1
    assert selection.anyone(classes, scores, 1).mean() == pytest.approx(1 / 3)
    # the second place is tied between members 0 and 1: the lowest number, whose vote is none
    assert selection.best(given.own.sum(axis=0), 2).tolist() == [True, False, True]
    assert selection.selected(given, fold, 2, once) == 1


def test_luck_on_the_chosen_questions_is_not_counted():
    """Members that are right at random are no better for having been chosen."""
    draw = np.random.default_rng(0)
    gains, naive = [], []
    for _ in range(60):
        right = (draw.random((40, 16)) < 0.5).astype(float)
        classes = [[int(each) for each in row] for row in right]
        given = selection.answers(classes, right.tolist())
        fold = folds([str(q) for q in range(40)])
        once = np.ones((1, 40), dtype=int)
        gains.append(selection.selected(given, fold, 1, once)[0] - right.mean())
        naive.append(right.mean(axis=0).max() - right.mean())
    assert abs(np.mean(gains)) < 3 * np.std(gains) / np.sqrt(60) < 0.05 < np.mean(naive)


def test_copies_share_a_fold_whatever_the_order():
    names = [f"q{n % 11}" for n in range(30)]
    fold = folds(names, seed=4)
    assert sorted(set(fold)) == list(range(FOLDS))
    for a, b in itertools.combinations(range(30), 2):
        assert names[a] != names[b] or fold[a] == fold[b]
    assert folds(names[::-1], seed=4).tolist() == fold[::-1].tolist()
    assert folds(names, seed=5).tolist() != fold.tolist()
    sizes = np.bincount(folds([str(n) for n in range(12)]))
    assert sorted(sizes) == [2, 2, 2, 3, 3]
    assert len(set(folds([str(n) for n in range(FEW - 1)]))) == FEW - 1


def test_one_question_has_no_folds():
    assert folds(["a"]) is None and folds(["a"] * 5) is None
    with pytest.raises(UserError, match="identities"):
        folds([])
    with pytest.raises(UserError, match="seed"):
        folds(["a", "b"], seed=-1)


def test_draws_hold_as_many_questions_and_repeat():
    rows = resamples(200, 9)
    found = copies(rows)
    assert found.shape == (200, 9) and (found.sum(axis=1) == 9).all()
    assert all(found[d, q] == list(rows[d]).count(q) for d in (0, 7) for q in range(9))
    assert (resamples(200, 9) == rows).all() and (resamples(200, 9, seed=1) != rows).any()
    with pytest.raises(UserError, match="draws"):
        resamples(10, 9)


@pytest.mark.parametrize(
    "classes, scores, said",
    [
        ([], [], "at least 1"),
        ([[0]], [[1.0]], "members"),
        ([[0, 1], [0]], [[1.0, 0.0], [1.0]], "one answer by each of 2"),
        ([[0, 1]], [[1.0, 2.0]], "between 0 and 1"),
        ([[0, 1]], [[1.0, float("nan")]], "between 0 and 1"),
    ],
)
def test_what_is_no_population_is_refused(classes, scores, said):
    with pytest.raises(UserError, match=said):
        selection.answers(classes, scores)


@pytest.mark.parametrize("m", [0, 3])
def test_all_members_are_no_selection(m):
    given = selection.answers([[0, 1, 1]] * 2, [[1.0, 0.0, 0.0]] * 2)
    with pytest.raises(UserError, match="m must be"):
        selection.selected(given, np.array([0, 1]), m, np.ones((1, 2), dtype=int))
