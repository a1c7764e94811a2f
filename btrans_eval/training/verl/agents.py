"""Numbers the prompts of a run of verl, so that each of their rollouts is a member of its own.

actor_rollout_ref.rollout.agent.agent_loop_manager_class names `NumberedAgentLoopManager`.
"""

from __future__ import annotations

from typing import Any

import torch

from btrans_eval.errors import UserError
from btrans_eval.training.rollouts import Rollouts
from btrans_eval.training.verl.release import check_verl
from btrans_eval.training.verl.settings import FIRST, PromptNumbers, parse
from btrans_eval.training.verl.voting import VOTES

check_verl()
from verl.trainer.ppo.v1 import AgentLoopManagerTQ  # noqa: E402


class NumberedAgentLoopManager(AgentLoopManagerTQ):
    """verl's manager, whose prompts in training say their first member and how many vote.

    verl stores a prompt's fields with every one of its rollouts, beside their ``session_id``.

    Raises:
        UserError: if the trainer is asynchronous, if prompts have groups of their own size, or if
            settings are not as they must be.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        mode = self.config.trainer.v1.trainer_mode
        if mode != "sync":
            raise UserError(
                f"trainer.v1.trainer_mode: must be sync with members, got {mode}: the others "
                "generate for several steps at a time, and numbers would come twice"
            )
        overrides = self.config.actor_rollout_ref.model.override_config
        settings = parse(overrides.get("btrans"))
        if settings.check_every and self.config.algorithm.rollout_correction.bypass_mode:
            raise UserError(
                "algorithm.rollout_correction.bypass_mode: must be False with members, got True: "
                "nothing would be computed again, so that an update under other noise than its "
                "rollouts had would pass unseen; or set check_every=0 in override_config.btrans"
            )
        self._numbers = PromptNumbers(
            int(self.config.data.train_batch_size),
            int(self.config.actor_rollout_ref.rollout.n),
            Rollouts(members=settings.members),
        )

    def generate_sequences(self, prompts: Any) -> None:
        """Ask for the rollouts of prompts, a ``TensorDict``."""
        if "validate" not in prompts.keys() or not prompts["validate"]:
            if "__rollout_n__" in prompts.keys():
                raise UserError(
                    "__rollout_n__: rows must not have it with members, whose numbers go by "
                    "actor_rollout_ref.rollout.n; leave it out of the data"
                )
            firsts = self._numbers.first(int(prompts["global_steps"]), len(prompts))
            prompts[FIRST] = torch.tensor(firsts)
            prompts[VOTES] = torch.full((len(prompts),), self._numbers.group)
        super().generate_sequences(prompts)
