"""Sigma from a KL budget: the measure against its definition, the search, and what it finds."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import tiny_checkpoint
import torch
from models import BY_NAME, VOCABULARY
from transformers import AutoTokenizer

from btrans_eval import Population
from btrans_eval.demo import demo_arguments
from btrans_eval.errors import UserError
from btrans_eval.population import cache_folder, calibrate, layers
from btrans_eval.population.divergence import Divergence, Yardstick, shipped_text

HELD_OUT = Path(__file__).parents[1] / "data" / "heldout.txt"


def words(seed: int, passages: int = 6, length: int = 40) -> str:
    """Text that the tiny models' tokenizer knows."""
    draw = np.random.default_rng(seed)
    rows = draw.integers(3, VOCABULARY, (passages, length))
    return "\n---\n".join(" ".join(f"w{n}" for n in row) for row in rows)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return AutoTokenizer.from_pretrained(tiny_checkpoint.save(tmp_path_factory.mktemp("tiny")))


def sharp(name):
    """A tiny model with predictions: a random one says nearly the same after every token."""
    model = BY_NAME[name].build()
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(20)
    return model


@pytest.fixture(scope="module")
def llama():
    return sharp("llama")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BTRANS_EVAL_CACHE", str(tmp_path / "cache"))


# The measure


def slow_divergence(model, population, pieces, member):
    """One token at a time in float64: KL, greedy changes, -log p of the next token."""
    kl, changed, loss, base_loss = [], [], [], []
    for piece in pieces:
        row = torch.tensor([piece])
        with torch.no_grad():
            base = model(row).logits[0].double().log_softmax(-1).numpy()
            with population.members([member]):
                own = model(row).logits[0].double().log_softmax(-1).numpy()
        for place in range(len(piece)):
            if place == 0 and piece[0] == 1:  # BOS
                continue
            terms = [math.exp(p) * (p - q) for p, q in zip(base[place], own[place], strict=True)]
            kl.append(math.fsum(terms))
            changed.append(base[place].argmax() != own[place].argmax())
            if place + 1 < len(piece):
                loss.append(-own[place][piece[place + 1]])
                base_loss.append(-base[place][piece[place + 1]])
    return [float(np.mean(each)) for each in (kl, changed, loss, base_loss)], len(kl)


@pytest.mark.parametrize("bos", [False, True])
def test_divergence_by_definition(llama, tokenizer, bos):
    text = "w5 w9 w7\n---\nw11 w12 w13 w14 w15 w16\n---\nw8"  # a single token says nothing
    pieces = [[5, 9, 7], [11, 12, 13, 14, 15, 16]]
    if bos:
        text, pieces = text.replace("w11", "<s> w11"), [pieces[0], [1, *pieces[1]]]
    population = Population(llama, 0.4, seed=1)
    found = Yardstick(llama, tokenizer, text).measure(population, [0, 3])
    for place, member in enumerate([0, 3]):
        expected, tokens = slow_divergence(llama, population, pieces, member)
        own = [found.kl[place], found.changed[place], found.log_perplexity[place]]
        assert [*own, found.base_log_perplexity] == pytest.approx(expected, rel=1e-4)
        assert found.tokens == tokens == 9
    assert found.stderr == pytest.approx(abs(found.kl[0] - found.kl[1]) / 2)


def test_no_noise_has_no_divergence(llama, tokenizer):
    found = Yardstick(llama, tokenizer, words(0)).measure(Population(llama, 0.0))
    assert found.kl == found.changed == (0.0,) * 4
    assert found.log_perplexity == pytest.approx([found.base_log_perplexity] * 4)


def test_the_shipped_text_is_short_and_of_several_kinds():
    tokens = AutoTokenizer.from_pretrained(
        demo_arguments()["pretrained"], gguf_file=demo_arguments()["gguf_file"]
    )
    passages = shipped_text().split("\n---\n")
    assert sum(len(tokens(one)["input_ids"]) for one in passages) <= 1000
    assert not set(passages) & set(HELD_OUT.read_text().split("\n---\n"))
    assert len(passages) >= 10 and "def " in shipped_text() and "Winter fährt" in shipped_text()


# The search


def flat(kl: float) -> Divergence:
    return Divergence((kl,) * 4, (0.0,) * 4, (0.0,) * 4, 0.0, 1)


CURVES = {
    "square": lambda s: 780 * s**2,
    "saturates": lambda s: 3 * (1 - math.exp(-300 * s**2)),
    "steep": lambda s: 1e5 * s**3,
    "shallow": lambda s: 0.4 * s**1.2,
    "bends": lambda s: 0.002 * (1 - math.exp(-6e4 * s**2)) + 0.006 * s**2,
    "tiny sigma": lambda s: 4e7 * s**2,
    "huge sigma": lambda s: 3e-4 * s**2,
    "breaks": lambda s: math.inf if s > 0.004 else 5000 * s**2,
    "not a number": lambda s: math.nan if s > 0.004 else 5000 * s**2,
}


