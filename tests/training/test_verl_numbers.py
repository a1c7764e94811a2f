"""What members in verl need no verl for: who a row is, packed gradients, votes of groups."""

from __future__ import annotations

import asyncio
import importlib.metadata
import re
import subprocess
import sys

import pytest
import torch
from models import BY_NAME

from btrans_eval import Population
from btrans_eval.answers.equivalence import Judge
from btrans_eval.errors import UserError
from btrans_eval.training.rollouts import Rollouts
from btrans_eval.training.verl.release import VERL, check_verl
from btrans_eval.training.verl.settings import (
    FIRST,
    PromptNumbers,
    Settings,
    members_of,
    parse,
)
from btrans_eval.training.verl.voting import Groups, rewarded


# --------------------------------------------------------------------------------- numbering
def test_numbers_are_those_of_the_trainer_of_trl():
    """Three steps of 4 prompts, of which the second comes in two parts, 3 rollouts each."""
    numbers = PromptNumbers(prompts=4, group=3, rollouts=Rollouts())
    firsts = [
        *numbers.first(1, 4),
        *numbers.first(2, 1),
        *numbers.first(2, 3),
        *numbers.first(3, 4),
    ]
    rows = {FIRST: torch.tensor(firsts).repeat_interleave(3), "session_id": [0, 1, 2] * 12}
    assert members_of(rows, rows, "fresh") == Rollouts().numbered(0, 36, 3) == list(range(36))


def test_a_run_that_goes_on_numbers_as_one_that_never_stopped():
    assert PromptNumbers(4, 3, Rollouts()).first(3, 4) == [24, 27, 30, 33]


def test_a_step_has_no_more_prompts_than_its_numbers():
    numbers = PromptNumbers(4, 3, Rollouts())
    numbers.first(1, 4)
    with pytest.raises(UserError, match="data.train_batch_size: step 1 generates for 5 prompts"):
        numbers.first(1, 1)


def test_fixed_members_are_sessions_whatever_the_prompt():
    assert PromptNumbers(4, 3, Rollouts(members="fixed")).first(2, 2) == [0, 0]
    rows = {"session_id": torch.tensor([2, 0, 1])}
    assert members_of(rows, rows, "fixed") == [2, 0, 1]


@pytest.mark.parametrize(
    "rows, says",
    [
        ({FIRST: [0]}, "the field session_id, .*; set trainer.use_v1=True"),
        ({"session_id": [0]}, "the field btrans_first with members=fresh; set .*Numbered"),
    ],
)
def test_rows_that_do_not_tell_are_refused(rows, says):
    with pytest.raises(UserError, match=says):
        members_of(rows, rows, "fresh")


def test_settings():
    found = parse("sigma=0.01, seed=3,members=fixed,norms=residual,check_every=0")
    assert found == Settings(0.01, seed=3, members="fixed", norms="residual", check_every=0)
    assert parse("sigma=1e-2").population == Settings(0.01).population
    assert parse("prior=some.safetensors").population["sigma"] is None


@pytest.mark.parametrize(
    "text, says",
    [
        (None, "must say which population, got None; for example 'sigma=0.01,seed=0'"),
        ("", "must say which population, got ''"),
        ("sigma", "holds name=value of sigma, mu, .*, got 'sigma'"),
        ("sigma=0.1,colour=red", "holds name=value of .*, got 'colour=red'"),
        ("sigam=0.1", "did you mean sigma"),
        ("seed=1", "sigma: must be a finite number"),
        ("sigma=-1", "sigma: must be a finite number of at least 0"),
        ("sigma=0.1,prior=balanced", "prior: must be isotropic or a .safetensors file with verl"),
        ("sigma=0.1,members=all", "members"),
        ("sigma=0.1,seed=1.5", "seed: must be a whole number"),
        ("sigma=0.1,prior=some.safetensors", "has mu and sigma of its own"),
    ],
)
def test_settings_that_are_refused(text, says):
    with pytest.raises(UserError, match=says):
        parse(text)


# ------------------------------------------------------------------------- the packed update
ROWS = [torch.randint(3, 64, (n,), generator=torch.Generator().manual_seed(n)) for n in (6, 9, 4)]
PADDING = 5


def packed_loss(model):
    """As verl packs: positions begin again with each row, and padding is a last row of its own."""
    rows = [*ROWS, torch.zeros(PADDING, dtype=torch.long)]
    positions = torch.cat([torch.arange(len(row)) for row in rows])[None]
    found = model(input_ids=torch.cat(rows)[None], position_ids=positions, use_cache=False).logits
    kept = found[0].split([len(row) for row in rows])[:-1]
    return sum(loss(logits, row) for logits, row in zip(kept, ROWS, strict=True))


def loss(logits, row):
    return logits[:-1].log_softmax(-1).gather(1, row[1:, None]).sum()


