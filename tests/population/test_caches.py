"""The cache has another name in each generation of transformers, and in models of older code."""

import pytest

from btrans_eval.population.key_values import cache_argument, cache_in


class New:
    def forward(self, input_ids, cache=None):
        pass


class Old:
    def forward(self, input_ids, past_key_values=None):
        pass


class State:
    def forward(self, input_ids, cache_params=None):
        pass


class Nothing:
    def forward(self, input_ids, use_cache=None, **others):
        pass


@pytest.mark.parametrize(
    "kind, name",
    [(New, "cache"), (Old, "past_key_values"), (State, "cache_params"), (Nothing, None)],
)
def test_it_is_passed_by_the_name_that_the_model_has(kind, name):
    assert cache_argument(kind()) == name


@pytest.mark.parametrize("name", ["cache", "past_key_values", "cache_params"])
def test_it_is_found_by_every_name(name):
    held = object()
    assert cache_in({"use_cache": True, name: held}) is held
    assert cache_in({name: None}) is None
    assert cache_in({}) is None
