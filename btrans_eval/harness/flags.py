"""Flags of ``lm_eval run``: which our own commands take, and where the others go."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from btrans_eval.errors import UserError

_GOES = {
    "config": "give the command's own YAML file, or flags",
    "seed": "populations take seed= in --model_args, and --seeds of a comparison repeats them",
    "limit": "nothing is asked; give --text",
    "log_samples": "samples are always written; leave it out",
    "use_cache": "responses are kept in the store (--store FILE) anyway; leave it out",
    "cache_requests": "the harness's cache of requests does not know repeats; leave it out",
    "samples": "use --limit N, or a task of your own with these rows",
    "predict_only": "a comparison scores; generate with btrans-eval run --store FILE",
    "write_out": "use lm_eval run, which prints the prompts",
    "check_integrity": "use lm_eval run, which checks the tasks",
    "show_config": "what was used stands in compare.yaml and in the results; leave it out",
    "verbosity": "set LMEVAL_LOG_LEVEL=DEBUG in the environment",
    "wandb_args": "results lie under OUT; log them from there",
    "wandb_config_args": "results lie under OUT; log them from there",
    "trackio_args": "results lie under OUT; log them from there",
    "hf_hub_log_args": "nothing is sent anywhere; btrans-eval export writes files for the hub",
    "confirm_run_unsafe_code": "tasks that run programs are run with btrans-eval run",
    "metadata": "it goes into --model_args",
}  # fmt: skip


def add_loading(parser: argparse.ArgumentParser) -> None:
    """The harness's flags that say how a model is loaded."""
    add = parser.add_argument
    add("--model", metavar="NAME", help="btrans-hf, which is what it runs")
    add("--device", metavar="NAME", help="cuda, cpu, …: where the model runs")
    add("--max_batch_size", type=int, metavar="N", help="rows at most with --batch_size auto")
    add("--trust_remote_code", action="store_true", default=None, help="of the model's folder")


def loading(given: argparse.Namespace) -> dict[str, Any]:
    """The model arguments that these flags stand for.

    Raises:
        UserError: if another model type is named.
    """
    if given.model not in (None, "btrans-hf"):
        raise UserError(f"model: must be btrans-hf, got {given.model}; leave --model out")
    named = {name: getattr(given, name) for name in ("device", "max_batch_size")}
    named["trust_remote_code"] = given.trust_remote_code
    return {name: value for name, value in named.items() if value is not None}


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """The arguments; a flag of ``lm_eval run`` that is none here is told in one line.

    Raises:
        UserError: naming the flag, and where it goes.
    """
    given, others = parser.parse_known_args(arguments)
    for each in others:
        name = each.lstrip("-").partition("=")[0].replace("-", "_")
        where = _GOES.get(name, f"it takes no such flag; {parser.prog} --help lists them")
        raise UserError(f"{name}: --{name} is none of {parser.prog}: {where}")
    return given
