"""What btrans-vllm refuses before it starts vLLM, and what it does where layers are missing."""

from __future__ import annotations

import dataclasses
import types

import pytest
import small_checkpoints
import torch
import transformers
import vllm_lm
from engine import population_lm

from btrans_eval.config import PopulationConfig
from btrans_eval.errors import UserError
from btrans_eval.model_adapters.vllm import setup as vllm_setup
from btrans_eval.model_adapters.vllm import stock as vllm_stock
from btrans_eval.model_adapters.vllm.noise import Noise
from btrans_eval.population.checkpoint import Checkpoint
from btrans_eval.population.norms import find_norms


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    return small_checkpoints.save(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def no_engine(monkeypatch, tmp_path):
    monkeypatch.setattr(vllm_stock.VLLM, "__init__", lambda *a, **k: pytest.fail("vLLM started"))
    monkeypatch.setenv("BTRANS_EVAL_CACHE", str(tmp_path))


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"noise": "token"}, "noise: must be sequence in vLLM.*use --model btrans-hf"),
        ({"noise_from": "generation"}, "noise_from: must be prompt in vLLM.*btrans-hf"),
        ({"batching": "static"}, "batching: vLLM makes its own batches"),
        ({"store": "s.db", "from_store": True}, "from_store: must be false in vLLM"),
        ({"sigm": 0.1}, "sigm: no such model argument; did you mean sigma"),
        ({"tensor_paralel_size": 2}, "tensor_paralel_size: .*did you mean tensor_parallel_size"),
        ({"colour": "blue"}, "colour: neither vLLM nor the harness has such a model argument"),
        ({"worker_extension_cls": "a.B"}, "worker_extension_cls: is how members reach"),
        ({"kv_transfer_config": {"kv_connector": "X"}}, "kv_transfer_config: a cache outside"),
        ({"kv_offloading_size": 4.0}, "kv_offloading_size: a cache outside"),
        ({"tensor_parallel_size": "two"}, "tensor_parallel_size: must be a whole number"),
        ({"logprobs_mode": "processed_logprobs"}, "logprobs_mode: must be raw_logprobs, since"),
        ({"think_end_token": 7}, "think_end_token: must be the token's text in vLLM, got 7"),
        ({"dtype": "float23"}, "model_args: vLLM refuses them .*dtype"),
        ({"max_model_len": "much"}, "model_args: vLLM refuses them .*much"),
        ({"norms": "head"}, "norms: .*'head' matches none of"),
        ({"prior": "/nowhere/noise.safetensors", "sigma": None}, "prior: .* cannot be read"),
        ({"sigma": "auto"}, "sigma: auto was not measured yet .* in float32.* run btrans-eval "
         r"calibrate --model_args pretrained=\S+,dtype=float32 --kl 0.05 --output_path OUT first"),
        ({"sigma": "auto", "trust_remote_code": True}, "dtype=float32,trust_remote_code=True --kl"),
        ({"prior": "balanced"}, "prior: balanced was not measured yet"),
        ({"scheduling": "mixed", "tensor_parallel_size": 2}, "scheduling: members cannot share "
         "batches, since it was not tested with tensor_parallel_size=2, got mixed; use schedul"),
        ({"sigma": "auto", "quantization": "fp8"}, "sigma: auto .* does not see quantization"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_told_before_vllm_starts(checkpoint, no_engine, arguments, text):
    with pytest.raises(UserError, match=text) as told:
        vllm_lm.vllm_lm(checkpoint, **arguments)
    assert "\n" not in str(told.value)


def test_a_model_must_be_named_and_there(no_engine, tmp_path):
    with pytest.raises(UserError, match="pretrained: name a model"):
        vllm_lm.BTransVLLM(sigma=0.1)
    with pytest.raises(UserError, match="pretrained: must be a model on the hub or in a folder"):
        vllm_lm.vllm_lm(str(tmp_path / "missing"))


@pytest.mark.parametrize("release", ["0.31.4", "0.34.0", "1.0.0", "0.320.0", "0.330.1", "dev"])
def test_a_release_that_was_neither_tested_nor_read_is_refused(release):
    text = rf"vllm: must be 0.32.x, .* or 0.33.x, whose source was read, got {release}; use pip "
    with pytest.raises(UserError, match=text) as told:
        vllm_stock.check_release(release)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("release", ["0.32.0", "0.32.5+cu130", "0.33.0", "0.33.1+cu130"])
def test_a_release_that_was_tested_or_read_is_taken(release):
    vllm_stock.check_release(release)


@pytest.mark.parametrize("release, lines", [("0.32.5+cu130", 0), ("0.33.0", 1)])
def test_the_start_of_a_release_that_was_never_run_says_so(caplog, monkeypatch, release, lines):
    monkeypatch.setattr(vllm_stock.vllm, "__version__", release)
    monkeypatch.setattr(vllm_stock.VLLM, "__init__", lambda self, *others, **more: None)
    with caplog.at_level("WARNING", "btrans_eval.model_adapters.vllm.stock"):
        vllm_stock.StockVLLM("a/model", seed=1)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == lines
    assert all(f"vllm: starting {release}, " in line and "untested on GPUs, too: its source" in line
               for line in told)  # fmt: skip


@pytest.mark.parametrize("prior", ["isotropic", "scaled", "balanced"])
def test_sigma_is_taken_from_what_btrans_hf_has_measured(checkpoint, monkeypatch, tmp_path, prior):
    monkeypatch.setenv("BTRANS_EVAL_CACHE", str(tmp_path))
    config = PopulationConfig(prior=prior, kl=0.02)
    calibrations = vllm_setup.Calibrations(
        Checkpoint(checkpoint, {}), torch.float32, {"dtype": "float32"}
    )
    with pytest.raises(UserError, match="was not measured yet"):
        calibrations.resolve(config)
    other = population_lm(checkpoint, dtype="float32", sigma="auto", kl=0.02, prior=prior)
    sigma, scales, said = calibrations.resolve(config)
    assert sigma == other.runner.population.sigma > 0
    assert said == other.runner.calibration
    if prior == "balanced":
        layers = [layer.name for layer in other.runner.population.layers]
        assert [sigma * scales[name] for name in layers] == list(other.runner.population.sigmas)
        assert calibrations.resolve(PopulationConfig(prior=prior, sigma=0.3))[0] == 0.3
    for different in ({"kl": 0.03}, {"seed": 1}, {"norms": "residual"}):
        with pytest.raises(UserError, match="was not measured yet"):
            calibrations.resolve(dataclasses.replace(config, **different))


class Answers:
    """Engines whose workers have some layers, and whose model says the same whatever it is told.

    Args:
        found: the layers.
        reached: those whose noise changes what is said.
        weights: of layers.
        decodes: whether their noise changes single tokens, too.
    """

    def __init__(self, found, reached=(), weights=None, decodes=True):
        self.found, self.reached, self.shifts = found, reached, {}
        self.weights, self.decodes = weights or {}, decodes

    def tell(self, method, *args):
        if method == "btrans_find":
            return [[{name: at for name, at in self.found.items() if name in args[0]}]]
        if method == "btrans_weights":
            return [[self.weights]]
        (self.shifts,) = args
        return [[list(self.shifts)]]

    def forget(self):
        pass

    def generate(self, prompts, parameters, adapter):
        value = -1.0 - any(name in self.reached for name in self.shifts)
        tokens = prompts[0]["prompt_token_ids"]
        said = [None, *({token: types.SimpleNamespace(logprob=value)} for token in tokens[1:])]
        new = [3] * parameters[0].max_tokens
        generated = types.SimpleNamespace(logprob=value if self.decodes else -1.0)
        output = types.SimpleNamespace(token_ids=new, logprobs=[{3: generated}] * len(new))
        return [
            types.SimpleNamespace(prompt_logprobs=said, prompt_token_ids=tokens, outputs=[output])
        ]


def test_noise_in_some_of_the_layers_alone_is_refused(checkpoint):
    layers = find_norms(Checkpoint(checkpoint, {}).outline())
    names = [layer.name for layer in layers]
    places = {layer.name: [layer.name, layer.width] for layer in layers}

    def find(found, reached=names, **others):
        Noise(Answers(found, reached, **others), 64).find(layers, {})

    find(places)
    with pytest.raises(UserError, match=f"norms: vLLM's model lacks {names[1]} of the 5 layers"):
        find({name: place for name, place in places.items() if name != names[1]})
    with pytest.raises(UserError, match=f"{names[2]} is 64 wide in transformers and 32 in vLLM"):
        find({**places, names[2]: [names[2], 32]})
    with pytest.raises(UserError, match=f"vLLM computes {names[0]} in a way that passes"):
        find(places, names[1:])
    with pytest.raises(UserError, match="norms: with noise vLLM generates tokens otherwise"):
        find(places, decodes=False)


def test_a_weight_that_vllm_holds_otherwise_is_refused(checkpoint):
    """A factor that belongs after the noise, folded in, or channels that changed places."""
    known = Checkpoint(checkpoint, {})
    outline = known.outline()
    layers = find_norms(outline)
    names = [layer.name for layer in layers]
    places = {layer.name: [layer.name, layer.width] for layer in layers}
    weights = known.weights(outline, layers)
    assert list(weights) == names and all(w.shape == (64,) for w in weights.values())

    def find(change):
        held = {
            name: (change(w) if name == names[3] else w).numpy().astype("<f4").tobytes()
            for name, w in weights.items()
        }
        Noise(Answers(places, names, held), 64).find(layers, weights)

    for same in (lambda w: w, lambda w: 1 + w, lambda w: w.bfloat16().float()):
        find(same)
    for other in (lambda w: 1.1 * w, lambda w: w.flip(0), lambda w: w[:32]):
        with pytest.raises(UserError, match=f"vLLM holds another weight of {names[3]}"):
            find(other)


def test_channels_in_another_order_are_refused():
    from btrans_eval.population.norms import NormLayer

    layer = NormLayer("model.layers.0.self_attn.qk_norm", torch.nn.Identity(), 8)
    with pytest.raises(UserError, match="norms: vLLM orders the channels of model.layers.0"):
        vllm_setup.refuse_reordered(transformers.Llama4TextConfig(), [layer])
    vllm_setup.refuse_reordered(transformers.LlamaConfig(), [layer])


def test_layers_whose_noise_goes_elsewhere_are_refused():
    from btrans_eval.population.norms import NormLayer

    names = [f"model.layers.{place}.linear_attn.norm" for place in range(2)]
    gated = [NormLayer(name, torch.nn.Identity(), 8, is_gated=True) for name in names]
    plain = NormLayer("model.norm", torch.nn.Identity(), 8)
    with pytest.raises(UserError, match="linear_attn.norm and 1 more multiplies by a gate"):
        vllm_setup.refuse_gated([plain, *gated])
    with pytest.raises(UserError, match="norms: model.qk_norm returns several norms"):
        vllm_setup.refuse_gated([NormLayer("model.qk_norm.1", torch.nn.Identity(), 8, part=1)])
    vllm_setup.refuse_gated([plain])


def test_workers_that_do_not_take_the_noise_are_told(checkpoint):
    lm = population_lm(checkpoint, sigma=0.1)
    layers = lm.runner.population.layers
    answers = Answers({layer.name: [layer.name, layer.width] for layer in layers},
                      [layer.name for layer in layers])  # fmt: skip
    noise = Noise(answers, 64)
    noise.find(layers, {})
    tell = answers.tell
    answers.tell = lambda method, *args: [[each[0][1:]] for each in tell(method, *args)]
    with pytest.raises(RuntimeError, match="did not take the noise of"):
        noise.hold(lm.runner.population, 1)
