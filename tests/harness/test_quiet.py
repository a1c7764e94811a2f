"""What is held back while a population runs, and that nothing else is."""

from __future__ import annotations

import logging

import pytest

from btrans_eval.errors import UserError
from btrans_eval.harness import bridge, command, record
from btrans_eval.harness.quiet import _NOT_ACTIONABLE, hushed

CUSTOM = "btrans_demo: Custom kwargs can be passed to `--metadata` in console (as json string)"


def test_only_known_messages_are_held_back_and_only_within(caplog):
    logger, other = logging.getLogger("lm_eval.api.task"), logging.getLogger("lm_eval.api.model")
    with hushed():
        logger.warning(CUSTOM)
        logger.warning("btrans_demo: the rows are damaged; see `--metadata`")
        other.warning(CUSTOM)
    logger.warning(CUSTOM)
    said = [(each.name, each.getMessage()) for each in caplog.records]
    assert said == [
        (logger.name, "btrans_demo: the rows are damaged; see `--metadata`"),
        (other.name, CUSTOM),
        (logger.name, CUSTOM),
    ]


def test_no_filter_stays_when_the_block_fails():
    before = {name: list(logging.getLogger(name).filters) for name in _NOT_ACTIONABLE}
    with pytest.raises(KeyError), hushed():
        raise KeyError
    with record.begun(), command.one_line():
        command.begin(None)
        command.begin("store.sqlite")
        changed = {name: list(logging.getLogger(name).filters) for name in _NOT_ACTIONABLE}
        assert all(len(changed[name]) == len(before[name]) + 1 for name in before)
    assert {name: list(logging.getLogger(name).filters) for name in _NOT_ACTIONABLE} == before


def test_cached_requests_are_refused_from_python_too():
    import lm_eval

    for model in ("btrans-hf", type("Ours", (), {"runner": None})()):
        with pytest.raises(UserError, match="cache_requests: the harness's cache of requests"):
            lm_eval.simple_evaluate(model=model, tasks=["btrans_demo"], cache_requests=True)
    assert "btrans-hf" in bridge.MODELS
