"""Members in trl's GRPO trainer: who answers, who is updated, and that they are the same."""

from __future__ import annotations

import pytest
import torch
from toy import PROMPTS, InFloat64, made, weights
from trl import GRPOTrainer

from btrans_eval import Population
from btrans_eval.config import PopulationConfig
from btrans_eval.errors import UserError
from btrans_eval.population.norms import unwrap
from btrans_eval.training import BTransGRPOTrainer, Rollouts
from btrans_eval.training.onpolicy import padded


@pytest.mark.parametrize("update", ["member", "clean"])
@pytest.mark.parametrize("given", [{}, {"beta": 0.1, "num_iterations": 2, "max_steps": 4}])
def test_without_noise_it_is_trl_bit_for_bit(tmp_path, given, update):
    stock = made(tmp_path / "stock", kind=GRPOTrainer, **given)
    stock.train()
    ours = made(tmp_path / "ours", sigma=0.0, rollouts=Rollouts(update=update), **given)
    ours.train()
    assert stock.state.log_history[0]["reward"] == ours.state.log_history[0]["reward"]
    before = made(tmp_path / "before", kind=GRPOTrainer)
    for name, value in weights(stock).items():
        assert torch.equal(value, weights(ours)[name])
    assert any(not torch.equal(v, weights(before)[n]) for n, v in weights(stock).items())


class Recorded(BTransGRPOTrainer):
    """Remembers which member each row had when it was generated, and when it was updated."""

    def __init__(self, *args, **given):
        self.generated, self.updated = [], []
        super().__init__(*args, **given)

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        self.generated.append(rows_of(output))
        return output

    def compute_loss(self, model, inputs, *args, **kwargs):
        self.updated.append(rows_of(inputs))
        return super().compute_loss(model, inputs, *args, **kwargs)


def rows_of(batch):
    return [
        (tuple(prompt), tuple(said), int(member), round(float(advantage.sum()), 6))
        for prompt, said, member, advantage in zip(
            batch["prompt_ids"].tolist(),
            batch["completion_ids"].tolist(),
            batch["member"],
            batch["advantages"],
            strict=True,
        )
    ]


@pytest.mark.parametrize("iterations", [1, 2])
def test_members_follow_their_rows_through_shuffle_and_split(tmp_path, iterations):
    trainer = made(
        tmp_path, kind=Recorded, steps_per_generation=4, num_iterations=iterations,
        gradient_accumulation_steps=2, max_steps=4 * iterations,
    )  # fmt: skip
    trainer.train()
    assert [len(rows) for rows in trainer.generated] == [16, 16]
    for number, rows in enumerate(trainer.generated):
        assert [member for _, _, member, _ in rows] == list(range(16 * number, 16 * number + 16))
        batches = trainer.updated[number * 4 * iterations : (number + 1) * 4 * iterations]
        updated = [row for batch in batches for row in batch]
        assert sorted(updated) == sorted(rows * iterations)
        assert [r for b in batches[:4] for r in b] != rows  # trl has shuffled them


def test_fixed_members_are_the_same_in_every_group(tmp_path):
    trainer = made(tmp_path, kind=Recorded, rollouts=Rollouts(members="fixed"))
    trainer.train()
    for rows in trainer.generated:
        assert [member for _, _, member, _ in rows] == [0, 1, 2, 3, 0, 1, 2, 3]


def alone(trainer, batch, population):
    """Gradients of the loss dapo, one window of accumulation, row by row, and nothing of trl."""
    model, found = unwrap(trainer.model), {}
    prompts, said = batch["prompt_ids"], batch["completion_ids"]
    total = batch["num_items_in_batch"]
    for row in range(len(prompts)):
        ids = torch.cat([prompts[row], said[row]])[None]
        mask = torch.cat([batch["prompt_mask"][row], batch["completion_mask"][row]])[None]
        with population.members([int(batch["member"][row])]):
            logits = model(input_ids=ids, attention_mask=mask).logits[0, len(prompts[row]) - 1 : -1]
            logps = logits.log_softmax(-1).gather(1, said[row][:, None])[:, 0]
            ratio = torch.exp(logps - logps.detach())
            loss = -(ratio * batch["advantages"][row] * batch["completion_mask"][row]).sum() / total
            loss.backward()
    for name, parameter in trainer.model.named_parameters():
        if parameter.grad is not None:
            found[name] = parameter.grad.clone()
    return found


class Kept(Recorded):
    """Keeps what it was given, and takes no step."""

    def __init__(self, *args, **given):
        self.batches, self.grads = [], {}
        super().__init__(*args, **given)

    def compute_loss(self, model, inputs, *args, **kwargs):
        self.batches.append({name: value.clone() for name, value in inputs.items()})
        return super().compute_loss(model, inputs, *args, **kwargs)

    def training_step(self, *args, **kwargs):
        loss = super().training_step(*args, **kwargs)
        for name, parameter in self.model.named_parameters():
            if parameter.grad is not None:
                self.grads[name] = parameter.grad.clone()
        return loss