def gradients(model):
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_packed_gradient_is_that_of_rows_alone(checkpointed):
    model = BY_NAME["llama"].build().double().train()
    if checkpointed:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    population = Population(model, sigma=0.3)
    rows = {FIRST: [8, 8, 12], "session_id": [1, 0, 2]}
    members = members_of(rows, rows, "fresh")
    for row, member in zip(ROWS, members, strict=True):
        with population.members([member]):
            loss(model(row[None]).logits[0], row).backward()
    alone = gradients(model)
    found = []
    lengths = [*map(len, ROWS), PADDING]
    for order in (members, members[::-1]):
        model.zero_grad()
        with population.packed([*order, 0], lengths):
            packed_loss(model).backward()
        found.append(gradients(model))
    assert (found[0] - alone).norm() <= 1e-10 * alone.norm()
    assert (found[1] - alone).norm() > 0.01 * alone.norm()  # another order of members


def test_left_before_the_backward_pass_a_checkpointed_gradient_is_wrong():
    model = BY_NAME["llama"].build().double().train()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    population = Population(model, sigma=0.3)
    found = []
    for is_left in (False, True):
        model.zero_grad()
        with population.packed([9, 8, 14, 0], [*map(len, ROWS), PADDING]):
            given = packed_loss(model)
            if not is_left:
                given.backward()
        if is_left:
            given.backward()
        found.append(gradients(model))
    assert (found[1] - found[0]).norm() > 0.01 * found[0].norm()


# ------------------------------------------------------------------------------------- votes
@pytest.fixture(scope="module")
def judge():
    with Judge() as made:
        yield made


@pytest.mark.parametrize(
    "texts, earned, right",
    [
        (["It is 4.", "It is 4.", "It is 5."], [1, 1, 0], [0, 0, 1]),  # the vote, not the gold
        (["It is 4.", "It is 5."], [0, 0], [0, 1]),  # a tie
        (["Who knows?", "No idea."], [0, 0], [0, 0]),  # nobody has an answer
        (["Who knows?", "It is 5.", "No idea."], [0, 1, 0], [0, 1, 0]),
    ],
)
def test_who_earns(judge, texts, earned, right):
    found = rewarded(texts, "5", judge, by_vote=True)
    assert [each.reward for each in found] == earned
    assert [each.score for each in found] == right
    assert [each.reward for each in rewarded(texts, "5", judge, by_vote=False)] == right


def test_equal_answers_are_one_class(judge):
    texts = [r"\boxed{\frac{1}{2}}", r"\boxed{0.5}", r"\boxed{\frac{1}{3}}"]
    found = rewarded(texts, r"\frac{1}{3}", judge, by_vote=True)
    assert [each.reward for each in found] == [1, 1, 0]
    assert found[0].majority == pytest.approx(2 / 3) and all(each.is_valid for each in found)


def test_a_group_is_judged_once_and_whole_in_the_order_of_rollouts():
    judged = []

    def judge(rollouts):
        judged.append(list(rollouts))
        return [f"{each}!" for each in rollouts]

    async def run():
        groups = Groups(judge, seconds=10)
        asked = [("b", 1), ("a", 2), ("b", 0), ("a", 0), ("a", 1)]
        return await asyncio.gather(
            *(groups.verdict(g, place, {"a": 3, "b": 2}[g], f"{g}{place}") for g, place in asked)
        )

    assert asyncio.run(run()) == ["b1!", "a2!", "b0!", "a0!", "a1!"]
    assert sorted(judged) == [["a0", "a1", "a2"], ["b0", "b1"]]


def test_a_group_that_never_is_whole_is_told():
    async def run():
        groups = Groups(list, seconds=0.05)
        return await asyncio.gather(
            groups.verdict("a", 0, 3, "x"), groups.verdict("a", 2, 3, "y"), return_exceptions=True
        )

    for error in asyncio.run(run()):
        assert isinstance(error, UserError) and re.search(
            "group a has 2: .*num_workers=1", str(error)
        )


def test_a_rollout_that_comes_twice_is_told_and_an_error_is_everybodys():
    async def twice():
        groups = Groups(list, seconds=1)
        first = asyncio.ensure_future(groups.verdict("a", 0, 2, "x"))
        await asyncio.sleep(0)
        with pytest.raises(UserError, match="rollout 0 of group a came twice"):
            await groups.verdict("a", 0, 2, "x")
        first.cancel()

    def fails(rollouts):
        raise KeyError("gone")

    async def failing():
        groups = Groups(fails, seconds=1)
        both = (groups.verdict("a", place, 2, "x") for place in (0, 1))
        return await asyncio.gather(*both, return_exceptions=True)

    asyncio.run(twice())
    assert [type(each) for each in asyncio.run(failing())] == [KeyError, KeyError]


# ----------------------------------------------------------------------------------- release
@pytest.mark.parametrize(
    "found, says",
    [
        (None, "verl: must be 0.9.1, but none is installed; pip install 'verl==0.9.1'"),
        ("0.8.0", "verl: must be 0.9.1, whose inner ways were tested, got 0.8.0; pip install"),
    ],
)
def test_another_release_is_refused_in_one_line(monkeypatch, found, says):
    def version(name):
        if found is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(UserError) as told:
        check_verl()
    assert says in str(told.value) and "\n" not in str(told.value)


def test_the_tested_release_is_taken(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: VERL)
    check_verl()


def test_verl_is_not_imported_by_what_needs_none():
    code = (
        "import sys, btrans_eval.training.verl.settings, btrans_eval.training.verl.voting; "
        "print('verl' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
