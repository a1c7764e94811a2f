"""Rows that forward passes take in turn, and rows packed into one: each is its member alone."""

from __future__ import annotations

import pytest
import torch
from models import BY_NAME, tokens

from btrans_eval import Population
from btrans_eval.errors import UserError

MEMBERS = [5, 0, 3, 8, 1, 2]
FAMILIES = ["llama", "llama-lora", "qwen3", "gemma2", "olmo2", "qwen3-moe"]


@pytest.fixture(params=FAMILIES)
def model(request):
    return BY_NAME[request.param].build()


@pytest.fixture
def llama():
    return BY_NAME["llama"].build()


@torch.no_grad()
@pytest.mark.parametrize("noise", ["sequence", "token"])
@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_chunks_of_any_size_are_their_rows_members(model, noise, size):
    batch, population = tokens(6), Population(model, sigma=0.3, noise=noise)
    chunks = [slice(start, start + size) for start in range(0, 6, size)]
    with population.windows(MEMBERS):
        found = [model(batch[chunk]).logits for chunk in [*chunks, *chunks]]  # again from the first
    for chunk, logits in zip([*chunks, *chunks], found, strict=True):
        stock = model(batch[chunk]).logits
        with population.members(MEMBERS[chunk]):
            assert torch.equal(logits, model(batch[chunk]).logits)
        assert not torch.equal(logits, stock)


@torch.no_grad()
def test_noise_from_generation_begins_where_each_row_says(llama):
    population = Population(llama, sigma=0.3, noise_from="generation")
    batch, first = tokens(4), [1, 2, 3, 4]
    with population.windows([4, 5, 6, 7], first):
        found = [llama(batch[:1]).logits, llama(batch[1:]).logits]
    for rows, logits in zip([slice(0, 1), slice(1, 4)], found, strict=True):
        with population.members([4, 5, 6, 7][rows], first[rows]):
            assert torch.equal(logits, llama(batch[rows]).logits)


@torch.no_grad()
def test_a_batch_is_generated_and_then_scored_in_chunks_under_one_binding(model):
    batch, population = tokens(6), Population(model, sigma=0.3)
    arguments = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False}
    with population.windows(MEMBERS):
        texts = model.generate(input_ids=batch, **arguments)
        scored = [model(texts[start : start + 2]).logits for start in (0, 2, 4)]
    with population.members(MEMBERS):
        assert torch.equal(texts, model.generate(input_ids=batch, **arguments))
        whole = model(texts).logits
    assert torch.allclose(torch.cat(scored), whole, atol=1e-5)


def test_without_noise_windows_are_the_model_itself(llama):
    batch = tokens(6)
    with Population(llama, sigma=0.0).windows(MEMBERS):
        assert not any(module._forward_hooks for module in llama.modules())
        assert torch.equal(llama(batch[:4]).logits, llama(batch[:4]).logits)


def test_a_window_must_end_with_the_last_row(llama):
    batch, population = tokens(6), Population(llama, sigma=0.3)
    with torch.no_grad(), pytest.raises(UserError, match="after 4 of them it was given 4"):
        with population.windows(MEMBERS):
            llama(batch[:4])
            llama(batch[:4])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in llama.modules())


def test_gradients_are_wanted_of_all_rows_or_none(llama):
    batch, population = tokens(6), Population(llama, sigma=0.3)
    with population.windows(MEMBERS):
        llama(batch).logits.sum().backward()
        with pytest.raises(UserError, match="must hold all 6 rows"):
            llama(batch[:3])


@torch.no_grad()
def test_windows_leave_the_model_as_it_was(llama):
    batch, stock = tokens(6), None
    stock = llama(batch).logits
    with Population(llama, sigma=0.3).windows(MEMBERS):
        llama(batch[:3])  # and not the rest
    assert torch.equal(llama(batch).logits, stock)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in llama.modules())


# ------------------------------------------------------------------------------ packed rows
def packed(model, rows):
    """Logits of rows of different lengths that stand one after another in one row."""
    lengths = [row.shape[0] for row in rows]
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    given = {"input_ids": torch.cat(rows)[None], "position_ids": positions, "use_cache": False}
    return model(**given).logits[0].split(lengths)


def rows_of(*lengths):
    return [tokens(1, length, seed=length)[0] for length in lengths]


@torch.no_grad()
def test_packed_rows_are_their_members_alone(model):
    rows, population = rows_of(3, 9, 1, 6), Population(model, sigma=0.3)
    stock = packed(model, rows)
    with population.packed([7, 2, 2, 0], [3, 9, 1, 6]):
        found = packed(model, rows)
    for row, member, logits, unbound in zip(rows, [7, 2, 2, 0], found, stock, strict=True):
        with population.members([member]):
            assert torch.allclose(logits, model(row[None]).logits[0], atol=1e-5)
        assert not torch.allclose(logits, unbound, atol=1e-3)


def test_gradients_of_packed_rows_are_those_of_rows_alone():
    model = BY_NAME["qwen3"].build().double()
    rows, population = rows_of(4, 7, 5), Population(model, sigma=0.3)

    def gradients():
        found = [p.grad.clone() for p in model.parameters()]
        model.zero_grad()
        return found

    with population.packed([3, 1, 4], [4, 7, 5]):
        sum(logits.logsumexp(-1).sum() for logits in packed(model, rows)).backward()
    together = gradients()
    for row, member in zip(rows, [3, 1, 4], strict=True):
        with population.members([member]):
            model(row[None]).logits.logsumexp(-1).sum().backward()
    alone = gradients()
    for one, other in zip(together, alone, strict=True):
        assert (one - other).norm() <= 1e-10 * other.norm()


def test_packed_refuses_what_it_cannot_bind(llama):
    population = Population(llama, sigma=0.3)
    with pytest.raises(UserError, match="one for each of 2 rows, got 1"):
        with population.packed([0, 1], [3]):
            pass
    with pytest.raises(UserError, match="must be a whole number of at least 1, got 0"):
        with population.packed([0, 1], [3, 0]):
            pass
    with torch.no_grad(), pytest.raises(UserError, match="have 7 tokens in all"):
        with population.packed([0, 1], [3, 4]):
            packed(llama, rows_of(3, 5))
    with pytest.raises(UserError, match="noise=token"):
        with Population(llama, sigma=0.3, noise="token").packed([0], [3]):
            pass
    with pytest.raises(UserError, match="first: must be given"):
        with Population(llama, sigma=0.3, noise_from="generation").packed([0], [3]):
            pass
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in llama.modules())


def test_times_multiplies_every_standard_deviation(llama):
    population = Population(llama, sigma=0.2, mu=0.1, seed=3)
    half, direct = population.times(0.5), Population(llama, sigma=0.1, mu=0.1, seed=3)
    assert half.sigma == 0.1 and half.digest() == direct.digest() != population.digest()
    assert (half.shift(4, 1) == direct.shift(4, 1)).all()
    assert Population(llama, sigma=0.2).times(0.0).is_stock