class LeavesEarly(Kept):
    def compute_loss(self, *args, **kwargs):
        loss = super().compute_loss(*args, **kwargs)
        self._binding.close()
        return loss


def gradient_difference(tmp_path, kind=Kept, **given):
    trainer = made(tmp_path, kind=kind, double=True, max_steps=1, **given)
    trainer.train()
    whole = {
        name: torch.cat([batch[name] for batch in trainer.batches])
        for name in ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask",
                     "advantages", "member")
    }  # fmt: skip
    whole["num_items_in_batch"] = trainer.batches[0]["num_items_in_batch"]
    found = trainer.grads
    again = made(tmp_path, double=True, **given)  # the weights before the step
    expected = alone(again, whole, again.population)
    assert found.keys() == expected.keys() and len(found) > 4
    apart = sum(float((found[n] - expected[n]).norm() ** 2) for n in found) ** 0.5
    return apart / sum(float(v.norm() ** 2) for v in expected.values()) ** 0.5


class Exact(InFloat64, Kept):
    pass


@pytest.mark.parametrize("family", ["falcon", "gpt-neox"])  # others' norms are float32
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_are_those_of_rows_alone(tmp_path, checkpointing, family):
    given = {"gradient_checkpointing": checkpointing, "family": family}
    assert gradient_difference(tmp_path, Exact, **given) < 1e-10


