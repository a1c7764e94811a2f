"""Which modules are norms, which of them carry noise, and that nothing is left out in silence."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import tiny_families
import torch
import transformers
from engine import population_lm
from models import BY_NAME
from test_gates import Base, SiluRMSNorm, Toy, rms
from tiny_checkpoint import save
from torch import nn

from btrans_eval import Population
from btrans_eval.errors import UserError
from btrans_eval.population import calibrate, layers, measurements
from btrans_eval.population.norms import find_norms, is_norm, survey

SIGMA = 0.2


def named(name: str) -> nn.Module:
    return type(name, (nn.Module,), {})()


@pytest.mark.parametrize(
    "name",
    [
        "RMSNorm", "LlamaRMSNorm", "RMSnorm", "Layernorm", "LayerNorm", "RMSNORM", "Rmsnorm",
        "LayernormWithBias", "LayerNormalization", "RmsNormalization", "MyRMSnorm2", "L2Norm",
        "RMSNormGated", "norm",
    ],
)  # fmt: skip
def test_norms_by_name(name):
    assert is_norm(named(name))


@pytest.mark.parametrize(
    "name",
    [
        "NormHead", "NormalizedLinear", "Normalizer", "BatchNorm1d", "Batchnorm", "SyncBatchNorm",
        "InstanceNorm1d", "Groupnorm", "Normal", "EnormousMLP", "Linear", "Enormous", "Renormed",
    ],
)  # fmt: skip
def test_no_norms_by_name(name):
    assert not is_norm(named(name))


def test_a_layer_norm_by_another_name_is_one():
    class Balance(nn.LayerNorm):
        pass

    assert is_norm(Balance(4)) and is_norm(type("Rms", (nn.RMSNorm,), {})(4))


# ----------------------------------------------------------------------- what is not reached
class Late(nn.Module):
    """Two norms, one of which comes into play after so many tokens."""

    def __init__(self, after: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.config = SimpleNamespace(max_position_embeddings=4096)
        self.embed = nn.Embedding(16, 8)
        self.first_norm = nn.RMSNorm(8)
        self.late_norm = nn.RMSNorm(8)
        self.after = after

    def forward(self, input_ids, **others):
        x = self.first_norm(self.embed(input_ids))
        if input_ids.shape[1] > self.after:
            x = x + self.late_norm(x[:, :: self.after])[:, -1:]
        return SimpleNamespace(logits=x)


def ids(length: int) -> torch.Tensor:
    return torch.randint(16, (2, length), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_a_norm_that_a_longer_pass_reaches_carries_noise():
    model = Late(after=128)
    population = Population(model, SIGMA)
    assert [layer.name for layer in population.layers] == ["first_norm", "late_norm"]
    assert survey(model).unusual == {"late": ["late_norm"]}
    assert not population.notes
    only = Population(model, SIGMA, norms="late")
    with only.members([3, 4]):
        assert torch.equal(model(ids(20)).logits, Late(128)(ids(20)).logits)
        noisy = model(ids(150)).logits
    z = torch.stack([torch.from_numpy(only.shift(member, 0)) for member in (3, 4)])
    torch.testing.assert_close(noisy - model(ids(150)).logits, z[:, None].expand(2, 150, 8))


@torch.no_grad()
def test_a_norm_that_no_pass_reached_raises_when_it_is_called_under_noise():
    model = Late(after=600)
    population = Population(model, SIGMA)
    assert [layer.name for layer in population.layers] == ["first_norm"]
    assert any("does not reach" in note and "late_norm" in note for note in population.notes)
    with pytest.raises(UserError, match="norms: late_norm was chosen but carries no noise"):
        with population.members([0, 1]):
            model(ids(300))
            model(ids(700))
    model(ids(700))
    assert not any(module._forward_hooks for module in model.modules())
    with Population(model, SIGMA, norms="first").members([0, 1]):
        model(ids(700))  # it was not chosen
    with Population(model, 0.0).members([0, 1]):
        model(ids(700))  # there is no noise


@torch.no_grad()
def test_the_compressors_of_deepseek_v4_carry_noise_that_decoding_keeps():
    model = tiny_families.build("deepseek_v4")
    population = Population(model, SIGMA)
    late = survey(model).unusual["late"]
    assert any(name.endswith("compressor.kv_norm") for name in late)
    only = Population(model, SIGMA, norms="|".join(map(str, late)))
    batch = torch.randint(3, 90, (2, 125), generator=torch.Generator().manual_seed(1))
    settings = {"min_new_tokens": 9, "max_new_tokens": 9, "do_sample": False}
    for each in (population, only):
        with each.members([1, 2]):
            generated = model.generate(
                input_ids=batch, attention_mask=torch.ones_like(batch), output_logits=True,
                return_dict_in_generate=True, **settings,
            )  # fmt: skip
            whole = model(generated.sequences, use_cache=False).logits
        steps = torch.stack(generated.logits, dim=1)
        torch.testing.assert_close(whole[:, 124:-1].to(steps), steps, atol=1e-4, rtol=0)
    stock = model(generated.sequences, use_cache=False).logits
    assert (stock - whole)[:, -1].abs().max() > 1e-4  # noise in the compressors alone


@pytest.mark.parametrize(
    "family", ["qwen3_next", "zaya", "hy_v4", "deepseek_v4", "mamba2", "xlstm", "kimi_linear"]
)
def test_an_outline_without_weights_is_surveyed_as_the_model(family):
    model = tiny_families.build(family)
    with torch.device("meta"):
        outline = transformers.AutoModelForCausalLM.from_config(model.config).to(torch.bfloat16)
    here, there = survey(model), survey(outline.eval())
    assert [replace(each, module=None, call=None) for each in here.layers] == [
        replace(each, module=None, call=None) for each in there.layers
    ]
    assert here.unusual == there.unusual and list(here.functions) == list(there.functions)


class Experts(nn.Module):
    """A norm for each of two experts; token 1 and its like go to the second."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace()
        self.embed = nn.Embedding(16, 8)
        self.norm = nn.RMSNorm(8)
        self.expert_norms = nn.ModuleList([nn.RMSNorm(8), nn.RMSNorm(8)])

    def forward(self, input_ids, **others):
        x = self.norm(self.embed(input_ids)).flatten(0, 1)
        kinds = input_ids.flatten() % 2
        for kind, norm in enumerate(self.expert_norms):
            if (kinds == kind).any():
                x = x.clone()
                x[kinds == kind] = norm(x[kinds == kind])
        return SimpleNamespace(logits=x.view(*input_ids.shape, 8))


