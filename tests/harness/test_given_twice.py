"""A store, a part or from_store that is given as a flag and as a model argument, and differs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from lm_eval.config.evaluate_config import EvaluatorConfig

from btrans_eval.errors import UserError
from btrans_eval.harness import bridge, launch


@pytest.fixture
def taken(monkeypatch):
    """What the harness's command is asked for: (flags, model arguments) to model arguments."""

    def take(arguments, model_args):
        run = SimpleNamespace(model="btrans-hf", model_args=dict(model_args))
        monkeypatch.setattr(EvaluatorConfig, "from_cli", lambda namespace: run)
        monkeypatch.setattr(bridge, "check_run", lambda run: None)
        with launch._given(arguments):
            return EvaluatorConfig.from_cli(None).model_args

    return take


@pytest.mark.parametrize(
    ("arguments", "model_args", "line"),
    [
        ({"store": "a.db"}, {"store": "b.db"}, "^store: must be given once, got --store a.db and "
         "--model_args store=b.db; leave one of them out$"),
        ({"store": "a.db", "shard": "1/2"}, {"shard": "2/2"}, "^shard: must be given once"),
        ({"store": "a.db", "from_store": True}, {"from_store": False}, "^from_store: must be"),
    ],
)  # fmt: skip
def test_two_that_differ_are_refused(taken, arguments, model_args, line):
    with pytest.raises(UserError, match=line):
        taken(arguments, model_args)


@pytest.mark.parametrize("model_args", [{}, {"store": "a.db"}, {"sigma": 0.1, "from_store": True}])
def test_one_or_two_that_agree_are_taken(taken, model_args):
    arguments = {"store": "a.db", "from_store": True}
    assert taken(arguments, model_args) == {**model_args, **arguments}
