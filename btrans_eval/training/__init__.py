"""Reinforcement learning whose rollouts are members: trl's GRPO, the harness's tasks and scores."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from btrans_eval.training.rollouts import Rollouts
    from btrans_eval.training.trainer import BTransGRPOTrainer

__all__ = ["BTransGRPOTrainer", "Rollouts"]


def __getattr__(name: str) -> object:
    # trl waits until it is wanted
    if name == "BTransGRPOTrainer":
        from btrans_eval.training.trainer import BTransGRPOTrainer

        return BTransGRPOTrainer
    if name == "Rollouts":
        from btrans_eval.training.rollouts import Rollouts

        return Rollouts
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
