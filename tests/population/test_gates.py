"""Noise goes before a gate, into each norm of several, and into nothing that is no norm."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import tiny_families
import torch
from torch import nn
from torch.nn import functional

from btrans_eval import BayesianBiasWrapper, Population
from btrans_eval.errors import UserError
from btrans_eval.population.norms import find_norms, survey

WIDTH, VOCABULARY, SIGMA = 8, 16, 0.5


def rms(x: torch.Tensor) -> torch.Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


class Base(nn.Module):
    """A norm of float64 with a weight unlike 1; what it does with a gate is its subclass's."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        values = torch.linspace(-1, 2, width, dtype=torch.float64)
        self.weight = nn.Parameter(torch.where(values.abs() < 0.3, 0, values))


class SiluRMSNorm(Base):
    def forward(self, hidden_states, gate=None):
        return rms(hidden_states) * self.weight * functional.silu(gate)


class SigmoidRMSNormGated(Base):
    def forward(self, x, g):
        return self.weight * rms(x) * torch.sigmoid(g)


class OnePlusNorm(Base):
    def forward(self, x, gate):
        return rms(x) * (1 + self.weight) * torch.tanh(gate)


class LinearGateNorm(Base):
    def forward(self, x, gate):
        return rms(x) * self.weight * gate


class BiasedLayerNorm(Base):
    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.full((WIDTH,), 0.7, dtype=torch.float64))

    def forward(self, x, gate):
        normal = functional.layer_norm(x, (WIDTH,), self.weight, self.bias)
        return normal * functional.softplus(gate)


class WeightlessGatedNorm(nn.Module):
    def forward(self, x, gate):
        return rms(x) * torch.sigmoid(gate)


