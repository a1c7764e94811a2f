"""verl's own engine on a CPU: packed rows, in whatever order, are their members alone."""

from __future__ import annotations

import inspect

import pytest

pytest.importorskip("verl", reason="verl is not installed (make test-verl has it)")

import tiny_checkpoint
import torch
import transformers
from accelerate import init_empty_weights
from tensordict import NonTensorStack
from verl.workers.engine import EngineRegistry, FSDPEngine, FSDPEngineWithLMHead
from verl.workers.engine.fsdp import transformer_impl
from verl_rows import batch_of, engine_of, nested, tokens

from btrans_eval import Population
from btrans_eval.errors import UserError
from btrans_eval.training.verl.engine import MembersEngine

LENGTHS, SESSIONS, FIRSTS = (9, 5, 12, 7, 10), [0, 1, 0, 1, 2], [8, 8, 12, 12, 12]
MEMBERS = [8, 9, 12, 13, 14]
ROWS = tokens(*LENGTHS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("llama")
    address = f"file://{tmp_path_factory.mktemp('group')}/store"
    torch.distributed.init_process_group("gloo", init_method=address, rank=0, world_size=1)
    yield tiny_checkpoint.save(place)
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def engine(folder):
    return engine_of(folder)


@pytest.fixture(scope="module")
def alone(folder):
    """The same model, and for each row its log-probabilities under its member."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa")
    population = Population(model, sigma=0.3, seed=5)

    def probabilities(row, member):
        with population.members([member]):
            logits = model(row[None]).logits[0, :-1]
        return logits.log_softmax(-1).gather(1, row[1:, None])[:, 0]

    return model, probabilities


def loss(model_output, data, dp_group=None):
    """Tokens weighted unevenly, so that none cancels another."""
    found = 0.0
    for row in model_output["log_probs"].unbind():
        found = found + (row[:-1] * torch.linspace(0.5, 1.5, len(row) - 1)).sum()
    return found, {}


def gradient(engine, data):
    engine.optimizer_zero_grad()
    with engine.train_mode(zero_grad_on_exit=False):
        engine.forward_backward_batch(data, loss)
    return {name: p.grad.full_tensor().clone() for name, p in engine.module.named_parameters()}


def gradient_alone(alone, members):
    model, probabilities = alone
    model.zero_grad()
    for row, member in zip(ROWS, members, strict=True):
        found = probabilities(row, member)
        (found * torch.linspace(0.5, 1.5, len(found))).sum().backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def apart(one, other):
    """Relative difference of two gradients."""
    assert set(one) == set(other)
    gap = sum((one[name] - other[name]).square().sum() for name in one)
    return float((gap / sum(each.square().sum() for each in other.values())).sqrt())


def free(engine):
    return not any(layer.module._forward_hooks for layer in engine.population.layers)


@pytest.mark.parametrize("at_once", [24, 1000], ids=["several batches", "one"])
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "padded"])
def test_the_update_is_that_of_rows_alone(engine, alone, at_once, packed):
    data = batch_of(ROWS, SESSIONS, FIRSTS, tokens_at_once=at_once, packed=packed)
    found = gradient(engine, data)
    assert apart(found, gradient_alone(alone, MEMBERS)) < 1e-5
    assert apart(found, gradient_alone(alone, [8, 9, 12, 14, 13])) > 0.01
    assert free(engine)


def test_padding_to_a_length_changes_nothing(folder, alone):
    padded = engine_of(folder, pad_to_length=True, pad_to_length_bucket=16)
    found = gradient(padded, batch_of(ROWS, SESSIONS, FIRSTS))
    assert apart(found, gradient_alone(alone, MEMBERS)) < 1e-5


def test_left_before_the_backward_pass_the_gradient_is_wrong(engine, alone, monkeypatch):
    """And nothing says so: checkpointed layers run again, without noise."""
    step = type(engine).forward_step

    def leaves(self, *args, **kwargs):
        found = step(self, *args, **kwargs)
        self._bound.close()
        return found

    monkeypatch.setattr(type(engine), "forward_step", leaves)
    found = gradient(engine, batch_of(ROWS, SESSIONS, FIRSTS))
    assert apart(found, gradient_alone(alone, MEMBERS)) > 0.01


def test_fixed_members_are_sessions(folder, alone):
    fixed = engine_of(folder, btrans="sigma=0.3,seed=5,members=fixed")
    found = gradient(fixed, batch_of(ROWS, SESSIONS, None))
    assert apart(found, gradient_alone(alone, SESSIONS)) < 1e-5


def sampled(alone, members):
    _, probabilities = alone
    with torch.no_grad():
        return nested(probabilities(row, m)[-3:] for row, m in zip(ROWS, members, strict=True))


def old(engine, data):
    with engine.eval_mode():
        return engine.infer_batch(data)["model_output"]["log_probs"]


def test_old_probabilities_are_members_and_rollouts_under_others_stop_the_run(engine, alone):
    own, clean = sampled(alone, MEMBERS), sampled(alone, [0] * 5)
    found = old(engine, batch_of(ROWS, SESSIONS, FIRSTS, rollout_log_probs=own))
    for row, then in zip(found.unbind(), own.unbind(), strict=True):
        assert torch.allclose(row[-4:-1], then, atol=1e-5)
    with pytest.raises(UserError, match="on-policy check: log-probabilities of generation 1 diffe"):
        old(engine, batch_of(ROWS, SESSIONS, FIRSTS, rollout_log_probs=clean))
    with pytest.raises(UserError, match="calculate_log_probs: must be True"):
        old(engine, batch_of(ROWS, SESSIONS, FIRSTS))
    assert free(engine)


def test_the_reference_has_the_same_members_and_is_not_compared(folder, alone):
    """The adapter is off; what was sampled with it is no measure of it."""
    tuned = engine_of(folder, model={"lora_rank": 2, "target_modules": "all-linear"})
    for name, parameter in tuned.module.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter.data, std=0.5)
    own = sampled(alone, MEMBERS)
    data = batch_of(ROWS, SESSIONS, FIRSTS, rollout_log_probs=sampled(alone, [0] * 5))
    with tuned.disable_adapter():
        reference = old(tuned, data)
    for row, then in zip(reference.unbind(), own.unbind(), strict=True):
        assert torch.allclose(row[-4:-1], then, atol=1e-5)
    with pytest.raises(UserError, match="on-policy check"):
        old(tuned, batch_of(ROWS, SESSIONS, FIRSTS, rollout_log_probs=own))


def test_a_reference_of_its_own_is_not_compared(folder, alone, monkeypatch):
    """Its memory is pinned, which wants a GPU, and is not here."""
    policy = transformer_impl.CPUOffloadPolicy
    monkeypatch.setattr(
        transformer_impl, "CPUOffloadPolicy", lambda pin_memory: policy(pin_memory=False)
    )
    reference = engine_of(folder, forward_only=True)
    found = old(reference, batch_of(ROWS, SESSIONS, FIRSTS))
    for row, then in zip(found.unbind(), sampled(alone, MEMBERS).unbind(), strict=True):
        assert torch.allclose(row[-4:-1], then, atol=1e-5)


def test_checks_may_be_rarer_or_none(folder):
    clean = nested([torch.zeros(3)] * 5)
    rare = engine_of(folder, btrans="sigma=0.3,seed=5,check_every=2")
    with pytest.raises(UserError, match="on-policy check"):  # of step 1
        old(rare, batch_of(ROWS, SESSIONS, FIRSTS, rollout_log_probs=clean))
    second = batch_of(ROWS, SESSIONS, FIRSTS, rollout_log_probs=clean)
    second["global_steps"] = NonTensorStack(*[2] * 5)
    old(rare, second)
    old(engine_of(folder, btrans="sigma=0.3,seed=5,check_every=0"),
        batch_of(ROWS, SESSIONS, FIRSTS))  # fmt: skip


def test_rows_that_do_not_tell_their_member_are_refused(engine):
    with pytest.raises(UserError, match="btrans_first with members=fresh; set .*agent_loop_manag"):
        gradient(engine, batch_of(ROWS, SESSIONS, None))
    data = batch_of(ROWS, SESSIONS, FIRSTS)
    del data["session_id"]
    with pytest.raises(UserError, match="session_id, .* set trainer.use_v1=True"):
        gradient(engine, data)
    assert free(engine)


@pytest.mark.parametrize(
    "given, says",
    [
        ({"btrans": None}, "override_config.btrans: must say which population, got None"),
        ({"btrans": "sigma=0.3,prior=scaled"}, "prior: must be isotropic or a .safetensors file"),
        ({"ulysses_sequence_parallel_size": 2}, "ulysses_sequence_parallel_size: must be 1"),
        ({"model": {"use_liger": True}}, "use_liger: must be False"),
    ],
)
def test_refused_before_a_model_is_loaded(folder, monkeypatch, given, says):
    def build(self):
        pytest.fail("a model was loaded")

    # one process cannot have two that share a row
    monkeypatch.setattr(MembersEngine, "_init_device_mesh", lambda self: None)
    monkeypatch.setattr(FSDPEngineWithLMHead, "_build_module", build)
    with pytest.raises(UserError, match=says):
        engine_of(folder, **given)


def test_dropout_is_refused(folder):
    with pytest.raises(UserError, match="dropout: must be 0"):
        engine_of(folder, overrides={"attention_dropout": 0.1})


def test_what_is_private_in_verl_is_there():
    """`MembersEngine` overrides these, or reads them; another release may have others."""
    for name in ("_build_module", "prepare_model_inputs", "forward_backward_batch", "forward_step",
                 "disable_adapter"):  # fmt: skip
        assert callable(getattr(FSDPEngineWithLMHead, name))
    source = inspect.getsource(FSDPEngine)
    assert "self._autocast_dtype = param_dtype" in source
    # forward_backward_batch goes back between the forward pass of a part and the next one's
    body = inspect.getsource(FSDPEngine.forward_backward_batch)
    assert body.index("self.forward_step(") < body.index("loss.backward()")


def test_verl_finds_the_engine_and_its_own_stays_that_of_other_vendors(monkeypatch):
    for strategy in ("fsdp", "fsdp2"):
        assert EngineRegistry.get_engine_cls("language_model", strategy) is MembersEngine
    monkeypatch.setenv("VERL_ENGINE_VENDOR", "another")
    assert EngineRegistry.get_engine_cls("language_model", "fsdp2") is FSDPEngineWithLMHead


def test_fsdp_of_the_first_kind_takes_no_cpu(folder):
    """So that strategy=fsdp was not run here; where this changes it can be."""
    with pytest.raises(ValueError, match="requires them to be on GPU"):
        engine_of(folder, strategy="fsdp")


def test_other_processes_find_the_norms_though_they_have_no_weights(folder, engine, monkeypatch):
    """verl loads them in the first process of a group alone, and the others hold shapes."""
    monkeypatch.setattr(
        transformer_impl, "get_init_weight_context_manager", lambda **given: init_empty_weights
    )
    other = engine_of(folder, is_loaded=False)
    module = other._build_module()
    assert all(parameter.is_meta for parameter in module.parameters())
    names = [layer.name for layer in engine.population.layers]
    assert [layer.name for layer in other.population.layers] == names and len(names) == 5
    for place in range(5):
        assert (other.population.shift(3, place) == engine.population.shift(3, place)).all()
