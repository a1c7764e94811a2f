"""The vote of a group as reward in verl.

reward.reward_manager: {source: importlib, name: VoteRewardManager,
module: {path: pkg://btrans_eval.training.verl.rewards}}
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from btrans_eval.answers.equivalence import Judge
from btrans_eval.errors import UserError
from btrans_eval.training.verl.release import check_verl
from btrans_eval.training.verl.voting import VOTES, Groups, Rewarded, rewarded

check_verl()
from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase  # noqa: E402

AT_ONCE = 1000
"""Calls that an actor of ray has under way at most; a group that waits for one more never ends."""
PATIENCE = 3600.0
"""Seconds that a rollout waits for the last of its group."""


class VoteRewardManager(RewardManagerBase):
    """Rewards a rollout whose answer is of the class with most of its prompt's votes.

    In validation the score does, against ``reward_model.ground_truth``, whose form alone (a number,
    a letter, LaTeX, text) is used in training.

    Raises:
        UserError: with several workers, among which a group would be split, or if a step has more
            rollouts than may wait at once.
    """

    def __init__(self, config: Any, tokenizer: Any, compute_score: Any, **others: Any) -> None:
        super().__init__(config, tokenizer, compute_score)
        workers = config.reward.num_workers
        if workers != 1:
            raise UserError(
                f"reward.num_workers: must be 1 with votes, got {workers}: a group's rollouts "
                "would be dealt out to workers, and none would have the whole vote"
            )
        rollouts = config.data.train_batch_size * config.actor_rollout_ref.rollout.n
        if rollouts > AT_ONCE:
            raise UserError(
                f"data.train_batch_size: times rollout.n it must be at most {AT_ONCE} with votes, "
                f"got {rollouts}: rollouts wait for their group in one worker"
            )
        self._judge = Judge()
        self._groups: Groups[tuple[str, str], Rewarded] = Groups(self._vote, PATIENCE)
        self._alone: Groups[tuple[str, str], Rewarded] = Groups(self._score, PATIENCE)

    async def run_single(self, data: Any) -> dict[str, Any]:
        """The reward of one rollout, a ``DataProto`` of its outputs, the last of which answers."""
        item = data[-1:][0]
        fields = item.non_tensor_batch
        responses = item.batch["responses"]
        length = int(item.batch["attention_mask"][-responses.shape[-1] :].sum())
        text = await asyncio.to_thread(
            self.tokenizer.decode, responses[:length], skip_special_tokens=True
        )
        rollout = text, str(fields["reward_model"]["ground_truth"])
        place, votes = int(fields["session_id"]), int(fields.get(VOTES, 1))
        if VOTES in fields:
            found = await self._groups.verdict(str(fields["uid"]), place, votes, rollout)
        else:
            found = await self._alone.verdict(f"{fields['uid']} {place}", 0, 1, rollout)
        extra = {
            "acc": found.score,
            "answers_valid": float(found.is_valid),
            "majority_ratio": found.majority,
        }
        return {"reward_score": found.reward, "reward_extra_info": extra}

    def _vote(self, group: Sequence[tuple[str, str]]) -> list[Rewarded]:
        return rewarded([text for text, _ in group], group[0][1], self._judge, by_vote=True)

    def _score(self, group: Sequence[tuple[str, str]]) -> list[Rewarded]:
        return rewarded([text for text, _ in group], group[0][1], self._judge, by_vote=False)
