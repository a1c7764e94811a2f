"""The noise of a member: pinned values, a textbook generator, and what it must not depend on."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

from btrans_eval.population.noise import SCHEME, eps, shift

MASK = 2**64 - 1


def textbook_philox(key: int, blocks: int) -> list[int]:
    """Philox4x64-10 (Salmon et al. 2011) in plain integers, counter from 1 as numpy has it."""
    words = []
    for block in range(1, blocks + 1):
        counter = [block, 0, 0, 0]
        keys = [key & MASK, key >> 64]
        for _ in range(10):
            left = 0xD2E7470EE14C6C93 * counter[0]
            right = 0xCA5A826395121157 * counter[2]
            counter = [
                (right >> 64) ^ counter[1] ^ keys[0],
                right & MASK,
                (left >> 64) ^ counter[3] ^ keys[1],
                left & MASK,
            ]
            keys = [(keys[0] + 0x9E3779B97F4A7C15) & MASK, (keys[1] + 0xBB67AE8584CAA73B) & MASK]
        words += counter
    return words


def textbook_eps(text: str, width: int) -> list[float]:
    key = int(hashlib.sha256(text.encode()).hexdigest()[:32], 16)
    words = textbook_philox(key, width // 4 + 1)
    values = []
    for first, second in zip(words[0::2], words[1::2], strict=True):
        u, v = (((word >> 11) + 1) / 2**53 for word in (first, second))
        radius = math.sqrt(-2 * math.log(u))
        values += [radius * math.cos(2 * math.pi * v), radius * math.sin(2 * math.pi * v)]
    return values[:width]


@pytest.mark.parametrize("width", [1, 2, 7, 64])
def test_eps_is_the_textbook_stream_of_its_key(width: int):
    slow = np.array(textbook_eps('[1,5,3,"model.layers.0.ünorm"]', width), dtype=np.float32)
    fast = eps(5, 3, "model.layers.0.ünorm", width)
    assert fast.dtype == np.float32 and fast.shape == (width,)
    np.testing.assert_array_max_ulp(fast, slow, maxulp=1)


def test_noise_of_a_token_is_keyed_by_its_index_too():
    slow = np.array(textbook_eps('[1,0,0,"model.norm",2]', 6), dtype=np.float32)
    np.testing.assert_array_max_ulp(eps(0, 0, "model.norm", 6, token=2), slow, maxulp=1)


def test_values_are_pinned():
    """Another value here is another member: raise SCHEME."""
    assert SCHEME == 1
    pinned = [0.74380404, 0.90002614, -0.6332674, -0.23416756, 0.65271765]
    np.testing.assert_array_max_ulp(
        eps(0, 0, "model.norm", 5), np.array(pinned, dtype=np.float32), maxulp=1
    )


def test_every_part_of_the_key_gives_another_stream():
    keys = [
        (0, 0, "a"),
        (1, 0, "a"),
        (0, 1, "a"),
        (0, 0, "b"),
        (0, 0, "a", 0),
        (0, 0, "a", 1),
    ]
    streams = [eps(*key[:3], 8, *key[3:]).tobytes() for key in keys]
    assert len(set(streams)) == len(keys)


def test_a_narrower_layer_has_the_beginning_of_the_same_stream():
    assert eps(0, 0, "a", 9).tobytes()[:28] == eps(0, 0, "a", 7).tobytes()


def test_eps_is_standard_normal():
    draws = np.concatenate([eps(0, member, "a", 10_000) for member in range(20)])
    assert abs(draws.mean()) < 4 / math.sqrt(draws.size)
    assert abs(draws.var() - 1) < 4 * math.sqrt(2 / draws.size)
    assert abs((draws**3).mean()) < 4 * math.sqrt(15 / draws.size)


def test_shift_is_rounded_once():
    standard = eps(0, 0, "a", 100)
    exact = 0.1 + 0.3 * standard.astype(np.float64)
    assert np.array_equal(shift(0.3, 0.1, standard), exact.astype(np.float32))
