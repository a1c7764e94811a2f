"""``btrans-eval train``: train every arm with every seed, then evaluate what was trained."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from btrans_eval.errors import UserError
from btrans_eval.harness.flags import parse
from btrans_eval.harness.pairs import parse_pairs
from btrans_eval.parser import Parser
from btrans_eval.training.arms import DEFAULT_ARMS
from btrans_eval.training.plan import TrainPlan, made, read

PLAN = "train.yaml"


def main(arguments: Sequence[str]) -> None:
    """The command.

    Args:
        arguments: of the command line.

    Raises:
        UserError: on a user's mistake.
    """
    given = parse(make_parser(), arguments)
    from btrans_eval.training.refusals import check_trl

    check_trl()
    if given.input is not None:
        _refuse_ignored(given)
        plan = read(Path(given.input))
    else:
        plan = _plan(given)
    folder = Path(given.output_path)
    from btrans_eval.harness.command import begin, one_line

    # trl sets arguments by names that transformers is about to change
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    with one_line():
        begin(str(folder))
        _begin(plan, folder)
        from btrans_eval.training.study import run

        run(plan, folder)


def _begin(plan: TrainPlan, folder: Path) -> None:
    """The folder holds this study, and none other.

    Raises:
        UserError: if it holds another one.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / PLAN
        before = path.read_text(encoding="utf-8") if path.is_file() else None
        is_begun = (folder / "runs").exists() and before is not None
        if is_begun and before != plan.resolved():
            raise UserError(
                f"output_path: {folder} holds another study (see {path}); name another folder, or "
                "run the study that it holds"
            )
        path.write_text(plan.resolved(), encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"output_path: must be a folder that can be written, but {folder} cannot "
            f"({error.strerror})"
        ) from None


def _plan(given: argparse.Namespace) -> TrainPlan:
    if not given.task:
        raise UserError("task: name one, for example --task btrans_arithmetic; or name a YAML file")
    entries: dict[str, Any] = {
        name: getattr(given, name) for name in _ENTRIES if getattr(given, name) is not None
    }
    entries["model_args"] = parse_pairs("model_args", given.model_args)
    if given.seeds is not None:
        try:
            entries["seeds"] = [int(each) for each in given.seeds.split(",")]
        except ValueError:
            raise UserError(
                f"seeds: must be whole numbers separated by commas, got {given.seeds!r}"
            ) from None
    return made(entries)


_ENTRIES = (
    "task", "arms", "examples", "strata", "rows", "steps", "prompts", "group", "at_once",
    "learning_rate", "beta", "reward", "max_gen_toks", "save_steps", "num_fewshot",
    "apply_chat_template", "system_instruction", "include_path",
)  # fmt: skip


def _refuse_ignored(given: argparse.Namespace) -> None:
    for name in (*_ENTRIES, "seeds", "model_args"):
        if getattr(given, name) is not None:
            raise UserError(
                f"{name}: --{name} is not taken beside {given.input}, which says it itself; write "
                "it there and leave the flag out"
            )


def make_parser() -> argparse.ArgumentParser:
    """What reads the command's arguments."""
    parser = Parser(prog="btrans-eval train", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("input", nargs="?", metavar="FILE.yaml", help="a study; all below can stand there")
    add("--output_path", required=True, metavar="OUT", help="folder for adapters and report")
    add("--task", metavar="NAME", help="of the harness: its prompts, rows and score")
    add("--model_args", nargs="+", metavar="ARGS", help="of btrans-hf (the demo model)")
    add("--arms", metavar="ARMS",
        help=f"KIND[@TEMPERATURE][:name=value], separated by commas ({DEFAULT_ARMS})")  # fmt: skip
    add("--seeds", metavar="N,N", help="every arm is trained with each (0,1,2)")
    add("--examples", type=int, metavar="N", help="how many rows to train on (all)")
    add(
        "--strata",
        metavar="FIELD",
        help="field of rows; as many are drawn of each of its values",
    )
    add("--rows", metavar="FILE", help="JSON lines of your own in place of the task's rows")
    add("--steps", type=int, metavar="N", help="updates of the adapter (50)")
    add("--prompts", type=int, metavar="N", help="prompts in a step (4)")
    add("--group", type=int, metavar="G", help="responses generated for each prompt (8)")
    add("--at_once", type=int, metavar="N", help="rows in one forward pass (all of a step)")
    add("--learning_rate", type=float, metavar="X", help="of the optimizer, constant (1e-5)")
    add("--beta", type=float, metavar="X", help="weight of the KL to the model itself (0)")
    add("--reward", metavar="METRIC", help="metric that rewards, where the task has several")
    add(
        "--max_gen_toks",
        type=int,
        metavar="N",
        help="most tokens of a response (as the task says)",
    )
    add("--save_steps", type=int, metavar="N", help="steps between checkpoints (10)")
    add("--num_fewshot", type=int, metavar="N", help="examples before each question")
    add("--apply_chat_template", nargs="?", const=True, metavar="NAME",
        help="ask in the model's chat format, or in the one named")  # fmt: skip
    add("--system_instruction", metavar="TEXT", help="before every prompt")
    add("--include_path", metavar="FOLDER", help="of tasks of your own")
    return parser
