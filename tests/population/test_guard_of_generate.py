"""A ``generate`` that somebody put on a model is there again after a population."""

from __future__ import annotations

from models import BY_NAME, tokens

from btrans_eval import Population


def test_a_generate_of_the_models_own_comes_back():
    model = BY_NAME["llama"].build()
    usual, calls = model.generate, []

    def own(*args, **kwargs):
        calls.append(kwargs)
        return usual(*args, **kwargs)

    model.generate = own
    with Population(model, sigma=0.1).members([0]):
        model.generate(input_ids=tokens(1), max_new_tokens=1)
        assert len(calls) == 1
    assert vars(model)["generate"] is own
    del model.generate
    with Population(model, sigma=0.1).members([0]):
        assert "generate" in vars(model)
    assert "generate" not in vars(model)
