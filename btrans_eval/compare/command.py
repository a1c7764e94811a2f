"""``btrans-eval compare``: run arms or take finished runs, and write what they show."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from btrans_eval.compare.analysis import compare
from btrans_eval.compare.join import Arm, JoinedTask, as_arm, join
from btrans_eval.compare.plan import DEFAULT_ARMS, Plan, TaskPlan, parse_arms, read
from btrans_eval.errors import UserError
from btrans_eval.harness.flags import add_loading, loading, parse
from btrans_eval.harness.pairs import parse_pairs
from btrans_eval.parser import Parser
from btrans_eval.results import load

_BESIDE_FILES = ("inputs", "output_path", "store", "insist", "no_report")


def main(arguments: Sequence[str], report: Callable[[Path], None]) -> None:
    """The command.

    Args:
        arguments: of the command line.
        report: writes the report of a folder.

    Raises:
        UserError: on a user's mistake.
        SystemExit: with code 3 if questions could not be scored, when all is written.
    """
    given = parse(make_parser(), arguments)
    folder = Path(given.output_path)
    paths = [Path(path) for path in given.inputs]
    if paths:
        _refuse_ignored(arguments)
    if len(paths) == 1 and paths[0].suffix in (".yaml", ".yml"):
        runs = _run(read(paths[0]), folder, given.store)
    elif paths:
        runs = _named(paths)
    else:
        runs = _run(_plan(given), folder, given.store)
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return
    found = write(runs, folder, given.insist)
    if not given.no_report:
        report(folder)
    failed = {arm["name"]: sum(arm["failed_questions"].values()) for arm in found["arms"]}
    if any(failed.values()):
        from btrans_eval.harness.command import UNSCORED

        counts = ", ".join(f"{name}: {number}" for name, number in failed.items() if number)
        print(
            f"btrans-eval: questions that could not be scored count as wrong ({counts})",
            file=sys.stderr,
        )
        sys.exit(UNSCORED)


def write(runs: dict[str, Path], folder: Path, insist: bool = False) -> dict[str, Any]:
    """Compare runs by name and write ``folder/comparison.json``; prints what was found."""
    arms = [as_arm(load(path, name)) for name, path in runs.items()]
    found = compared(arms, join(arms, insist), insist)
    save(found, folder)
    for task in found["tasks"]:
        print(f"{task['name']}: {task['sentence']}")
    return found


def compared(arms: Sequence[Arm], tasks: Sequence[JoinedTask], insist: bool) -> dict[str, Any]:
    """The comparison of joined arms, as docs/comparison.md describes it."""
    return compare(arms, tasks, insisted=insist and any(task.warnings for task in tasks))


def save(found: dict[str, Any], folder: Path) -> None:
    """Write ``folder/comparison.json``; arms within the folder by their place in it."""
    for arm in found["arms"]:
        path = Path(arm["folder"]).resolve()
        if path.is_relative_to(folder.resolve()):  # so that the folder can be moved
            arm["folder"] = str(path.relative_to(folder.resolve()))
        else:
            arm["folder"] = str(path)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "comparison.json").write_text(text + "\n", encoding="utf-8")


def _named(paths: Sequence[Path]) -> dict[str, Path]:
    """Finished runs by the shortest names that tell them apart."""
    if len(paths) < 2:
        raise UserError(
            f"compare: name two or more finished runs, or one YAML file, got {paths[0]}"
        )
    names = [path.stem if path.suffix == ".json" else path.name for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    return dict(zip(names, paths, strict=True))


def _run(plan: Plan, folder: Path, store: str | None) -> dict[str, Path]:
    from btrans_eval.compare.arms import run_arms
    from btrans_eval.harness.command import one_line

    with one_line():
        return run_arms(plan, folder, Path(store) if store else folder / "responses.sqlite")


def _plan(given: argparse.Namespace) -> Plan:
    if not given.tasks:
        raise UserError(
            "tasks: must name at least one, for example --tasks btrans_gsm8k; or name a YAML file "
            "or two finished runs"
        )
    seeds = tuple(_numbers("seeds", given.seeds))
    gen_kwargs = parse_pairs("gen_kwargs", given.gen_kwargs)
    for name in ("do_sample", "temperature"):
        if name in gen_kwargs:
            raise UserError(f"gen_kwargs: {name} is set by the arms; use --arms and --temperature")
    tasks = tuple(
        TaskPlan(task, given.limit, gen_kwargs) for task in given.tasks.split(",") if task
    )
    return Plan(
        tasks=tasks,
        arms=parse_arms(given.arms, given.temperature, seeds),
        model_args={**loading(given), **parse_pairs("model_args", given.model_args)},
        repeats=given.repeats,
        batch_size=int(given.batch_size) if given.batch_size.isdigit() else given.batch_size,
        seeds=seeds,
        num_fewshot=given.num_fewshot,
        apply_chat_template=given.apply_chat_template,
        fewshot_as_multiturn=given.fewshot_as_multiturn,
        system_instruction=given.system_instruction,
        include_path=given.include_path,
        encoder=given.encoder,
    )


def _refuse_ignored(arguments: Sequence[str]) -> None:
    """Refuse flags that a YAML file or finished runs have their own values of."""
    parser = make_parser()
    parser.set_defaults(**dict.fromkeys(vars(parser.parse_args(["--output_path", "-"]))))
    given = vars(parse(parser, arguments))
    for name, value in given.items():
        if value is not None and name not in _BESIDE_FILES:
            raise UserError(
                f"{name}: --{name} is not taken beside {given['inputs'][0]}, which says it itself; "
                "write it into a YAML file and leave the flag out"
            )


def _numbers(name: str, text: str) -> list[int]:
    try:
        return [int(each) for each in text.split(",")]
    except ValueError:
        raise UserError(
            f"{name}: must be whole numbers separated by commas, got {text!r}"
        ) from None


def make_parser() -> argparse.ArgumentParser:
    """What reads the command's arguments."""
    parser = Parser(prog="btrans-eval compare", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("inputs", nargs="*", metavar="FILE.yaml | RUN", help="a plan, or two finished runs or more")
    add("--output_path", required=True, metavar="OUT", help="folder for results and report")
    add("--tasks", metavar="NAMES", help="tasks or groups, separated by commas")
    add(
        "--model_args", nargs="+", metavar="ARGS", help="of btrans-hf: pretrained=…,kl=0.05,dtype=…"
    )
    add("--repeats", type=int, default=8, metavar="K", help="responses per question (8)")
    add("--arms", default=DEFAULT_ARMS, metavar="ARMS",
        help="KIND[@TEMPERATURE][:name=value], separated by commas; a leading + adds to the "
             f"default, {DEFAULT_ARMS}")  # fmt: skip
    add("--temperature", type=float, default=0.7, metavar="T", help="of arms with @T (0.7)")
    add("--seeds", default="0", metavar="N,N", help="run populations once for each seed (0)")
    add("--limit", type=int, metavar="N", help="only the first N rows of each task")
    add(
        "--gen_kwargs", nargs="+", metavar="ARGS", help="for all arms, for example max_gen_toks=256"
    )
    add("--batch_size", default="8", metavar="N", help="rows at once, or auto (8)")
    add_loading(parser)
    add("--num_fewshot", type=int, metavar="N", help="examples before each question")
    add("--apply_chat_template", nargs="?", const=True, default=False, metavar="NAME",
        help="ask in the model's chat format, or in the one named")  # fmt: skip
    add("--fewshot_as_multiturn", action="store_true", help="examples as turns of the chat")
    add("--system_instruction", metavar="TEXT", help="before every prompt")
    add("--include_path", metavar="FOLDER", help="of tasks of your own")
    add("--encoder", metavar="NAME", help="sentence encoder: diversity columns for all tasks")
    add("--store", metavar="FILE", help="of responses (OUT/responses.sqlite)")
    add("--insist", action="store_true",
        help="compare what should not be compared; the report says so in red")  # fmt: skip
    add("--no_report", action="store_true", help="write comparison.json only")
    return parser
