"""Start ``lm_eval run`` in this process, with its tasks viewed as population tasks."""

from __future__ import annotations

import functools
import logging
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from btrans_eval.errors import UserError

logger = logging.getLogger(__name__)


def lm_eval_run(
    flags: Sequence[str],
    repeats: int | None = None,
    encoder: str | None = None,
    partition: str | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> None:
    """What the command ``lm_eval run`` does with ``flags``.

    Works where the start-up line is turned off, too: lm_eval is bridged from here.

    Args:
        flags: the harness's own flags.
        repeats: responses per question of every generative task; None leaves tasks as they are.
        encoder: sentence encoder for the diversity columns of all tasks.
        partition: classifier of responses that mean the same, for columns of all tasks.
        arguments: our own model arguments that were given as flags.
    """
    for name, value in (("encoder", encoder), ("partition", partition)):
        if value is not None and repeats is None:
            raise UserError(
                f"{name}: goes with --repeats, which says how many responses to compare"
            )
    from lm_eval.__main__ import cli_evaluate

    old, sys.argv = sys.argv, ["lm_eval", "run", *flags]
    try:
        with _given(arguments or {}), _viewed(repeats, encoder, partition):
            cli_evaluate()
    finally:
        sys.argv = old


@contextmanager
def _given(arguments: Mapping[str, Any]) -> Iterator[None]:
    """Within the block, the harness's command gives its model these arguments too."""
    if not arguments:
        yield
        return
    from lm_eval.config.evaluate_config import EvaluatorConfig

    from btrans_eval.harness.bridge import MODELS, check_run

    original = EvaluatorConfig.from_cli

    def from_cli(namespace: Any) -> Any:
        run = original(namespace)
        if run.model not in MODELS:
            name = next(iter(arguments))
            raise UserError(f"{name}: needs --model {' or '.join(MODELS)}, got {run.model}")
        for name, value in arguments.items():
            if name in run.model_args and run.model_args[name] != value:
                raise UserError(
                    f"{name}: must be given once, got --{name} {value} and "
                    f"--model_args {name}={run.model_args[name]}; leave one of them out"
                )
        run.model_args.update(arguments)
        check_run(run)
        return run

    EvaluatorConfig.from_cli = from_cli
    try:
        yield
    finally:
        EvaluatorConfig.from_cli = original


@contextmanager
def _viewed(repeats: int | None, encoder: str | None, partition: str | None) -> Iterator[None]:
    """Within the block, the harness's command views its tasks before it loads a model."""
    if repeats is None:
        yield
        return
    from lm_eval.config.evaluate_config import EvaluatorConfig

    from btrans_eval.harness.code_tasks import code_eval_replaced
    from btrans_eval.harness.views import view_tasks

    original = EvaluatorConfig.process_tasks

    @functools.wraps(original)
    def process_tasks(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.predict_only:
            raise UserError(
                "predict_only: goes without --repeats, which is about scores; with --store scoring "
                "later costs no generation"
            )
        with code_eval_replaced():
            manager = original(self, *args, **kwargs)
            if self.seed and self.seed[0] is not None:
                random.seed(self.seed[0])  # as the harness does: some rows are shuffled when loaded
            loaded = manager.load(self.tasks)
        viewed = list(loaded["tasks"].values())
        for name in view_tasks(viewed, repeats, encoder, partition):
            logger.warning("%s is scored by loglikelihood: the members' mean likelihood", name)
        manager.load = lambda tasks: loaded
        return manager

    EvaluatorConfig.process_tasks = process_tasks
    try:
        yield
    finally:
        EvaluatorConfig.process_tasks = original
