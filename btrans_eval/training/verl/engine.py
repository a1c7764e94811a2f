"""verl's FSDP engine whose rows are members, exactly in the update.

VERL_USE_EXTERNAL_MODULES, or actor_rollout_ref.model.external_lib, names this module; importing it
registers the engine for the strategies fsdp and fsdp2 on CUDA devices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from btrans_eval.errors import UserError
from btrans_eval.population.population import Population
from btrans_eval.training.onpolicy import refuse_apart
from btrans_eval.training.refusals import check_model
from btrans_eval.training.verl.release import check_verl
from btrans_eval.training.verl.settings import members_of, parse, whole_numbers

check_verl()
from verl.workers.engine import EngineRegistry, FSDPEngineWithLMHead  # noqa: E402
from verl.workers.utils.padding import response_from_nested  # noqa: E402

ROLLOUT_PROBABILITIES = "rollout_log_probs"
"""Field of a row: log-probabilities that its tokens were sampled with."""


# a device with its vendor goes before one without, which is verl's own
@EngineRegistry.register(
    model_type="language_model", backend=["fsdp", "fsdp2"], device="cuda", vendor="nvidia"
)
class MembersEngine(FSDPEngineWithLMHead):
    """Every row of a batch is computed under its member, until after its backward pass.

    verl packs rows into one of shape (1, tokens), in an order of its own; the member follows its
    row as fields of it (`members_of`), and its noise is spread by the rows' lengths.

    Raises:
        UserError: on settings that members cannot be had with.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.settings = parse(self.model_config.override_config.get("btrans"))
        if self.engine_config.ulysses_sequence_parallel_size != 1:
            raise UserError(
                "ulysses_sequence_parallel_size: must be 1 with members, got "
                f"{self.engine_config.ulysses_sequence_parallel_size}: it deals out the tokens of "
                "a row, whose noise could not be told"
            )
        if self.model_config.use_liger:
            raise UserError(
                "use_liger: must be False with members: its kernels replace the norms that noise "
                "is added to"
            )
        self._bound = ExitStack()
        self._is_reference = bool(self.engine_config.forward_only)
        self._apart = (0.0, 0)

    def _build_module(self) -> nn.Module:
        """The model as loaded: its norms are found here, before FSDP takes weights apart."""
        module: Any = super()._build_module()
        attention = module.config._attn_implementation
        module.set_attn_implementation("eager")  # a pass looks at shapes, on a CPU
        try:
            self.population = Population(module, **self.settings.population)
            with self.population.packed([0], [1]):  # refused here where it would be later
                pass
        finally:
            module.set_attn_implementation(attention)
        check_model(module, self.population.layers)
        found: nn.Module = module
        return found

    def prepare_model_inputs(self, micro_batch: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the model is given; binds its rows, in place of those before."""
        inputs, others = super().prepare_model_inputs(micro_batch)
        rows = list(members_of(micro_batch, micro_batch.keys(), self.settings.members))
        self._bound.close()
        given = inputs["input_ids"].shape
        if given[0] != 1:  # rows that are not packed
            self._bound.enter_context(self.population.members(rows))
            return inputs, others
        lengths = micro_batch["input_ids"].offsets().diff().tolist()
        padding = given[1] - sum(lengths)
        if padding:  # counts nowhere
            rows, lengths = [*rows, 0], [*lengths, padding]
        self._bound.enter_context(self.population.packed(rows, lengths))
        return inputs, others

    def forward_backward_batch(
        self, data: Any, loss_function: Callable[..., Any] | None, forward_only: bool = False
    ) -> Any:
        """A pass over a batch in small ones, each of them bound from its forward pass on."""
        self._apart = (0.0, 0)
        try:
            found = super().forward_backward_batch(data, loss_function, forward_only)
        finally:
            self._bound.close()
        total, count = self._apart
        if count:
            step = whole_numbers(data["global_steps"])[0]
            refuse_apart(total / count, self._autocast_dtype, step)
        return found

    def forward_step(
        self, micro_batch: Any, loss_function: Callable[..., Any] | None, forward_only: bool
    ) -> tuple[Any, dict[str, Any]]:
        """One forward pass; where it gives the old log-probabilities, beside those of sampling."""
        loss, output = super().forward_step(micro_batch, loss_function, forward_only)
        is_old = forward_only and loss_function is None and not self._is_reference
        if is_old and self._is_due(micro_batch):
            self._compare(output["model_output"]["log_probs"], micro_batch)
        return loss, output

    @contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """Within the block the model is the reference, under the same members."""
        was, self._is_reference = self._is_reference, True
        try:
            with super().disable_adapter():
                yield
        finally:
            self._is_reference = was

    def _is_due(self, rows: Any) -> bool:
        every = self.settings.check_every
        if not every:
            return False
        if ROLLOUT_PROBABILITIES not in rows.keys():
            raise UserError(
                "actor_rollout_ref.rollout.calculate_log_probs: must be True, so that an update "
                "under other noise than its rollouts had does not pass unseen; or set "
                "check_every=0 in override_config.btrans"
            )
        return (whole_numbers(rows["global_steps"])[0] - 1) % every == 0

    def _compare(self, passed: torch.Tensor, rows: Any) -> None:
        mask = rows["response_mask"]
        chosen = mask.values().bool().cpu()
        now = response_from_nested(passed, mask.to(passed.device)).values().cpu()[chosen]
        then = rows[ROLLOUT_PROBABILITIES].values().cpu()[chosen]
        total, count = self._apart
        self._apart = (total + float((now - then).abs().sum()), count + int(chosen.sum()))
