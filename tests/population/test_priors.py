"""Noise per layer: files, scales, and noise that begins at the prompt's last token."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import BY_NAME, tokens
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch

from btrans_eval import Population
from btrans_eval.config import PopulationConfig
from btrans_eval.errors import UserError
from btrans_eval.population.key_values import cache_argument, cache_in


@pytest.fixture(scope="module")
def llama():
    return BY_NAME["llama"].build()


def test_a_saved_population_is_the_same_to_the_last_bit(llama, tmp_path):
    file = tmp_path / "noise.safetensors"
    written = Population(llama, sigma=0.3, mu=0.1, prior="scaled", seed=5)
    written.save(file)
    again = Population.load(llama, file, seed=5)
    for member in (0, 3):
        for index in range(len(written.layers)):
            assert np.array_equal(written.shift(member, index), again.shift(member, index))
    batch = tokens(2)
    with written.members([0, 3]):
        expected = llama(batch).logits
    with again.members([0, 3]):
        assert torch.equal(llama(batch).logits, expected)
    assert again.sigma is None and not again.is_stock


def test_a_file_has_mu_and_sigma_of_every_dimension(llama, tmp_path):
    file = tmp_path / "learned.safetensors"
    Population(llama, sigma=0.1).save(file)
    found = load_file(file)
    generator = np.random.default_rng(0)
    for name in found:
        found[name] = generator.random(found[name].shape)
    save_file(found, file)
    learned = Population(llama, prior=str(file), seed=2)
    standard = Population(llama, sigma=1.0, seed=2)
    for index, layer in enumerate(learned.layers):
        mu, sigma = found[f"{layer.name}.mu"], found[f"{layer.name}.sigma"]
        expected = (mu + sigma * standard.shift(1, index).astype(np.float64)).astype(np.float32)
        assert np.array_equal(learned.shift(1, index), expected)


def test_a_file_in_16_bits_is_read(llama, tmp_path):
    file = tmp_path / "new" / "folder" / "learned.safetensors"
    Population(llama, sigma=0.25).save(file)
    save_torch({name: torch.tensor(v).bfloat16() for name, v in load_file(file).items()}, file)
    assert Population(llama, prior=str(file)).sigmas.tolist() == [0.25] * 5


def test_digests_tell_files_and_modes_apart(llama, tmp_path):
    file = tmp_path / "noise.safetensors"
    plain = Population(llama, sigma=0.3)
    plain.save(file)
    digests = [plain.digest(), Population.load(llama, file).digest()]
    found = load_file(file)
    found["model.norm.mu"][3] += 1e-9
    save_file(found, file)
    digests.append(Population.load(llama, file).digest())
    digests.append(Population(llama, sigma=0.3, noise_from="generation").digest())
    assert len(set(digests)) == 4


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda t: t.pop("model.norm.mu"), "lacks model.norm.mu"),
        (lambda t: t.update({"model.nrm.mu": np.zeros(32)}), "has, .* model.nrm.mu"),
        (lambda t: t.update({"model.norm.mu": np.zeros(31)}), "model.norm.mu .* 32 finite .*31"),
        (lambda t: t.update({"model.norm.mu": np.full(32, np.nan)}), "not finite"),
        (lambda t: t.update({"model.norm.sigma": np.full(32, -1.0)}), "at least 0, got -1"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(llama, tmp_path, change, text):
    file = tmp_path / "noise.safetensors"
    Population(llama, sigma=0.3).save(file)
    found = load_file(file)
    change(found)
    save_file(found, file)
    with pytest.raises(UserError, match=text):
        Population.load(llama, file)


def test_mistakes_with_priors(llama, tmp_path):
    (tmp_path / "torn.safetensors").write_bytes(b"not a file")
    for name in ("missing", "torn"):
        with pytest.raises(UserError, match=f"prior: .*{name}.safetensors cannot be read"):
            Population(llama, prior=str(tmp_path / f"{name}.safetensors"))
    with pytest.raises(UserError, match="has mu and sigma of its own, got sigma=0.1"):
        Population(llama, 0.1, prior="some.safetensors")
    with pytest.raises(UserError, match="balanced needs the scale of every layer"):
        Population(llama, 0.1, prior="balanced")
    with pytest.raises(UserError, match="or name a .safetensors file"):
        Population(llama, 0.1, prior="learned.pt")


def test_a_file_in_the_users_folder_is_found(llama, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    Population(llama, sigma=0.1).save(tmp_path / "noise.safetensors")
    assert Population(llama, prior="~/noise.safetensors").sigmas[0] == pytest.approx(0.1)
    config = PopulationConfig(prior="~/noise.safetensors")
    assert (config.sigma, config.prior) == (None, str(tmp_path / "noise.safetensors"))
    with pytest.raises(UserError, match="has its own, got auto; leave sigma out"):
        PopulationConfig(sigma="auto", prior="~/noise.safetensors")
    with pytest.raises(UserError, match="kl: .* got 0.1 with .*has its own sigma; leave kl out"):
        PopulationConfig(kl=0.1, prior="~/noise.safetensors")


def test_a_balanced_prior_multiplies_sigma(llama):
    names = [layer.name for layer in Population(llama, 0.1).layers]
    scales = {name: 1.0 + place for place, name in enumerate(names)}
    found = Population(llama, 0.5, prior="balanced", scales=scales)
    assert found.sigmas.tolist() == [0.5 * (1 + place) for place in range(len(names))]
    with pytest.raises(UserError, match=f"scales: .* {names[-1]} is missing"):
        Population(llama, 0.5, prior="balanced", scales={n: 1.0 for n in names[:-1]})


def test_other_sigmas_leave_the_population_as_it_was(llama):
    one = Population(llama, 1.0)
    before = one.shift(0, 0)
    other = one.with_sigmas([0.0] * (len(one.layers) - 1) + [2.0])
    assert np.array_equal(one.shift(0, 0), before)
    last = len(one.layers) - 1
    assert not other.shift(0, 0).any()
    assert np.array_equal(other.shift(0, last), Population(llama, 2.0).shift(0, last))


@pytest.mark.parametrize("noise", ["sequence", "token"])
@pytest.mark.parametrize("name", ["llama", "qwen3", "gpt2"])
def test_noise_from_generation_leaves_the_prompt_alone(name, noise):
    """As the model's own cache of the prompt but its last token, gone on with by the member."""
    model, batch = BY_NAME[name].build(), tokens(3)
    last = 5  # the last token of the prompt; what follows are generated ones
    later = Population(model, 0.3, noise=noise, noise_from="generation")
    whole = Population(model, 0.3, noise=noise)
    with torch.no_grad():
        stock = model(batch).logits
        with later.members([0, 1, 2], first=[last] * 3):
            found = model(batch).logits
        cache = cache_in(model(batch[:, :last], use_cache=True))
        places = torch.arange(last, batch.shape[1]).expand(3, -1)
        with whole.members([0, 1, 2]):
            held = {cache_argument(model): cache}
            textbook = model(batch[:, last:], position_ids=places, **held).logits
    assert torch.equal(found[:, :last], stock[:, :last])
    assert not torch.allclose(found[:, last], stock[:, last], atol=1e-2)
    torch.testing.assert_close(found[:, last:], textbook, atol=2e-5, rtol=1e-5)


