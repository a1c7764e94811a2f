"""Identities that hold for every family of models, each with its own norms."""

from __future__ import annotations

import pytest
import torch
from models import FAMILIES, Family, tokens

from btrans_eval import BayesianBiasWrapper, Population

SIGMA = 0.1

everywhere = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
either_noise = pytest.mark.parametrize("noise", ["sequence", "token"])


@torch.no_grad()
def logits(model, batch, **arguments):
    return model(batch, **arguments).logits


@everywhere
def test_every_norm_is_found_by_its_name_in_the_base_model(family: Family):
    model = family.build()
    population = Population(model, sigma=SIGMA)
    assert len(population.layers) == family.norms
    base = dict((model.get_base_model() if family.lora else model).named_modules())
    for layer in population.layers:
        assert base[layer.name] is layer.module
        assert not layer.name.startswith("base_model")


@everywhere
def test_without_noise_the_model_is_the_stock_model_bit_for_bit(family: Family):
    model, batch = family.build(), tokens(3)
    stock = logits(model, batch)
    with Population(model, sigma=0.0).members([0, 1, 2]):
        assert torch.equal(logits(model, batch), stock)


@everywhere
@either_noise
def test_noise_changes_the_logits_and_detaching_restores_them(family: Family, noise: str):
    model, batch = family.build(), tokens(3)
    stock, names = logits(model, batch), list(model.state_dict())
    hooks = [len(module._forward_hooks) for module in model.modules()]
    with Population(model, sigma=SIGMA, noise=noise).members([0, 1, 2]):
        noisy = logits(model, batch)
        assert list(model.state_dict()) == names
    assert (noisy - stock).abs().amax(dim=(1, 2)).min() > 1e-3
    assert torch.equal(logits(model, batch), stock)
    assert hooks == [len(module._forward_hooks) for module in model.modules()]
    assert not any("generate" in vars(module) for module in model.modules())


@everywhere
@either_noise
def test_a_row_does_not_depend_on_its_neighbours_members(family: Family, noise: str):
    model, batch = family.build(), tokens(4)
    population = Population(model, sigma=SIGMA, noise=noise)
    members = [5, 0, 3, 5]
    with population.members(members):
        mixed = logits(model, batch)
    for row, member in enumerate(members):
        with population.members([member] * 4):
            uniform = logits(model, batch)
        assert torch.equal(mixed[row], uniform[row])
        with population.members([member]):
            alone = logits(model, batch[row : row + 1])
        torch.testing.assert_close(mixed[row], alone[0], atol=1e-4, rtol=0)


@everywhere
@either_noise
def test_one_forward_over_the_finished_sequence_gives_the_logits_of_the_decode_steps(
    family: Family, noise: str
):
    model, batch = family.build(), tokens(3)
    padding = torch.ones_like(batch)
    padding[0, :2] = 0  # left padding: noise counts tokens without it
    batch[0, :2] = 0
    population = Population(model, sigma=SIGMA, noise=noise)
    with population.members([2, 0, 1]):
        generated = model.generate(
            input_ids=batch,
            attention_mask=padding,
            max_new_tokens=5,
            min_new_tokens=5,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
        sequences = generated.sequences
        mask = torch.cat([padding, torch.ones_like(sequences[:, 6:])], dim=1)
        again = {"attention_mask": mask}
        if family.name != "bloom":  # has no position ids: its positions come from the mask
            again["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
        whole = logits(model, sequences, **again)
    for step, stepwise in enumerate(generated.logits):
        torch.testing.assert_close(whole[:, 5 + step], stepwise, atol=2e-5, rtol=1e-5)


@everywhere
def test_the_papers_wrapper_gives_the_same_bits_at_every_layer(family: Family):
    model, batch = family.build(), tokens(2)
    population = Population(model, sigma=SIGMA, prior="scaled", seed=3)
    for layer in population.layers:
        wrapper = BayesianBiasWrapper(population, layer.name, rows=[4, 1])
        seen = []
        handle = layer.module.register_forward_hook(
            lambda module, args, output, seen=seen: seen.append((args, output))
        )
        logits(model, batch)
        handle.remove()
        (args, _), noisy = seen[0], []
        with population.members([4, 1]):
            noisy.append(layer.module(*args))
        assert torch.equal(wrapper(*args), noisy[0])
        assert not torch.equal(noisy[0], seen[0][1])