def test_norms_of_experts_whose_tokens_have_left_their_rows_are_refused():
    model = Experts()
    with pytest.raises(UserError, match="norms: expert_norms.1 is given tokens of a batch apart"):
        Population(model, SIGMA)
    assert [layer.name for layer in Population(model, SIGMA, norms="^norm").layers] == ["norm"]


# ---------------------------------------------------------------------------- what is no norm
def test_what_returns_the_scale_is_left_out_and_told():
    model = tiny_families.build("hy_v4")
    population = Population(model, SIGMA)
    assert all(layer.width > 1 for layer in population.layers)
    left = survey(model).unusual["no norms"]
    assert left and all(type(model.get_submodule(n)).__name__ == "HYV4UnweightedRMSNorm"
                        for n in left)  # fmt: skip
    assert [note for note in population.notes if "less than a vector" in note and left[0] in note]


class OwnNorms(nn.Module):
    """Normalizes in its own code, in one of several ways."""

    def __init__(self, how) -> None:
        super().__init__()
        self.how = how

    def forward(self, x, gate):
        return self.how(x)


FUNCTIONS = {
    "rsqrt": lambda x: x * torch.rsqrt((x * x).sum(-1, keepdim=True) + 1e-6),
    "sqrt": lambda x: x / (x * x).mean(-1, keepdim=True).sqrt(),
    "torch.sqrt": lambda x: x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5),
    "norm": lambda x: x / x.norm(dim=-1, keepdim=True),
    "vector_norm": lambda x: x / torch.linalg.vector_norm(x, dim=-1, keepdim=True),
    "linalg.norm": lambda x: x / torch.linalg.norm(x, dim=-1, keepdim=True),
    "normalize": lambda x: nn.functional.normalize(x, dim=-1),
    "layer_norm": lambda x: nn.functional.layer_norm(x, x.shape[-1:]),
    "rms_norm": lambda x: nn.functional.rms_norm(x, x.shape[-1:]),
}


@pytest.mark.parametrize("how", FUNCTIONS)
def test_norms_that_are_functions_are_told(how):
    model = Toy(OwnNorms(FUNCTIONS[how]))
    model.last = nn.RMSNorm(8, dtype=torch.float64)
    model.norm.register_forward_hook(lambda module, args, output: model.last(output))
    (note,) = Population(model, SIGMA).notes
    assert "OwnNorms normalizes vectors in its own code" in note and note.endswith(": norm")


@pytest.mark.parametrize(
    "how", [torch.sigmoid, lambda x: x.square().sqrt(), lambda x: x / x.sum(-1, keepdim=True)]
)
def test_what_does_not_normalize_is_not_told(how):
    model = Toy(OwnNorms(how))
    model.last = nn.RMSNorm(8, dtype=torch.float64)
    model.norm.register_forward_hook(lambda module, args, output: model.last(output))
    assert not Population(model, SIGMA).notes


def test_the_l2norm_of_a_kernel_is_told_by_its_name():
    class Delta(nn.Module):
        def forward(self, x, gate):
            return (lambda x, use_qk_l2norm_in_kernel: x)(x, use_qk_l2norm_in_kernel=True)

    model = Toy(Delta())
    model.last = nn.RMSNorm(8, dtype=torch.float64)
    model.norm.register_forward_hook(lambda module, args, output: model.last(output))
    (note,) = Population(model, SIGMA).notes
    assert "Delta normalizes" in note


