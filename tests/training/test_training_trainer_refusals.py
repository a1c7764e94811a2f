"""What the trainer would silently do wrong is refused; steps that generate nothing are logged."""

from __future__ import annotations

import pytest
import tiny_checkpoint
from models import BY_NAME
from toy import arguments, made
from transformers import AutoModelForCausalLM

from btrans_eval import Population
from btrans_eval.errors import UserError
from btrans_eval.training import Rollouts
from btrans_eval.training.plan import made as plan_of
from btrans_eval.training.refusals import check_arguments
from btrans_eval.training.run import check
from btrans_eval.training.steps import Lines, StepLog, lines


def test_truncated_rollouts_are_masked_only_where_an_end_token_ends_all_others(tmp_path):
    masking = arguments(tmp_path, mask_truncated_completions=True)
    with pytest.raises(UserError, match="mask_truncated_completions: cannot be had where stop"):
        check_arguments(masking, Rollouts(), {"watch": lambda: lambda tokens: True})
    check_arguments(masking, Rollouts(), {"watch": None})
    with pytest.raises(UserError, match="mask_truncated_completions: cannot be had"):
        made(tmp_path, watch=lambda: lambda tokens: True, mask_truncated_completions=True)
    with pytest.raises(UserError, match="mask_truncated_completions: cannot be had"):
        check(plan_of({"task": "x", "trl": {"mask_truncated_completions": True}}))


def test_members_of_another_copy_of_the_model(tmp_path):
    other = Population(BY_NAME["llama"].build(), 0.3, seed=5)
    with pytest.raises(UserError, match="population: must be of the model that is trained"):
        made(tmp_path, population=other)
    model = BY_NAME["llama"].build()
    assert made(tmp_path, model=model, population=Population(model, 0.3, seed=5))


def test_a_reference_without_the_members_noise(tmp_path):
    checkpoint = tiny_checkpoint.save(tmp_path / "tiny")  # trl loads its reference by name

    def full(**given):
        model = AutoModelForCausalLM.from_pretrained(checkpoint)
        return made(tmp_path, model=model, lora=False, **given)

    with pytest.raises(UserError, match="beta: must be 0 where the whole model learns under its"):
        full(beta=0.1)
    assert full(beta=0.1, sigma=0.0).ref_model is not None
    assert full(beta=0.1, rollouts=Rollouts(update="clean")).ref_model is not None
    assert full(beta=0.0).ref_model is None


def test_a_second_step_on_the_same_rollouts_is_logged(tmp_path):
    trainer = made(tmp_path / "run", num_iterations=2, max_steps=4)
    trainer.add_callback(StepLog(Lines(tmp_path / "steps.jsonl", 0), "a run"))
    trainer.train()
    found = lines(tmp_path / "steps.jsonl")
    assert [line["step"] for line in found] == [1, 2, 3, 4]
    assert ["reward" in line for line in found] == [True, False, True, False]
