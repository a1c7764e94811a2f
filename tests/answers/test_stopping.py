"""A vote that stops gives what the vote of all would have given, and stops at once."""

from __future__ import annotations

import random
from itertools import product

import pytest
from scipy.stats import beta

from btrans_eval.answers.equivalence import classes
from btrans_eval.answers.stopping import by_probability, by_spelling, by_text
from btrans_eval.answers.vote import plurality


def stop(texts, rule, *more):
    """How many were asked, in rounds as a run asks them."""
    asked = 0
    while new := rule(texts[:asked], len(texts), *more):
        asked += new
    return asked


def one_by_one(texts, rule, *more):
    """How many were asked, one after another."""
    return next(n for n in range(len(texts) + 1) if not rule(texts[:n], len(texts), *more))


def drawn(chosen, k):
    words = chosen.choice(["ab", "abc", "abcdefgh", "aaab", "a"])
    invalid = chosen.choice([0.0, 0.2, 0.7, 1.0])
    return [None if chosen.random() < invalid else chosen.choice(words) for _ in range(k)]


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 8, 16, 64])
def test_the_vote_of_all_is_returned_and_rounds_ask_nobody_for_nothing(k):
    chosen, saved = random.Random(k), 0
    for _ in range(400):
        texts = drawn(chosen, k)
        asked = stop(texts, by_text)
        assert plurality(texts[:asked]).chosen == plurality(texts).chosen or not any(texts)
        assert asked == one_by_one(texts, by_text)
        saved += k - asked
    assert saved > 0 or k < 3


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_it_stops_exactly_where_no_rest_can_change_what_is_returned(k):
    words = ["a", "b", "c", None]  # with a word that was not seen yet among the rest
    for texts in product(words, repeat=k):
        for n in range(k + 1):
            ends = {
                plurality([*texts[:n], *rest]).chosen
                for rest in product([*words, "d"], repeat=k - n)
            }
            is_decided = len(ends) == 1 and (any(texts[:n]) or n == k)
            assert (by_text(texts[:n], k) == 0) == is_decided, (texts, n)


class Relation:
    """A random equality that is symmetric and no equivalence; some pairs are undecided."""

    def __init__(self, chosen, words, share):
        self.equal = {}
        for a in words:
            for b in words:
                verdict = chosen.choice([None, True, True]) if chosen.random() < share else False
                self.equal[frozenset((a, b))] = verdict

    def equal_pairs(self, pairs):
        return [self.equal[frozenset((a, b))] for a, b, _ in pairs]

    def may(self, a, b):
        return self.equal[frozenset((a, b))] is not False


@pytest.mark.parametrize("k", [2, 3, 5, 8, 16, 33])
def test_formulas_whose_equality_is_no_equivalence(k):
    chosen, saved, splits = random.Random(k), 0, 0
    words = list("pqrst")
    for _ in range(400):
        relation = Relation(chosen, words, chosen.choice([0.0, 0.1, 0.5]))
        weights = chosen.choice([[1] * 5, [9, 1, 1, 1, 1], [5, 5, 1, 0, 0]])
        texts = chosen.choices(words, weights, k=k)
        texts = [None if chosen.random() < 0.1 else text for text in texts]
        asked = stop(texts, by_spelling, relation.may)
        assert asked == one_by_one(texts, by_spelling, relation.may)
        of_all = classes(texts, "latex", relation)
        of_asked = classes(texts[:asked], "latex", relation)
        assert plurality(of_asked.labels).chosen == plurality(of_all.labels).chosen
        saved, splits = saved + k - asked, splits + of_all.splits
    assert k < 3 or (splits > 0 and saved > 0)


def test_a_count_of_the_class_would_have_been_wrong():
    # 25 equals 25 m and 25 cm, which are not equal: the class of the first five is split
    texts = ["25", "25m", "25m", "25m", "25m", "25cm", "25cm", "25cm"]
    equal = {frozenset(("25", "25m")), frozenset(("25", "25cm"))}
    asked = stop(texts, by_spelling, lambda a, b: frozenset((a, b)) in equal)
    assert asked == 8 and stop(texts, by_text) < 8


@pytest.mark.parametrize("probability", [0.6, 0.9, 0.95, 0.99])
def test_a_probability_is_that_of_the_beta_distribution(probability):
    chosen = random.Random(0)
    for _ in range(200):
        k = chosen.choice([1, 4, 8, 32])
        texts = drawn(chosen, k)
        asked = stop(texts, by_probability, probability)
        for n in range(k + 1):
            votes = sorted((texts[:n].count(one) for one in set(texts[:n]) - {None}), reverse=True)
            first, second = [*votes, 0, 0][:2]
            if n == k or 1 - beta.cdf(0.5, first + 1, second + 1) >= probability:
                assert asked == n
                break
    assert stop(["a"] * 8, by_probability, 0.95) == 4  # 1 - 2 ** -5 >= 0.95
