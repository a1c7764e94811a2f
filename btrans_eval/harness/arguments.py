"""Generation arguments that no population can answer with, refused before the first batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from btrans_eval.errors import UserError

_LIMITS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""What the harness takes for the limit; of several it takes the first, and only warns."""


def check_given(task: str | None, given: Mapping[str, Any]) -> None:
    """Refuse generation arguments that the harness would read otherwise than they are meant.

    Args:
        task: who asks.
        given: the task's own, with those of ``--gen_kwargs`` over them.

    Raises:
        UserError: naming the argument.
    """
    limits = {name: given[name] for name in _LIMITS if given.get(name) is not None}
    if len(set(map(str, limits.values()))) > 1:
        first, *others = limits
        raise UserError(
            f"{others[0]}: {task} has {first}={limits[first]} already, which the harness takes "
            f"in its place, got {others[0]}={limits[others[0]]}; use --gen_kwargs "
            f"{first}={limits[others[0]]}"
        )
    until = given.get("until", [])
    for stop in until if isinstance(until, (list, tuple)) else [until]:
        if not isinstance(stop, str):
            raise UserError(
                f"until: must be texts that end a response, but {task} has {stop!r}; use "
                "--gen_kwargs 'until=[\"\\n\\n\"]', or until=[] for none"
            )


def check_arguments(task: str | None, arguments: Mapping[str, Any], context: int) -> None:
    """Refuse generation arguments that cannot work.

    Args:
        task: who asks.
        arguments: as the harness resolves them.
        context: tokens of a prompt and its response at most.

    Raises:
        UserError: naming the argument.
    """
    limit = arguments["max_gen_toks"]
    if not 1 <= limit < context:
        raise UserError(
            f"max_gen_toks: must be at least 1 and less than the model's context of "
            f"{context} tokens, but {task} asks for {limit}; "
            "use --gen_kwargs max_gen_toks=1024"
        )
    if arguments["do_sample"] and not arguments.get("temperature"):
        raise UserError(
            f"temperature: must be above 0 with do_sample=True, but {task} has 0, the harness's "
            "default; use --gen_kwargs do_sample=True,temperature=0.7"
        )
    for name in ("max_length", "min_length", "max_time"):
        refuse_what_counts_the_batch(name, arguments.get(name))
    for name in ("num_beams", "num_return_sequences"):
        if arguments.get(name, 1) != 1:
            raise UserError(
                f"{name}: must be 1 under a population, got {arguments[name]}: a row "
                "belongs to one member; use the task's repeats, or members="
            )


def refuse_what_counts_the_batch(name: str, given: Any) -> None:
    """Refuse a limit that is counted in padding or time, wherever it was given."""
    if given:
        raise UserError(
            f"{name}: counts padding or time, so responses would depend on what else "
            f"is in the batch; got {given}; use max_gen_toks"
        )
