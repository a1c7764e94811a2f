"""Binding rows, choosing layers, and every mistake that must not pass silently."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from models import BY_NAME, tokens

from btrans_eval import Population
from btrans_eval.errors import UserError


@pytest.fixture
def llama():
    return BY_NAME["llama"].build()


def generate(model, batch, **arguments):
    return model.generate(input_ids=batch, max_new_tokens=4, do_sample=False, **arguments)


def test_rows_of_num_return_sequences_are_prompt_major(llama):
    batch = tokens(2)
    population = Population(llama, sigma=0.3)
    sampling = {"do_sample": True, "top_k": 1, "num_return_sequences": 2, "max_new_tokens": 4}
    with population.members([0, 1, 2, 3]):
        several = llama.generate(input_ids=batch, **sampling)
    for row, (prompt, member) in enumerate([(0, 0), (0, 1), (1, 2), (1, 3)]):
        with population.members([member]):
            assert torch.equal(several[row], generate(llama, batch[prompt : prompt + 1])[0])


@pytest.mark.parametrize("noise", ["sequence", "token"])
@pytest.mark.parametrize("rows", [1, 2, 4])
def test_another_number_of_rows_is_an_error_that_says_so(llama, rows, noise):
    with pytest.raises(UserError, match=rf"{rows} are bound .* given 3 rows"):
        with Population(llama, sigma=0.1, noise=noise).members(list(range(rows))):
            generate(llama, tokens(3))
    assert not any(module._forward_hooks for module in llama.modules())
    assert not any(module._forward_pre_hooks for module in llama.modules())


def test_nested_use_is_an_error_and_leaves_the_outer_block_as_it_was(llama):
    batch, population = tokens(1), Population(llama, sigma=0.3)
    with population.members([1]):
        before = llama(batch).logits
        for other in (lambda: population, lambda: Population(llama, sigma=0.0)):
            with pytest.raises(UserError, match="bound to members already"):
                with other().members([2]):
                    pass
        assert torch.equal(llama(batch).logits, before)


def test_an_exception_inside_the_block_restores_the_model(llama):
    batch = tokens(1)
    stock = llama(batch).logits
    with pytest.raises(KeyError):
        with Population(llama, sigma=0.3).members([0]):
            raise KeyError
    assert torch.equal(llama(batch).logits, stock)
    with Population(llama, sigma=0.3).members([0]):
        assert not torch.equal(llama(batch).logits, stock)


def test_beam_search_is_refused_with_a_reason(llama):
    with Population(llama, sigma=0.1).members([0, 0]):
        with pytest.raises(UserError, match="beam search copies rows"):
            generate(llama, tokens(1), num_beams=2)
        with pytest.raises(UserError, match="num_beams: must be 1"):
            beams = transformers.GenerationConfig(num_beams=2)
            generate(llama, tokens(1), generation_config=beams)
        with pytest.raises(UserError, match="num_beams: must be 1"):
            llama.generate(tokens(1), transformers.GenerationConfig(num_beams=2))
    assert generate(llama, tokens(1), num_beams=2).shape[0] == 1
    llama.generation_config.num_beams = 2
    with Population(llama, sigma=0.1).members([0, 0]):
        with pytest.raises(UserError, match="num_beams: must be 1"):
            generate(llama, tokens(1), generation_config=transformers.GenerationConfig())


def test_a_compiled_model_is_refused_because_its_graph_would_ignore_the_noise(llama):
    compiled = torch.nn.Module()  # what torch.compile(model) makes, without its minute of imports
    compiled._orig_mod = llama
    part = Population(llama, sigma=0.1)
    whole = Population(compiled, sigma=0.1)
    for population in (whole, part):
        if population is part:
            llama.model.layers[0]._compiled_call_impl = print  # what module.compile() sets
        with pytest.raises(UserError, match="model: must not be compiled"):
            with population.members([0]):
                pass


def test_token_noise_is_refused_where_tokens_cannot_be_counted():
    config = transformers.MambaConfig(
        vocab_size=64, hidden_size=32, num_hidden_layers=2, state_size=4
    )
    model = transformers.MambaForCausalLM(config).eval()
    with Population(model, sigma=0.1, noise="token").members([0]):
        with pytest.raises(
            UserError, match="noise: token, and noise_from=generation, need the place"
        ):
            generate(model, tokens(1))


def test_the_scaled_prior_refuses_a_gain_that_the_adapter_trains():
    from peft import LNTuningConfig, get_peft_model

    tuned = get_peft_model(BY_NAME["llama"].build(), LNTuningConfig(target_modules=["norm"]))
    with pytest.raises(UserError, match="prior: scaled .* trained by the adapter"):
        Population(tuned, sigma=0.1, prior="scaled")


def test_a_member_does_not_depend_on_which_other_layers_are_chosen(llama):
    everywhere = Population(llama, sigma=0.1, seed=4)
    last = Population(llama, sigma=0.1, seed=4, norms=r"^model\.norm$")
    assert [layer.name for layer in last.layers] == ["model.norm"]
    assert np.array_equal(last.shift(9, 0), everywhere.shift(9, len(everywhere.layers) - 1))


def test_the_noise_is_the_same_under_an_adapter():
    plain, lora = BY_NAME["llama"].build(), BY_NAME["llama-lora"].build()
    names = [layer.name for layer in Population(plain, sigma=0.1).layers]
    assert names == [layer.name for layer in Population(lora, sigma=0.1).layers]


def test_a_norm_under_a_peft_tuner_gets_its_noise_once():
    from peft import LNTuningConfig, get_peft_model

    model = BY_NAME["llama"].build()
    names = [layer.name for layer in Population(model, sigma=0.1).layers]
    batch = tokens(2)
    with Population(model, sigma=0.1).members([0, 1]):
        expected = model(batch).logits
    tuned = get_peft_model(model, LNTuningConfig(target_modules=["input_layernorm", "norm"]))
    population = Population(tuned.eval(), sigma=0.1)
    assert [layer.name for layer in population.layers] == names
    with population.members([0, 1]):
        assert torch.equal(tuned(batch).logits, expected)


@pytest.mark.parametrize("name", ["qwen3", "gemma3", "olmo2"])
def test_residual_leaves_the_query_and_key_norms_out(name):
    family = BY_NAME[name]
    layers = Population(family.build(), sigma=0.1, norms="residual").layers
    assert len(layers) == family.norms - 4
    assert not any("q_norm" in layer.name or "k_norm" in layer.name for layer in layers)


@pytest.mark.parametrize(
    "name, gain",
    [
        ("llama", lambda weight: weight),
        ("gemma2", lambda weight: 1 + weight),
        ("gpt2", lambda weight: weight),
        ("olmo", lambda weight: np.ones(1)),
    ],
)
def test_the_scaled_prior_follows_the_effective_gain(name, gain):
    model = BY_NAME[name].build()
    population = Population(model, sigma=0.5, mu=0.25, prior="scaled")
    isotropic = Population(model, sigma=1.0)
    for index, layer in enumerate(population.layers):
        weight = getattr(layer.module, "weight", None)
        values = np.ones(1) if weight is None else weight.detach().double().numpy()
        expected = 0.5 * np.sqrt(np.mean(gain(values) ** 2))
        assert population.sigmas[index] == pytest.approx(expected, rel=1e-12)
        shift = 0.25 + expected * isotropic.shift(3, index).astype(np.float64)
        np.testing.assert_allclose(population.shift(3, index), shift, rtol=1e-6)


def test_noise_is_cast_to_the_models_dtype_and_the_member_stays_the_same(llama):
    batch = tokens(2)
    half = llama.to(torch.bfloat16)
    with Population(half, sigma=0.1).members([0, 1]):
        noisy = half(batch).logits
    assert noisy.dtype == torch.bfloat16
    again = half.float()
    with Population(again, sigma=0.1).members([0, 1]):
        torch.testing.assert_close(noisy.float(), again(batch).logits, atol=0.05, rtol=0.05)


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"sigma": -1.0}, "sigma: must be a finite number of at least 0, got -1.0"),
        ({"sigma": float("nan")}, "sigma: must be a finite"),
        ({"sigma": float("inf")}, "sigma: must be a finite"),
        ({"sigma": "much"}, "sigma: must be a finite number .* got 'much'"),
        ({"sigma": True}, "sigma: must be a finite"),
        ({"mu": float("nan")}, "mu: must be a finite"),
        ({"prior": "isotopic"}, "prior: must be one of .* did you mean isotropic"),
        ({"noise": "tokens"}, "noise: must be one of .* did you mean token"),
        ({"seed": -1}, "seed: must be a whole number of at least 0"),
        ({"seed": 0.5}, "seed: must be a whole number"),
        ({"norms": "(["}, "norms: must be all, residual or a regular expression, .* compile"),
        ({"norms": "nothing"}, r"norms: .*'nothing' matches none of model\.layers\.0\.input"),
    ],
)
def test_bad_arguments_are_one_clear_line(llama, arguments, text):
    with pytest.raises(UserError, match=text) as caught:
        Population(llama, **{"sigma": 0.1, **arguments})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rows", [[-1], [0.5], [True], ["0"], []])
def test_bad_members_are_an_error(llama, rows):
    with pytest.raises(UserError, match="members: "):
        with Population(llama, sigma=0.1).members(rows):
            pass


def test_a_model_without_norms_is_an_error():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    with pytest.raises(UserError, match="norms: .*Sequential has none among its modules"):
        Population(model, sigma=0.1)


def test_an_encoder_decoder_is_an_error():
    config = transformers.T5Config(
        vocab_size=16, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2
    )
    with pytest.raises(UserError, match="model: must be decoder-only"):
        Population(transformers.T5ForConditionalGeneration(config), sigma=0.1)