def test_each_row_begins_where_its_prompt_ends(llama):
    batch = tokens(2)
    population = Population(llama, 0.3, noise_from="generation")
    with torch.no_grad():
        with population.members([4, 4], first=[2, 6]):
            together = llama(batch).logits
        for row, start in enumerate([2, 6]):
            with population.members([4, 4], first=[start, start]):
                assert torch.equal(llama(batch).logits[row], together[row])


def test_left_padding_does_not_count(llama):
    batch = tokens(1)
    padded = torch.cat([torch.zeros(1, 3, dtype=torch.long), batch], dim=1)
    mask = torch.ones_like(padded)
    mask[:, :3] = 0
    population = Population(llama, 0.3, noise_from="generation")
    with torch.no_grad(), population.members([1], first=[4]):
        places = (mask.cumsum(1) - 1).clamp(min=0)
        found = llama(padded, attention_mask=mask, position_ids=places).logits[:, 3:]
        torch.testing.assert_close(found, llama(batch).logits, atol=2e-5, rtol=1e-5)


def test_first_is_wanted_with_noise_from_generation_only(llama):
    with pytest.raises(UserError, match="first: must be given with noise_from=generation"):
        with Population(llama, 0.3, noise_from="generation").members([0]):
            pass
    with pytest.raises(UserError, match="first: must be given .* and only with it"):
        with Population(llama, 0.3).members([0], first=[3]):
            pass
    with pytest.raises(UserError, match="first: must have one index for each of 2 rows"):
        with Population(llama, 0.3, noise_from="generation").members([0, 1], first=[3]):
            pass
