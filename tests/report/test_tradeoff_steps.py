"""Where the arrows from stock to population begin."""

from __future__ import annotations

from types import SimpleNamespace

from btrans_eval.report.tradeoff import steps


def arm(name, kind, model, temperature=None):
    run = SimpleNamespace(results={"model_name": model})
    return SimpleNamespace(name=name, kind=kind, temperature=temperature, run=run)


def test_arrows_begin_at_the_same_model_and_sampling():
    arms = [
        arm("stock A", "stock", "A"),
        arm("stock A warm", "stock", "A", 0.7),
        arm("members of A", "population", "A"),
        arm("members of A, warm", "population", "A", 0.7),
        arm("stock B", "stock", "B"),
        arm("members of B", "population", "B"),
        arm("members of C", "population", "C"),
    ]
    assert steps(arms) == [
        ("stock A", "members of A"),
        ("stock A warm", "members of A, warm"),
        ("stock B", "members of B"),
    ]