class GroupedGatedNorm(Base):
    def forward(self, x, gate):
        groups = x.unflatten(-1, (2, WIDTH // 2))
        return rms(groups).flatten(-2) * self.weight * functional.silu(gate)


class ShoutingRMSNORM(SiluRMSNorm):
    pass


class GateOfOneNorm(Base):
    def forward(self, x, gate):
        return rms(x) * self.weight * torch.sigmoid(gate.mean(-1, keepdim=True))


GATES = {
    SiluRMSNorm: functional.silu,
    SigmoidRMSNormGated: torch.sigmoid,
    OnePlusNorm: torch.tanh,
    LinearGateNorm: lambda gate: gate,
    BiasedLayerNorm: functional.softplus,
    WeightlessGatedNorm: torch.sigmoid,
    GroupedGatedNorm: functional.silu,
    ShoutingRMSNORM: functional.silu,
    GateOfOneNorm: lambda gate: torch.sigmoid(gate.mean(-1, keepdim=True)),
}


class GateFirstNorm(Base):
    """As in Mamba 2: what is gated is normalized."""

    def forward(self, x, gate=None):
        return self.weight * rms(x * functional.silu(gate))


class DeafNorm(Base):
    def forward(self, x, other):
        return rms(x) * self.weight


class NormOfSum(Base):
    def forward(self, x, other):
        return rms(x + other) * self.weight


class LayerNormOfSum(Base):
    def forward(self, x, other):
        return functional.layer_norm(x + 0.5 * other, (WIDTH,), self.weight)


class AddingNorm(Base):
    def forward(self, x, other):
        return rms(x) * self.weight + other


class Toy(nn.Module):
    """Tokens, a norm with a second input, and words."""

    def __init__(self, norm: nn.Module, by_name: str = "", flat: bool = False) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.embed = nn.Embedding(VOCABULARY, WIDTH, dtype=torch.float64)
        self.gate = nn.Linear(WIDTH, WIDTH, dtype=torch.float64)
        self.norm = norm
        self.by_name, self.flat = by_name, flat

    def forward(self, input_ids, **others):
        x = self.embed(input_ids)
        gate = self.gate(x)
        if self.flat:
            x, gate = x.flatten(0, 1), gate.flatten(0, 1)
        self.seen = x, gate
        calls = {
            "": lambda: self.norm(x, gate),
            "gate": lambda: self.norm(x, gate=gate),
            "all": lambda: self.norm(hidden_states=x, gate=gate),
            "reversed": lambda: self.norm(gate=gate, hidden_states=x),
        }
        y = calls[self.by_name]()
        y = y[0] + y[1] if isinstance(y, tuple) else y
        return SimpleNamespace(logits=y.view(*input_ids.shape, WIDTH))


BATCH = torch.tensor([[1, 5, 7, 2], [3, 3, 9, 4], [8, 1, 0, 6]])


@torch.no_grad()
def both(model: Toy, members=(4, 0, 2)):
    """What the model and its members say, and the bias of each."""
    population = Population(model, SIGMA)
    stock = model(BATCH).logits
    with population.members(members):
        noisy = model(BATCH).logits
    assert torch.equal(model(BATCH).logits, stock)
    z = torch.stack([torch.from_numpy(population.shift(member, 0)) for member in members])
    return stock, noisy, z.double()[:, None]


# --------------------------------------------------------------------------------- gates
@pytest.mark.parametrize("flat", [False, True], ids=["rows", "flat"])
@pytest.mark.parametrize("kind", GATES, ids=lambda kind: kind.__name__)
def test_noise_goes_before_the_gate_to_the_precision_of_float64(kind, flat):
    model = Toy(kind(), flat=flat)
    (layer,) = find_norms(model)
    assert (layer.is_gated, layer.is_flat) == (True, flat)
    stock, noisy, z = both(model)
    gate = GATES[kind](model.gate(model.embed(BATCH)).detach())
    torch.testing.assert_close(noisy, stock + z * gate, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("by_name", ["gate", "all", "reversed"])
def test_a_gate_may_be_given_by_name(by_name):
    stock, noisy, _ = both(Toy(SiluRMSNorm(), by_name))
    by_place = both(Toy(SiluRMSNorm()))
    assert torch.equal(stock, by_place[0]) and torch.equal(noisy, by_place[1])


def test_through_a_closed_gate_no_noise_comes():
    model = Toy(SigmoidRMSNormGated())
    with torch.no_grad():
        model.gate.weight.zero_()
        model.gate.bias.fill_(-50.0)
    stock, noisy, _ = both(model)
    assert (noisy - stock).abs().max() < 1e-20


@pytest.mark.parametrize(
    "kind", [GateFirstNorm, DeafNorm, NormOfSum, LayerNormOfSum], ids=lambda kind: kind.__name__
)
def test_where_no_gate_follows_noise_is_added_to_what_is_returned(kind):
    model = Toy(kind())
    assert not find_norms(model)[0].is_gated
    stock, noisy, z = both(model)
    torch.testing.assert_close(noisy, stock + z, atol=1e-12, rtol=0)


def test_what_cannot_be_placed_is_refused_and_can_be_left_out():
    model = Toy(AddingNorm())
    with pytest.raises(UserError, match="norms: norm .AddingNorm. combines its output with"):
        Population(model, SIGMA)
    model.other = nn.LayerNorm(WIDTH, dtype=torch.float64)
    model.norm.register_forward_pre_hook(lambda module, args: (model.other(args[0]), args[1]))
    assert [layer.name for layer in Population(model, SIGMA, norms="^other").layers] == ["other"]


def test_without_noise_a_gated_model_is_the_model_bit_for_bit():
    model = Toy(SiluRMSNorm())
    stock = model(BATCH).logits
    with Population(model, 0.0).members([0, 1, 2]):
        assert torch.equal(model(BATCH).logits, stock)


def test_gradients_flow_through_the_gate_of_the_noise():
    model = Toy(SiluRMSNorm())
    population = Population(model, SIGMA)
    with population.members([0, 1, 2]):
        model(BATCH).logits.sum().backward()
    found = model.gate.bias.grad.clone()
    assert model.norm.weight.grad is not None
    x = model.embed(BATCH).detach()
    z = torch.stack([torch.from_numpy(population.shift(member, 0)) for member in range(3)])
    gate = model.gate(x).detach().requires_grad_()
    normal = rms(x) * model.norm.weight.detach() + z.double()[:, None]
    (normal * functional.silu(gate)).sum().backward()
    torch.testing.assert_close(found, gate.grad.sum((0, 1)))


def test_the_papers_wrapper_knows_gates():
    model = Toy(SiluRMSNorm())
    population = Population(model, SIGMA)
    wrapper = BayesianBiasWrapper(population, "norm", rows=[4, 0, 2])
    with population.members([4, 0, 2]):
        noisy = model(BATCH).logits
    assert torch.equal(wrapper(*model.seen), noisy)


# ------------------------------------------------------------------------ families with gates
GATED = {
    "qwen3_next": "linear_attn.norm",
    "qwen3_5_text": "linear_attn.norm",
    "qwen3_5_moe_text": "linear_attn.norm",
    "olmo_hybrid": "linear_attn.o_norm",
    "kimi_linear": "self_attn.o_norm",
    "bailing_hybrid": "self_attn.o_norm",
    "lara_mini": "linear_attn.norm",
}


@pytest.mark.parametrize("family", GATED)
@torch.no_grad()
def test_gated_layers_of_families(family):
    model = tiny_families.build(family)
    population = Population(model, SIGMA, prior="scaled")
    gated = [layer for layer in population.layers if layer.is_gated]
    assert gated and all(layer.name.endswith(GATED[family]) for layer in gated)
    assert any("normalizes vectors in its own code" in note for note in population.notes)
    for layer in gated:
        index = population.layers.index(layer)
        weight = layer.module.weight.double()
        assert population.sigmas[index] == pytest.approx(
            SIGMA * float(weight.square().mean().sqrt()), rel=1e-6
        )
        x = torch.randn(layer.call.inputs[0][0], dtype=torch.float64)
        for gate, opened in ((-60.0, 0.0), (60.0, None)):
            gates = torch.full_like(x, gate)
            with population.members([1, 2]):
                noisy = layer.module(x, gates)
            off = (noisy - layer.module(x, gates)).view(2, -1, layer.width)[0, 0]
            if opened == 0.0:
                assert off.abs().max() < 1e-20
            else:  # sigmoid gives 1 and silu 60
                z = torch.from_numpy(population.shift(1, index)).double()
                ratio = off / z
                torch.testing.assert_close(ratio, ratio.mean().expand(layer.width))
                assert any(ratio.mean() == pytest.approx(each, rel=1e-6) for each in (1, 60))


class HelplessNorm(Base):
    """Needs more than its call shows."""

    def forward(self, x, gate):
        if not x.requires_grad and not hasattr(self, "seen"):
            self.seen = x
        if x is not self.seen and x.grad_fn is None:
            raise ValueError("not like this")
        return rms(x) * self.weight * gate


def test_a_norm_that_cannot_be_called_alone_is_refused_in_one_line():
    with pytest.raises(UserError, match="cannot be called alone .not like this.") as caught:
        Population(Toy(HelplessNorm()), SIGMA)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------ several norms
class PairNorm(Base):
    """As ZAYA's, of queries and keys."""

    def forward(self, x, other):
        return rms(x) * self.weight, rms(other)


class SumNorm(Base):
    """A norm of a sum, and the sum."""

    def forward(self, x, other):
        return rms(x + other) * self.weight, x + other


def test_each_of_two_norms_has_its_own_noise():
    model = Toy(PairNorm())
    assert [layer.name for layer in find_norms(model)] == ["norm.0", "norm.1"]
    assert survey(model).unusual == {"parts": ["norm.0", "norm.1"]}
    population = Population(model, SIGMA)
    with torch.no_grad():
        stock = model(BATCH).logits
        with population.members([1, 1, 1]):
            noisy = model(BATCH).logits
    z = [torch.from_numpy(population.shift(1, part)).double() for part in (0, 1)]
    assert not torch.allclose(*z)
    torch.testing.assert_close(noisy, stock + z[0] + z[1], atol=1e-12, rtol=0)
    only = Population(model, SIGMA, norms=r"\.1$")
    assert torch.equal(torch.from_numpy(only.shift(1, 0)).double(), z[1])


def test_a_sum_beside_its_norm_has_no_noise():
    model = Toy(SumNorm())
    assert [layer.name for layer in find_norms(model)] == ["norm.0"]
    stock, noisy, z = both(model)
    torch.testing.assert_close(noisy, stock + z, atol=1e-12, rtol=0)
