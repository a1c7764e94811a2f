"""Streams: pinned for good, and different wherever anything differs."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from btrans_eval.population.streams import Stream

GOLDEN = [0.4619407865227406, 0.335787575566326, 0.7385031034002337]
KEY = {"seed": 0, "prompt": "ab", "arguments": "{}", "member": 3, "sample": 1}


def test_the_recipe_is_the_one_that_is_written_down():
    name = json.dumps(["sample", 1, 0, "ab", "{}", 3, 1], separators=(",", ":"))
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big")
    raw = np.random.Philox(key=key).random_raw(600)
    stream = Stream(**KEY)
    for token in (0, 1, 255, 256, 599):
        assert stream.uniform(token) == ((int(raw[token]) >> 11) + 1) / 2**53


def test_golden_values():
    """Changing these means another SCHEME, and other samples for every user."""
    stream = Stream(**KEY)
    assert [stream.uniform(token) for token in (0, 1, 300)] == GOLDEN


def test_numbers_can_be_asked_for_in_any_order():
    forth, back = Stream(**KEY), Stream(**KEY)
    tokens = list(range(700))
    assert [forth.uniform(t) for t in tokens] == [back.uniform(t) for t in tokens[::-1]][::-1]


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"prompt": "ac"}, {"arguments": '{"a":1}'}, {"member": 4}, {"sample": 2}],
)
def test_every_part_of_the_key_matters(change):
    ours = np.array([Stream(**KEY).uniform(token) for token in range(2000)])
    other = np.array([Stream(**{**KEY, **change}).uniform(token) for token in range(2000)])
    assert not np.any(ours == other)
    assert abs(np.corrcoef(ours, other)[0, 1]) < 0.08  # 3.6 standard errors


def test_member_and_sample_are_no_sum():
    first = {Stream(0, "ab", "{}", m, s).uniform(0) for m in range(20) for s in range(20)}
    assert len(first) == 400


def test_numbers_are_uniform_and_never_0():
    from scipy.stats import kstest

    drawn = [Stream(0, "ab", "{}", member, 0).uniform(0) for member in range(5000)]
    assert min(drawn) > 0 and max(drawn) <= 1
    assert kstest(drawn, "uniform").pvalue > 0.001