@pytest.mark.parametrize("family", ["llama", "qwen3", "olmo2"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_are_those_of_rows_alone_up_to_float32(tmp_path, checkpointing, family):
    given = {"gradient_checkpointing": checkpointing, "family": family}
    assert gradient_difference(tmp_path, **given) < 1e-6


def test_hooks_that_leave_before_backward_are_told_from_those_that_stay(tmp_path):
    given = {"gradient_checkpointing": True, "family": "falcon"}
    assert gradient_difference(tmp_path, type("Early", (LeavesEarly, Exact), {}), **given) > 0.01


# ----------------------------------------------------------------------- the on-policy check
@pytest.mark.parametrize(
    "given",
    [
        {"gradient_accumulation_steps": 4},
        {"gradient_checkpointing": True},
        {"num_iterations": 2, "max_steps": 4},
        {"top_p": 0.5},
        {"top_k": 3, "temperature": 0.7},
        {"beta": 0.1, "steps_per_generation": 4, "max_steps": 4},
        {"rollouts": Rollouts(update="clean", check_every=1)},
        {"rollouts": Rollouts(members="fixed", schedule="exponential", check_every=1)},
        {"population": PopulationConfig(sigma=0.3, noise="token")},
        {"watch": lambda: lambda tokens: len(tokens) > 2 and tokens[-1] % 3 == 0},
        {"bf16": True},
    ],
    ids=lambda given: "-".join(given),
)
def test_right_runs_are_not_stopped(tmp_path, given):
    given = {"rollouts": Rollouts(check_every=1), **given}
    trainer = made(tmp_path, **given)
    trainer.train()
    apart = [line["on_policy_difference"] for line in trainer.state.log_history if "reward" in line]
    assert len(apart) >= 2 and max(apart) < (0.05 if given.get("bf16") else 1e-5)


class Forgets(BTransGRPOTrainer):
    """Generates as the clean model, and updates under members."""

    def _generate_single_turn(self, *args, **kwargs):
        hooks = [dict(module._forward_hooks) for module in unwrap(self.model).modules()]
        modules = list(unwrap(self.model).modules())
        for module in modules:
            module._forward_hooks.clear()
        try:
            return super()._generate_single_turn(*args, **kwargs)
        finally:
            for module, own in zip(modules, hooks, strict=True):
                module._forward_hooks.update(own)


class Mixes(BTransGRPOTrainer):
    """Scores each row under its neighbour's member."""

    def _passed(self, output):
        self._binding.close()
        output = {n: v.roll(1, 0) if v.ndim and n != "advantages" else v for n, v in output.items()}
        return super()._passed(output).roll(-1, 0)


@pytest.mark.parametrize("kind", [Forgets, Mixes])
def test_a_member_that_was_forgotten_stops_training(tmp_path, kind):
    with pytest.raises(UserError, match="what would be updated is not what answered"):
        made(tmp_path, kind=kind).train()


def test_a_model_whose_update_counts_padding_as_positions_is_stopped(tmp_path):
    """trl gives its passes no positions, and GPT-2 learns one for each place in the row."""
    with pytest.raises(UserError, match="what would be updated is not what answered"):
        made(tmp_path, family="gpt2").train()
    made(tmp_path, family="gpt2", prompts=["w5 w6"] * 4).train()  # without padding it is right


# ------------------------------------------------------------------------------ clean updates
class Weighed(Kept):
    limit = None

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        self.sampled = padded(self._likelihoods, output["completion_ids"])
        self.passed = self._passed(output)
        return output


def test_importance_weights_are_of_the_member_that_generated(tmp_path):
    rollouts = Rollouts(update="clean", weight_limit=1.5)
    trainer = made(tmp_path, kind=Weighed, rollouts=rollouts, double=True, max_steps=1,
                   gradient_accumulation_steps=1, steps_per_generation=1, sigma=3.0)  # fmt: skip
    trainer.train()
    (batch,) = trainer.batches
    again = made(tmp_path, rollouts=rollouts, double=True, sigma=3.0)
    model, truncated = unwrap(again.model), 0
    for row in range(4):
        ids = torch.cat([batch["prompt_ids"][row], batch["completion_ids"][row]])[None]
        mask = torch.cat([batch["prompt_mask"][row], batch["completion_mask"][row]])[None]

        def logps(ids=ids, mask=mask, row=row):
            logits = model(input_ids=ids, attention_mask=mask).logits[0, :-1].log_softmax(-1)
            said = batch["completion_ids"][row]
            return logits[-len(said) :].gather(1, said[:, None])[:, 0]

        with torch.no_grad():
            clean = logps()
            with again.population.members([int(batch["member"][row])]):
                noisy = logps()
        kept = batch["completion_mask"][row].bool()
        expected = (clean - noisy).exp().clamp(max=1.5)[kept].float()
        found = batch["advantages"][row][kept]
        advantage = found[0] / expected[0]  # one for all tokens of a row
        assert torch.allclose(found, advantage * expected, atol=1e-5) and advantage.abs() > 1e-3
        truncated += int((expected == 1.5).sum())
    assert truncated


def test_a_corrected_gradient_is_not_the_uncorrected_one(tmp_path):
    def gradients(limit):
        trainer = made(tmp_path, kind=Kept, double=True, max_steps=1, sigma=3.0,
                       rollouts=Rollouts(update="clean", weight_limit=limit))  # fmt: skip
        trainer.train()
        return torch.cat([v.flatten() for v in trainer.grads.values()])

    class Uncorrected(Kept):
        def _correct(self, output):
            pass

    bare = made(tmp_path, kind=Uncorrected, double=True, max_steps=1, sigma=3.0,
                rollouts=Rollouts(update="clean"))  # fmt: skip
    bare.train()
    uncorrected = torch.cat([v.flatten() for v in bare.grads.values()])
    tight, loose = gradients(1.1), gradients(10.0)
    for one, other in ((tight, uncorrected), (tight, loose), (loose, uncorrected)):
        assert (one - other).norm() > 0.01 * other.norm()


def test_a_clean_update_is_bound_to_nobody(tmp_path):
    class Looks(Kept):
        def compute_loss(self, model, inputs, *args, **kwargs):
            loss = super().compute_loss(model, inputs, *args, **kwargs)
            self.hooks = sum(len(module._forward_hooks) for module in unwrap(model).modules())
            return loss

    given = {"kind": Looks, "gradient_checkpointing": False}
    trainer = made(tmp_path, rollouts=Rollouts(update="clean"), **given)
    trainer.train()
    assert trainer.hooks == 0
    trainer = made(tmp_path, **given)
    trainer.train()
    assert trainer.hooks > 0


# --------------------------------------------------------------------------------- schedules
def test_sigma_follows_a_row_to_its_update(tmp_path, monkeypatch):
    used = []
    members = Population.members

    def noted(self, rows, first=None):
        used.append((self.sigma, tuple(rows)))
        return members(self, rows, first)

    monkeypatch.setattr(Population, "members", noted)
    rollouts = Rollouts(schedule="exponential", sigma_end=0.25, check_every=1)
    trainer = made(tmp_path, rollouts=rollouts, max_steps=3)
    trainer.train()
    assert [sigma for sigma, _ in used] == pytest.approx([0.3, 0.3, 0.15, 0.15, 0.075, 0.075])


def test_after_training_the_model_is_as_it_was(tmp_path):
    trainer = made(tmp_path, gradient_checkpointing=False)
    trainer.train()
    model = unwrap(trainer.model)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert "generate" not in vars(model)


def test_responses_end_where_the_watch_says(tmp_path):
    trainer = made(tmp_path, kind=Recorded, watch=lambda: lambda tokens: len(tokens) == 2)
    trainer.train()
    pad = trainer.processing_class.pad_token_id
    for rows in trainer.generated:
        assert all(len([t for t in said if t != pad]) <= 2 for _, said, _, _ in rows)
    assert len(PROMPTS) == 8
