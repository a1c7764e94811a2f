"""From a prompt to an update by verl's own agents and rewards, but for ray and what generates."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

pytest.importorskip("verl", reason="verl is not installed (make test-verl has it)")

import tiny_checkpoint
import torch
import transformers
from omegaconf import OmegaConf
from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, AgentLoopOutput
from verl.trainer.ppo.v1 import agent_loop_tq
from verl.utils import tensordict_utils as tu
from verl_rows import batch_of, engine_of, nested

from btrans_eval import Population
from btrans_eval.answers.equivalence import Judge
from btrans_eval.errors import UserError
from btrans_eval.training.verl.agents import NumberedAgentLoopManager
from btrans_eval.training.verl.rewards import VoteRewardManager
from btrans_eval.training.verl.settings import members_of
from btrans_eval.training.verl.voting import rewarded

GROUP, PROMPTS = 3, ["w5 w6 w7", "w8 w9", "w30 w31 w32 w33"]
RESPONSE = 2  # tokens


def config(**given):
    overrides = {f"{name.replace('__', '.')}": value for name, value in given.items()}
    made = OmegaConf.create(
        {
            "actor_rollout_ref": {
                "rollout": {
                    "n": GROUP, "temperature": 1.0, "top_p": 1.0, "top_k": -1,
                    "calculate_log_probs": True, "val_kwargs": {"n": 1, "top_p": 1.0, "top_k": -1,
                    "temperature": 0.0}, "agent": {"default_agent_loop": "members"},
                },
                "model": {"override_config": {"btrans": "sigma=0.3,seed=5"}},
            },
            "algorithm": {"rollout_correction": {"bypass_mode": False}},
            "data": {"train_batch_size": len(PROMPTS)},
            "reward": {"num_workers": 1},
            "trainer": {"v1": {"trainer_mode": "sync"}},
        }
    )  # fmt: skip
    for name, value in overrides.items():
        OmegaConf.update(made, name, value)
    return made


def prompts(step, validate=False):
    """As verl's trainer takes them from its data."""
    count = len(PROMPTS)

    def column(values):
        made = np.empty(count, dtype=object)
        made[:] = values
        return made

    batch = tu.get_tensordict(
        {
            "raw_prompt": column([[{"role": "user", "content": text}] for text in PROMPTS]),
            "uid": column([f"uid{place}" for place in range(count)]),
            "index": column([0] * count),
            "data_source": column(["toy"] * count),
            "reward_model": column([{"ground_truth": "w9 w9"}] * count),
        }
    )
    tu.assign_non_tensor_data(batch, "global_steps", step)
    if validate:
        tu.assign_non_tensor_data(batch, "validate", True)
    return batch


class Remote:
    """What is called through ray, called at once."""

    def __init__(self, call):
        self.remote = call


