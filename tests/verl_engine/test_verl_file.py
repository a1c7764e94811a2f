"""docs/training/verl.yaml: verl takes every entry, and finds what it names."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("verl", reason="verl is not installed (make test-verl has it)")

import tiny_checkpoint
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from verl.trainer.ppo.reward import resolve_reward_manager_cls
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import omega_conf_to_dataclass, validate_config
from verl.utils.import_utils import load_class_from_fqn
from verl.workers.engine import EngineRegistry

from btrans_eval.training.verl.agents import NumberedAgentLoopManager
from btrans_eval.training.verl.engine import MembersEngine
from btrans_eval.training.verl.rewards import VoteRewardManager
from btrans_eval.training.verl.settings import Settings, parse

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "training"


@pytest.fixture
def config(tmp_path):
    path = tiny_checkpoint.save(tmp_path)
    with initialize_config_dir(str(FOLDER), version_base=None):
        made = compose("verl", [f"actor_rollout_ref.model.path={path}"])
    OmegaConf.resolve(made)
    return made


def test_verl_takes_it(config):
    # the last of its checks asks vLLM, which is not here, for the rank
    OmegaConf.update(config, "actor_rollout_ref.model.lora_rank", 0)
    validate_config(config, need_reference_policy(config), need_critic(config))
    assert not need_critic(config) and need_reference_policy(config)
    actor = omega_conf_to_dataclass(config.actor_rollout_ref.actor)
    assert actor.engine.strategy == "fsdp2" and actor.engine.pad_to_length is False
    rollout = omega_conf_to_dataclass(config.actor_rollout_ref.rollout)
    assert rollout.calculate_log_probs and rollout.n == 8
    assert not config.algorithm.rollout_correction.bypass_mode
    assert config.reward.num_workers == 1
    assert config.data.train_batch_size * rollout.n <= 1000


def test_what_it_names_is_found(config):
    model = omega_conf_to_dataclass(config.actor_rollout_ref.model)
    assert parse(model.override_config["btrans"]) == Settings(0.01, seed=0, members="fresh")
    assert model.hf_config.btrans == model.override_config["btrans"]
    backend = config.actor_rollout_ref.actor.strategy
    assert EngineRegistry.get_engine_cls(model.model_type, backend) is MembersEngine
    assert resolve_reward_manager_cls(config) is VoteRewardManager
    manager = config.actor_rollout_ref.rollout.agent.agent_loop_manager_class
    assert load_class_from_fqn(manager) is NumberedAgentLoopManager