# ------------------------------------------------------------------- digests, keys and results
GOLDEN = {
    "llama": "1479445ad36236df4d0c872d1e14ebd7abe20d8618c237beaa2a01a84e72c28d",
    "qwen3": "042ef917d29a255470c15ef462099543c120845a36aeba26802749d9777cef9b",
    "gemma2": "686d2834f1157bb99231b0f4385b2de85daf61e24cac9fa73827ef9c1debde67",
    "gpt2": "04fdc12debdb1c723da5bc7cf1086a968d56a395edf0b3f27b7796bbf0e495e6",
    "olmo2": "4d85bb0985afe8bfbc8f2014407286920d2eef50f21766355e83d824240d816a",
    "falcon": "22b435a34d77a8f29aa15339e466f342024fe05f92cfc09e3e3820a0169337fa",
}


@pytest.mark.parametrize("family", GOLDEN)
def test_stores_of_earlier_releases_hold(family):
    model = BY_NAME[family].build()
    assert Population(model, 0.1).digest() == GOLDEN[family]
    assert not survey(model).unusual and not Population(model, 0.1).notes


def test_calibrations_of_earlier_releases_hold_where_nothing_is_unusual():
    weights = measurements.Weights("0" * 64, "torch.float32", "1" * 64)
    settings = {"noise": "sequence", "norms": "all", "seed": 0}
    facts = measurements.key(weights, "some text", settings, {})
    assert (
        measurements.cache_folder._file(facts).name == "noise_6b07f997c67cd22d1074cb27a9027b28.json"
    )
    other = measurements.key(weights, "some text", settings, {"gated": ["norm"]})
    assert (
        measurements.cache_folder._file(other).name != measurements.cache_folder._file(facts).name
    )


def test_the_placement_of_gated_layers_is_in_digest_and_key():
    class PlainNorm(Base):
        def forward(self, x, gate):
            return rms(x) * self.weight

    gated, plain = Toy(SiluRMSNorm()), Toy(PlainNorm())
    assert [layer.name for layer in find_norms(gated)] == [each.name for each in find_norms(plain)]
    assert Population(gated, 0.1).digest() != Population(plain, 0.1).digest()
    assert survey(gated).unusual == {"gated": ["norm"]} and not survey(plain).unusual
    assert survey(gated, "^norm$").unusual == {"gated": ["norm"]}


def test_another_spelling_is_in_the_key():
    class RMSnorm(Base):
        def forward(self, x, gate):
            return rms(x) * self.weight

    assert survey(Toy(RMSnorm())).unusual == {"spelled": ["norm"]}


def test_results_name_what_carries_no_noise(tmp_path, monkeypatch, caplog):
    lm = population_lm(save(tmp_path))
    assert lm.get_model_info()["btrans"]["norms_without_noise"] == []
    note = "norms: something normalizes vectors in its own code"
    monkeypatch.setattr(Population, "notes", [note])
    lm.become(lm.population_config, None)
    assert lm.get_model_info()["btrans"]["norms_without_noise"] == [note]
    assert note in caplog.text


# ------------------------------------------------------------------ layers without influence
class Deaf(nn.Module):
    """A language model with a norm that changes nothing: keys without a rotation, shifted alike."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.config = SimpleNamespace(to_dict=dict)
        self.embed = nn.Embedding(32, 16)
        self.in_norm, self.k_norm = nn.RMSNorm(16), nn.RMSNorm(16)
        self.head = nn.Linear(16, 32)

    def forward(self, input_ids, **others):
        x = self.in_norm(self.embed(input_ids))
        scores = x @ self.k_norm(x).transpose(-1, -2)
        mask = torch.full_like(scores, -1e4).triu(1)
        return SimpleNamespace(logits=self.head(torch.softmax(scores + mask, -1) @ x))


class Numbers:
    """A tokenizer of numbers."""

    bos_token_id = None

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": [int(word) for word in text.split()]}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_layer_without_influence_is_left_out_by_what_is_measured(dtype, monkeypatch):
    monkeypatch.setattr(calibrate, "weights_of", lambda *args: None)
    model = Deaf().eval().to(dtype)
    text = " ".join(str(7 * n % 31) for n in range(60))
    scales = calibrate.balanced_scales(model, Numbers(), text)
    assert scales["k_norm"] == 0.0 and scales["in_norm"] == pytest.approx(1.0)
    population = Population(model, SIGMA, prior="balanced", scales=scales)
    assert population.notes == ["prior: these layers change nothing and carry no noise: k_norm"]
    assert not Population(model, 0.0, prior="balanced", scales=scales).notes
    assert layers.centered(scales) == scales