class Worker(agent_loop_tq.AgentLoopWorkerTQ.__ray_metadata__.modified_class):
    """verl's own, but for what generates: a transformers model under the rollout's member."""

    def __init__(self, model, population, tokenizer, reward):
        self.config, self.tokenizer, self.processor = config(), tokenizer, None
        self.mm_processor_kwargs, self.distillation_enabled = {}, False
        self.background_tasks = set()
        self.reward_loop_worker_handles = [reward]
        self.model, self.population = model, population

    async def _run_agent_loop(self, sampling_params, trajectory, *, agent_name, trace, **kwargs):
        assert agent_name == "members"
        given = self.tokenizer(kwargs["raw_prompt"][0]["content"])["input_ids"]
        (member,) = members_of({name: [kwargs[name]] for name in ("btrans_first", "session_id")
                                if name in kwargs}, kwargs, "fresh" if "btrans_first" in kwargs
                               else "fixed")  # fmt: skip
        ids, probabilities = list(given), []
        for _ in range(RESPONSE):
            with self.population.members([member]), torch.no_grad():
                logits = self.model(torch.tensor([ids])).logits[0, -1]
            ids.append(int(logits.argmax()))
            probabilities.append(float(logits.log_softmax(-1)[ids[-1]]))
        output = AgentLoopOutput(
            prompt_ids=given, response_ids=ids[-RESPONSE:], response_mask=[1] * RESPONSE,
            response_logprobs=probabilities, num_turns=2, metrics=AgentLoopMetrics(),
            extra_fields={"turn_scores": [], "tool_rewards": []},
        )  # fmt: skip
        return await self._agent_loop_postprocess(output, trajectory["validate"], **kwargs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    address = f"file://{tmp_path_factory.mktemp('group')}/store"
    torch.distributed.init_process_group("gloo", init_method=address, rank=0, world_size=1)
    yield tiny_checkpoint.save(tmp_path_factory.mktemp("llama"))
    torch.distributed.destroy_process_group()


def rolled_out(folder, monkeypatch, *batches):
    """The rows that verl stores of batches of prompts, in the order in which they are done."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer, stored = tiny_checkpoint.tokenizer(), []

    async def put(keys, fields, tags, partition_id):
        stored.extend({name: row[name] for name in fields.keys()} for row in fields)

    async def status(**given):
        assert given["tag"]["status"] != "failure"

    monkeypatch.setattr(agent_loop_tq.tq, "async_kv_batch_put", put)
    monkeypatch.setattr(agent_loop_tq.tq, "async_kv_put", status)
    monkeypatch.setattr(agent_loop_tq.ray, "get", list)
    chunks = []
    manager = NumberedAgentLoopManager(config(), llm_client=None)
    asked = [Remote(chunks.append)] * 2
    manager.agent_loop_workers = [type("Asked", (), {"generate_sequences": each}) for each in asked]

    async def run():
        reward = VoteRewardManager(config(), tokenizer, None)
        handle = type("Handle", (), {"compute_score": Remote(reward.run_single)})
        worker = Worker(model, Population(model, sigma=0.3, seed=5), tokenizer, handle)
        for batch in batches:
            manager.generate_sequences(batch)
        for chunk in chunks:
            await worker.generate_sequences(chunk)
        await asyncio.gather(*worker.background_tasks)

    asyncio.run(run())
    return stored


def batch_from(rows):
    """The rows together, as TransferQueue hands them to the engine."""
    return batch_of(
        [row["input_ids"] for row in rows],
        [row["session_id"] for row in rows],
        [int(row["btrans_first"]) for row in rows],
        responses=RESPONSE,
        rollout_log_probs=nested(row["rollout_log_probs"] for row in rows),
    )


def test_rows_of_verls_agents_are_updated_under_who_answered(folder, monkeypatch):
    rows = rolled_out(folder, monkeypatch, prompts(step=2))
    assert len(rows) == 9
    found = {(row["uid"], row["session_id"]): int(row["btrans_first"]) for row in rows}
    members = [found[f"uid{p}", s] + s for p in range(3) for s in range(3)]
    assert members == list(range(9, 18))  # of the second step
    rows = rows[::-1]
    engine = engine_of(folder)
    with engine.eval_mode():
        engine.infer_batch(batch_from(rows))  # the on-policy check passes
    for row in rows:
        row["session_id"] = (row["session_id"] + 1) % GROUP
    with engine.eval_mode(), pytest.raises(UserError, match="on-policy check"):
        engine.infer_batch(batch_from(rows))


def test_votes_of_groups_reward_and_in_validation_the_score_does(folder, monkeypatch):
    rows = rolled_out(folder, monkeypatch, prompts(step=1))
    tokenizer = tiny_checkpoint.tokenizer()
    earned = set()
    with Judge() as judge:
        for prompt in range(len(PROMPTS)):
            group = sorted((row for row in rows if row["uid"] == f"uid{prompt}"),
                           key=lambda row: row["session_id"])  # fmt: skip
            texts = [tokenizer.decode(row["responses"]) for row in group]
            expected = [each.reward for each in rewarded(texts, "w9 w9", judge, by_vote=True)]
            assert [float(row["rm_scores"][-1]) for row in group] == expected
            earned |= set(expected)
    assert earned == {0.0, 1.0}  # or the test says little
    validated = rolled_out(folder, monkeypatch, prompts(step=1, validate=True))
    assert len(validated) == len(PROMPTS)
    assert all("btrans_first" not in row and row["rm_scores"][-1] == 0 for row in validated)


def test_a_step_more_than_once_is_refused(folder, monkeypatch):
    with pytest.raises(UserError, match="data.train_batch_size: step 1 generates for 6 prompts"):
        rolled_out(folder, monkeypatch, prompts(step=1), prompts(step=1))


def test_groups_of_a_size_of_their_own_are_refused(folder, monkeypatch):
    batch = prompts(step=1)
    batch["__rollout_n__"] = torch.tensor([2, 3, 4])
    with pytest.raises(UserError, match="__rollout_n__: rows must not have it"):
        rolled_out(folder, monkeypatch, batch)


@pytest.mark.parametrize(
    "kind, given, says",
    [
        (NumberedAgentLoopManager, {"trainer__v1__trainer_mode": "colocate_async"}, "must be sync"),
        (
            NumberedAgentLoopManager,
            {"algorithm__rollout_correction__bypass_mode": True},
            "bypass_mode: must be False with members",
        ),
        (VoteRewardManager, {"reward__num_workers": 8}, "reward.num_workers: must be 1 with votes"),
        (VoteRewardManager, {"data__train_batch_size": 512}, "must be at most 1000 with votes"),
    ],
)
def test_refusals(kind, given, says):
    with pytest.raises(UserError, match=says):
        kind(config(**given), None, None)
