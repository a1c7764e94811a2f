"""Which beginnings prompts share, against every way to share; and what is held of them."""

from __future__ import annotations

import os
import random

import pytest
import torch
from transformers import DynamicCache

from btrans_eval.model_adapters.hf import prefixes
from btrans_eval.model_adapters.hf.prefixes import Prefixes, shared


def cost(prompts, lengths):
    """Tokens to read: each distinct beginning once, and the rest of each prompt."""
    beginnings = {tuple(p[:n]) for p, n in zip(prompts, lengths, strict=True)}
    rest = sum(len(p) - n for p, n in zip(prompts, lengths, strict=True))
    return sum(map(len, beginnings)) + rest


def least(prompts, smallest):
    """Share what all have in common, or part them by their next token, whichever is less."""
    if len(prompts) < 2:
        return sum(map(len, prompts))
    common = len(os.path.commonprefix(prompts))
    parts = {}
    for number, prompt in enumerate(prompts):
        is_whole = len(prompt) == common
        parts.setdefault((number,) if is_whole else prompt[common], []).append(prompt)
    parted = sum(least(part, smallest) for part in parts.values())
    together = common + sum(len(prompt) - common for prompt in prompts)
    return min(parted, together) if common >= smallest else parted


@pytest.mark.parametrize("seed", range(60))
def test_what_is_shared_is_the_definition_s(seed, monkeypatch):
    monkeypatch.setattr(prefixes, "LEAST", 2)
    draws = random.Random(seed)
    prompts = [[draws.randrange(2) for _ in range(draws.randint(0, 6))] for _ in range(5)]
    found = shared(prompts)
    assert all(n == 0 or 2 <= n <= len(p) for n, p in zip(found, prompts, strict=True))
    assert cost(prompts, found) == least(prompts, 2) <= sum(map(len, prompts))


def test_a_subject_s_questions_share_their_examples():
    subjects = [[s] * 200 for s in (1, 2)]
    prompts = [subjects[n % 2] + [10 + n] * (3 + n) for n in range(8)]
    assert shared(prompts) == [200] * 8
    assert shared(prompts[:1]) == [0] and shared([]) == []


def test_a_question_s_choices_share_it_where_that_saves_more():
    prompts = [[q] * 150 + [100 + q, c] for q in range(3) for c in range(4)]
    assert shared(prompts) == [151] * 12


def test_what_is_short_is_not_shared():
    assert shared([[1] * 63 + [2], [1] * 63 + [3]]) == [0, 0]
    assert shared([[1] * 64 + [2], [1] * 64 + [3]]) == [64, 64]


def test_thousands_that_begin_in_one_another_are_no_trouble():
    prompts = [[1] * n for n in range(1, 3000)]
    assert cost(prompts, shared(prompts)) < 0.51 * sum(map(len, prompts))


def cache_of(*rows, layers=2):
    """Rows of numbers, padded with -1 on the left, as keys; twice them as values."""
    width = max(map(len, rows))
    states = torch.tensor([[-1.0] * (width - len(row)) + row for row in rows])[:, None, :, None]
    cache = DynamicCache()
    for layer in range(layers):
        cache.update(states + 100 * layer, 2 * states, layer)
    return cache


ROWS = {7: [7.0, 8.0, 9.0], 8: [17.0, 18.0], 9: [27.0, 28.0, 29.0]}


def held(budget=1 << 20, at_once=8):
    """Beginnings by their first token, and which were read."""
    read = []

    def reads(keys):
        read.append(list(keys))
        return cache_of(*[ROWS[tokens[0]] for _, tokens in keys])

    return Prefixes(reads, at_once, budget), read


ONE, TWO, THREE = (0, (7, 1, 1)), (3, (8, 1)), (0, (9, 1, 1))


def test_rows_get_the_first_tokens_of_their_beginning():
    prefixes, read = held()
    none = (0, ())
    cache = prefixes.cache([(TWO, 1), (none, 0), (ONE, 3)])
    for layer in (0, 1):
        keys, values = cache.layers[layer].keys, cache.layers[layer].values
        off = 100.0 * layer
        expected = [[0, 0, 17 + off], [0, 0, 0], [7 + off, 8 + off, 9 + off]]
        assert keys[:, 0, :, 0].tolist() == expected
        assert values[:, 0, :, 0].tolist() == [[0, 0, 34], [0, 0, 0], [14, 16, 18]]
    assert read == [[TWO, ONE]]
    prefixes.cache([(ONE, 2), (ONE, 1), (THREE, 3)])
    assert read == [[TWO, ONE], [THREE]]


def test_no_more_are_read_at_once_than_may_be():
    prefixes, read = held(at_once=1)
    assert prefixes.cache([(ONE, 1), (TWO, 1), (ONE, 2)]) is not None
    assert read == [[ONE], [TWO]]


OF_THREE = 2 * 2 * 4 * 3  # layers, keys and values, bytes, tokens


def test_what_was_used_longest_ago_goes_first():
    prefixes, read = held(2 * OF_THREE)
    for key in (ONE, THREE, ONE, TWO, ONE, THREE):
        prefixes.cache([(key, 1)])
    assert read == [[ONE], [THREE], [TWO], [THREE]]  # TWO took the place of THREE


def test_what_does_not_fit_is_not_shared_not_read_again_and_told_once(caplog):
    prefixes, read = held(2 * OF_THREE - 1)
    assert prefixes.cache([(ONE, 1)]) is not None
    assert prefixes.cache([(ONE, 1), (THREE, 1)]) is None
    assert prefixes.cache([(ONE, 1)]) is None
    assert read == [[ONE], [THREE]]
    assert caplog.text.count("prompts are read whole") == 1