@pytest.mark.parametrize(
    ("name", "budget"),
    [
        (name, budget)
        for name in CURVES
        for budget in (0.003, 0.05, 0.3)
        if budget < 0.3 or name not in ("breaks", "not a number")  # out of reach: the next test
    ],
)
def test_the_search_ends_within_5_percent_in_6_evaluations(name, budget):
    sigma, found, evaluations = calibrate.search(lambda s: flat(CURVES[name](s)), budget, 0.01)
    assert abs(found.mean_kl - budget) <= 0.05 * budget and evaluations <= 6
    assert CURVES[name](sigma) == found.mean_kl and float(f"{sigma:.4g}") == sigma


def barely(s):
    """Next to flat, and out of reach until sigma is large."""
    return 0.02 + 1e-12 * s**2


@pytest.mark.parametrize(
    "curve", [lambda s: 0.0, lambda s: min(s, 0.02), lambda s: math.inf, lambda s: s // 1, barely]
)
def test_out_of_reach_is_one_clear_line(curve):
    with pytest.raises(UserError, match="sigma: none was found with KL 0.05 .* takes sigma=NUMBER"):
        calibrate.search(lambda s: flat(curve(s)), 0.05, 0.01)


# What it finds


@pytest.mark.parametrize("prior", ["isotropic", "scaled", "balanced"])
@pytest.mark.parametrize("name", ["llama", "qwen3", "gpt2", "gemma2"])
def test_tiny_models_reach_the_budget_and_keep_it_on_other_text(tokenizer, name, prior):
    model = sharp(name)
    found = calibrate.calibrate(model, tokenizer, 0.05, prior=prior, text=words(0))
    assert abs(found.kl - 0.05) <= 0.05 * 0.05 and found.evaluations <= 6
    population = Population(model, found.sigma, prior=prior, scales=found.scales)
    again = Yardstick(model, tokenizer, words(0)).measure(population)
    assert (again.mean_kl, again.stderr) == (found.kl, found.stderr)
    other = Yardstick(model, tokenizer, words(1)).measure(population).mean_kl
    assert 0.05 / 1.5 <= other <= 0.05 * 1.5


def test_the_demo_model_keeps_its_budget_on_other_text():
    from btrans_eval.model_adapters.hf import BTransHF

    lm = BTransHF(sigma="auto")
    said = lm.get_model_info()["btrans"]
    assert said["calibration"]["budget"] == 0.05 and said["sigma"] == lm.runner.population.sigma
    assert said["calibration"]["evaluations"] <= 6 and said["calibration"]["tokens"] <= 1000
    found = Yardstick(lm.model, lm.tokenizer, HELD_OUT.read_text()).measure(lm.runner.population)
    assert 0.05 / 1.5 <= found.mean_kl <= 0.05 * 1.5


def test_settings_change_what_is_found(llama, tokenizer):
    text = words(0)
    sigmas = {
        calibrate.calibrate(llama, tokenizer, 0.05, text=text, **settings).sigma
        for settings in ({}, {"norms": r"model\.norm"}, {"seed": 1}, {"noise": "token"})
    }
    assert len(sigmas) == 4


def test_the_same_again_is_read_and_not_measured(llama, tokenizer, monkeypatch):
    first = calibrate.calibrate(llama, tokenizer, 0.1, prior="balanced", text=words(0))
    measure = Yardstick.measure

    def refuse(*args):
        raise AssertionError("measured again")

    monkeypatch.setattr(Yardstick, "measure", refuse)
    assert calibrate.calibrate(llama, tokenizer, 0.1, prior="balanced", text=words(0)) == first
    changes = [{"kl": 0.2}, {"text": words(1)}, {"seed": 3}, {"norms": "residual"}]
    for change in [*changes, {"noise": "token"}, {"prior": "isotropic"}]:
        with pytest.raises(AssertionError, match="measured again"):
            calibrate.calibrate(
                llama, tokenizer, **{"kl": 0.1, "prior": "balanced", "text": words(0), **change}
            )
    with pytest.raises(AssertionError, match="measured again"):
        calibrate.calibrate(BY_NAME["qwen3"].build(), tokenizer, 0.1, text=words(0))
    monkeypatch.setattr(Yardstick, "measure", measure)
    for file in cache_folder.folder().iterdir():
        file.write_text("torn {")
    assert calibrate.calibrate(llama, tokenizer, 0.1, prior="balanced", text=words(0)) == first


def test_a_cache_that_cannot_be_written_is_told(llama, tokenizer, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BTRANS_EVAL_CACHE", str(tmp_path / "file"))
    found = calibrate.calibrate(llama, tokenizer, 0.1, text=words(0))
    assert found.evaluations <= 6 and "is not kept for the next run" in caplog.text


def test_balanced_layers_have_equal_influence(llama, tokenizer):
    text = words(0)
    scales = calibrate.balanced_scales(llama, tokenizer, text)
    assert math.fsum(map(math.log, scales.values())) == pytest.approx(0, abs=1e-12)
    population = Population(llama, 1.0)
    yardstick = Yardstick(llama, tokenizer, text, calibrate.BALANCE_TOKENS)
    sigma = calibrate.calibrate(llama, tokenizer, text=text).sigma / 4  # KL is square in it
    kls = [
        yardstick.measure(
            population.with_sigmas([sigma * scales[name] * (name == layer.name) for name in scales])
        ).mean_kl
        for layer in population.layers
    ]
    sigmas = dict.fromkeys(scales, sigma)
    equal = [each.mean_kl for each in layers.by_layer(population, yardstick, sigmas).values()]
    assert max(kls) / min(kls) < 1.2 < 3 < max(equal) / min(equal)


def test_balanced_layers_have_equal_influence_in_16_bits_too(tokenizer):
    """What rounding does hides the layers that do little; so measured again in float32."""
    model = sharp("llama")
    text = words(0)
    half = copy.deepcopy(model).to(torch.bfloat16)
    scales = calibrate.balanced_scales(half, tokenizer, text)
    own = Yardstick(half, tokenizer, text, calibrate.BALANCE_TOKENS)
    alone = calibrate.layers_alone(half, tokenizer, text=text)
    sigma = calibrate.calibrate(half, tokenizer, text=text).sigma
    sigmas = layers.equal(Population(half, 1.0), own, sigma, alone)
    assert layers.centered(sigmas) == pytest.approx(scales)
    yardstick = Yardstick(model, tokenizer, text, calibrate.BALANCE_TOKENS)
    for name, seen in layers.by_layer(Population(model, 1.0), yardstick, sigmas).items():
        assert seen.mean_kl == pytest.approx(layers.EQUAL_KL, rel=0.25), name


def test_equal_measures_each_layer_where_it_is_wanted(llama, tokenizer):
    text = words(0)
    yardstick = Yardstick(llama, tokenizer, text, calibrate.BALANCE_TOKENS)
    population = Population(llama, 1.0)
    alone = {
        name: each.mean_kl
        for name, each in layers.by_layer(
            population, yardstick, {layer.name: 1e-3 for layer in population.layers}
        ).items()
    }
    sigmas = layers.equal(population, yardstick, 1e-3, alone)
    for name, seen in layers.by_layer(population, yardstick, sigmas).items():
        assert seen.mean_kl == pytest.approx(layers.EQUAL_KL, rel=0.05), name
    with pytest.raises(UserError, match="balanced needs .* noise in model.norm alone"):
        nothing = population.with_sigmas([0.0] * len(population.layers))

        class Deaf:
            def measure(self, population):
                return yardstick.measure(nothing)

        layers.equal(population, Deaf(), 1e-3, {"model.norm": 1e-9})


def test_in_16_bits_what_is_rounding_is_said(tokenizer, caplog, monkeypatch):
    monkeypatch.setattr(calibrate, "NEXT_TO_NONE", 0.5)  # a quarter of the KL, as if by rounding
    half = sharp("llama").to(torch.bfloat16)
    found = calibrate.calibrate(half, tokenizer, 5e-4, text=words(0))
    assert 0.1 < found.rounding / found.kl < 0.6
    assert "is rounding of 16-bit numbers" in caplog.text
    assert calibrate.calibrate(sharp("llama"), tokenizer, 0.05, text=words(0)).rounding is None


def test_another_adapter_is_measured_anew(tokenizer):
    from peft import LoraConfig, get_peft_model

    from btrans_eval.population import fingerprint

    torch.manual_seed(0)
    lora = LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    model = get_peft_model(sharp("llama"), lora, adapter_name="a").eval()
    one = fingerprint.of_model(model)
    model.add_adapter("b", lora)
    seen = {one}
    for name in ("a", "b"):
        model.set_adapter(name)
        seen.add(fingerprint.of_model(model))
    with model.disable_adapter():
        seen.add(fingerprint.of_model(model))
    assert len(seen) == 4


def test_balance_by_hand_and_without_influence():
    found = layers.balance({"a": 0.04, "b": 0.01})
    assert found == pytest.approx({"a": 0.5**0.5, "b": 2**0.5})
    with_one = layers.balance({"a": 0.04, "none": 1e-8, "b": 0.01})
    assert with_one == {**found, "none": 0.0}
    with pytest.raises(UserError, match="balanced .* noise in none of them alone changes anything"):
        layers.balance({"a": 0.0, "b": 1e-9})
    with pytest.raises(UserError, match="balanced: noise in b alone gives no finite"):
        layers.balance({"a": 0.04, "b": float("nan")})


def test_models_that_cannot_be_measured(tokenizer):
    model = BY_NAME["llama"].build()
    with pytest.raises(UserError, match="evaluation mode"):
        calibrate.calibrate(model.train(), tokenizer, text=words(0))
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(UserError, match="not finite"):
        calibrate.calibrate(model.eval(), tokenizer, text=words(0))
    with pytest.raises(UserError, match="text: must hold a passage of at least two tokens"):
        Yardstick(model, tokenizer, "w5\n---\n<s> w5")
    with pytest.raises(UserError, match="kl: must be above 0"):
        calibrate.calibrate(model, tokenizer, 0.0)
