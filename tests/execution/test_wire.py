"""What crosses between a program and its tests is the same there, and nothing else crosses."""

from __future__ import annotations

import collections
import enum
import io
import json
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btrans_eval.execution import wire


def there_and_back(value):
    held = []

    def keep(one):
        held.append(one)
        return len(held) - 1

    item = json.loads(json.dumps(wire.encode(value, keep)))
    return wire.decode(item, lambda number: ("handle", type(held[number]).__name__))


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text(st.characters())
    | st.binary()
    | st.fractions()
    | st.decimals(allow_nan=False),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.integers() | st.text(), inner)
        | st.sets(st.integers() | st.text())
        | st.frozensets(st.integers())
    ),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None)
@given(plain)
def test_plain_data_is_the_same(value):
    found = there_and_back(value)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        2**14000,
        -(2**70),
        -0.0,
        math.inf,
        5e-324,
        "\ud800",
        "\x00\n",
        True,
        (1,),
        range(3, 9, 2),
        {1: {2: 3}},
    ],
)
def test_odd_values_keep_type_and_bits(value):
    found = there_and_back(value)
    assert (repr(found) if isinstance(value, float) else found) == (
        repr(value) if isinstance(value, float) else value
    )
    assert type(found) is type(value)


def test_no_number_stays_none():
    assert math.isnan(there_and_back(math.nan))


class Always(str):
    def __eq__(self, other):
        return True

    __hash__ = str.__hash__


class AlwaysList(list):
    def __eq__(self, other):
        return True

    def __iter__(self):
        return iter([1, 2])


class Colour(enum.IntEnum):
    RED = 3


def test_subclasses_cross_as_what_they_extend():
    assert there_and_back(Always("a")) != "b"
    assert there_and_back([AlwaysList([7])]) == [[7]]
    for value, expected in [
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (collections.OrderedDict(a=1), {"a": 1}),
        (collections.namedtuple("Point", "x y")(1, 2), (1, 2)),
        (Colour.RED, 3),
        (np.float64(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
    ]:
        found = there_and_back(value)
        assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    "value", [object(), lambda: 1, np.zeros(2), iter([1]), collections.deque()]
)
def test_other_objects_cross_as_handles(value):
    assert there_and_back([value]) == [("handle", type(value).__name__)]


def test_a_value_that_contains_itself_is_an_error():
    value: list = []
    value.append(value)
    with pytest.raises(RecursionError):
        there_and_back(value)


@pytest.mark.parametrize(
    "item", [5, "a", [1], {}, {"x": 1}, {"i": "z"}, {"h": "0"}, {"i": "1", "f": 2}]
)
def test_what_is_not_in_the_form_is_an_error(item):
    with pytest.raises(Exception):  # noqa: B017  # any, as long as none passes
        wire.decode(item, lambda number: number)


def test_messages_end_at_the_end_and_at_their_limit(monkeypatch):
    monkeypatch.setattr(wire, "LONGEST", 30)
    pipe = io.BytesIO()
    wire.write(pipe, {"n": 1})
    with pytest.raises(wire.Ended, match="more than 30"):
        wire.write(pipe, {"n": "x" * 40})
    pipe.write(b"y" * 40 + b"\n")
    pipe.seek(0)
    assert wire.read(pipe) == {"n": 1}
    with pytest.raises(wire.Ended, match="too long"):
        wire.read(pipe)
    for line in (b"", b'{"n": 1', b"[]\n", b"nonsense\n", b"\xff\n"):
        with pytest.raises(wire.Ended):
            wire.read(io.BytesIO(line))


def test_exact_kinds_of_numbers_cross():
    assert there_and_back(Fraction(1, 3)) == Fraction(1, 3)
    assert there_and_back(Decimal("0.10")) == Decimal("0.1")
