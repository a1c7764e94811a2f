"""The command ``btrans-eval``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from btrans_eval import _autoload
from btrans_eval.errors import UserError
from btrans_eval.parser import Parser

USAGE = """btrans-eval COMMAND ...

  run [--repeats K] [--encoder NAME] [--partition NAME]
      [--store FILE [--shard I/N | --from_store]] [every flag of lm_eval run]
        lm_eval run; with --repeats every generative task becomes a population task
  compare --tasks NAMES --model_args ARGS --repeats K --output_path OUT [...]
  compare FILE.yaml --output_path OUT
        run stock and population arms on the same questions, with paired intervals and a report
  compare RUN_A RUN_B ... --output_path OUT
        compare finished runs of any model type
  train FILE.yaml --output_path OUT
  train --task NAME --model_args ARGS [--arms ARMS] [...] --output_path OUT
        reinforcement learning (GRPO) of a LoRA adapter, with members and without, evaluated
  calibrate --model_args ARGS [--kl N,N] [--text FILE] [--output_path OUT]
        sigma for a budget of noise, what it does to the model, and what each layer bears
  fit --model_args ARGS (--text FILE | --task NAME) --output FILE.safetensors [...]
        learn mean and standard deviation of the noise from text, for prior=FILE
  report OUT
        write the report of a comparison again
  abstain OUT [--coverage 0.8] [--by share|of_valid|certainty] [--arm NAME] [--output FILE]
  abstain RUN [--coverage 0.8] [--by entropy|epistemic|probability] [--output FILE]
        the questions that a vote (OUT of compare), or members' likelihoods of choices (RUN of
        lm_eval, multiple choice), would leave unanswered, and what that buys, as JSON lines
  doubt RUN [--against STOCK_RUN] [--output FOLDER]
        how sure members are of multiple choice, beside the model without noise, both as they are
        and calibrated by a temperature
  export FORMAT OUT --model-id ORG/NAME [...]
        result files for leaderboards
  store FILE [list | export [--output FILE] | remove (--model NAME | --older-than DAYS) |
              repair NEW]
        what a store of responses holds
  store merge INTO FROM ...
        copy what other machines have generated into one store
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a subcommand; a user's mistake is one line and exit code 2."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    commands = {
        "run": run, "compare": compare, "train": train, "calibrate": calibrate, "fit": fit,
        "report": report, "abstain": abstain, "doubt": doubt, "export": export, "store": store,
    }  # fmt: skip
    if given[:1] in ([], ["-h"], ["--help"]):
        print(f"usage: {USAGE}", end="")
        return
    try:
        if given[0] not in commands:
            raise UserError(f"no such command: {given[0]}; try {', '.join(commands)}")
        _autoload.install()  # the start-up line is not there in a plain checkout
        commands[given[0]](given[1:])
    except UserError as error:
        print(f"btrans-eval: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        sys.stderr.close()
        sys.exit(0)


def run(arguments: Sequence[str]) -> None:
    """``lm_eval run`` in this process; with --repeats every generative task gives K responses."""
    own, others = _run_parser().parse_known_args(arguments)
    from btrans_eval.harness.launch import lm_eval_run

    named = {"store": own.store, "shard": own.shard, "from_store": own.from_store}
    model_arguments = {name: value for name, value in named.items() if value is not None}
    lm_eval_run(others, own.repeats, own.encoder, own.partition, model_arguments)


def compare(arguments: Sequence[str]) -> None:
    """Run arms, or take finished runs, and compare them."""
    from btrans_eval.compare import command

    command.main(arguments, lambda folder: report([str(folder)]))


def train(arguments: Sequence[str]) -> None:
    """Train adapters, with members and without, and compare them."""
    from btrans_eval.training import command

    command.main(arguments)


def calibrate(arguments: Sequence[str]) -> None:
    """Measure how much noise a model bears."""
    from btrans_eval.calibration import command

    command.main(arguments)


def fit(arguments: Sequence[str]) -> None:
    """Learn noise from text."""
    from btrans_eval.calibration import fit_command

    fit_command.main(arguments)


def report(arguments: Sequence[str]) -> None:
    """Write the report of a comparison."""
    given = _report_parser().parse_args(arguments)
    from btrans_eval.report.report import write

    print(f"report: {write(Path(given.folder), given.encoder)}")


def abstain(arguments: Sequence[str]) -> None:
    """Tell which questions a population would leave unanswered."""
    given = _abstain_parser().parse_args(arguments)
    from btrans_eval.report.abstain import lines

    text = "\n".join(lines(Path(given.folder), given.coverage, given.by, given.arm)) + "\n"
    if given.output is None:
        print(text, end="")
        return
    try:
        Path(given.output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"output: {given.output} cannot be written ({error.strerror})") from None


def doubt(arguments: Sequence[str]) -> None:
    """Tell how sure members are of multiple choice."""
    given = _doubt_parser().parse_args(arguments)
    from btrans_eval.report.doubt import write

    print(write(given.run, given.against, given.output))


def export(arguments: Sequence[str]) -> None:
    """Write result files for leaderboards; nothing is sent anywhere."""
    from btrans_eval.leaderboards import export as write
    from btrans_eval.leaderboards import options_from

    given = _export_parser().parse_args(arguments)
    options = options_from(given)
    for path in write(given.format, Path(given.folder), options):
        print(path)


def store(arguments: Sequence[str]) -> None:
    """List, export, prune, repair or merge stores of responses."""
    if arguments[:1] == ["merge"]:
        merge(arguments[1:])
        return
    given = _store_parser().parse_args(arguments)
    from btrans_eval.store import command

    if given.action == "export":
        command.export(given.file, given.output)
    elif given.action == "remove":
        command.remove(given.file, given.model, given.older_than)
    elif given.action == "repair":
        command.repair(given.file, given.new)
    else:
        command.show(given.file)


def merge(arguments: Sequence[str]) -> None:
    """Join stores of responses."""
    given = _merge_parser().parse_args(arguments)
    from btrans_eval.store.merge import merge as join

    join(given.into, given.sources)


def parsers() -> list[argparse.ArgumentParser]:
    """What reads the arguments of each command, in the order of the usage."""
    from btrans_eval.calibration import command as calibration
    from btrans_eval.calibration import fit_command
    from btrans_eval.compare import command as comparison
    from btrans_eval.training import command as training

    return [
        _run_parser(), comparison.make_parser(), training.make_parser(), calibration.make_parser(),
        fit_command.make_parser(), _report_parser(), _abstain_parser(), _doubt_parser(),
        _export_parser(), _store_parser(), _merge_parser(),
    ]  # fmt: skip


def _run_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="btrans-eval run", usage=USAGE, add_help=False)
    add = parser.add_argument
    add("--repeats", type=int, metavar="K", help="view every generative task with K responses")
    add("--encoder", metavar="NAME", help="sentence encoder, or default: diversity of embeddings")
    add("--partition", metavar="NAME", help="novelty-bench: how many responses differ in meaning")
    add("--store", metavar="FILE", help="the model argument store=")
    add("--shard", metavar="I/N", help="the model argument shard=")
    add("--from_store", action="store_true", default=None, help="the model argument from_store=")
    return parser


def _report_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="btrans-eval report", description=report.__doc__)
    parser.add_argument("folder", metavar="OUT", help="what btrans-eval compare has written")
    parser.add_argument(
        "--encoder", metavar="NAME", default="default",
        help="sentence encoder for the picture of embeddings (default)",
    )  # fmt: skip
    return parser


def _abstain_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="btrans-eval abstain", description=abstain.__doc__)
    add = parser.add_argument
    add("folder", metavar="OUT",
        help="what btrans-eval compare has written, of votes; or the --output_path of "
             "lm_eval --model btrans-hf … --log_samples over multiple choice, of likelihoods"
    )  # fmt: skip
    add("--coverage", type=float, default=0.8, metavar="SHARE", help="share to answer (0.8)")
    add("--by", metavar="WHAT",
        help="share, of_valid or certainty (share); of a run of multiple choice entropy, "
             "epistemic or probability (entropy)")  # fmt: skip
    add("--arm", metavar="NAME", help="of the comparison (all that vote)")
    add("--output", metavar="FILE", help="default: standard output")
    return parser


def _doubt_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="btrans-eval doubt", description=doubt.__doc__)
    add = parser.add_argument
    add("run", metavar="RUN",
        help="--output_path of lm_eval --model btrans-hf … --log_samples over multiple choice"
    )  # fmt: skip
    add("--against", metavar="STOCK_RUN", help="the same tasks by the model without noise")
    add("--output", metavar="FOLDER", help="for doubt.json and pictures")
    return parser


def _export_parser() -> argparse.ArgumentParser:
    from btrans_eval.leaderboards import FORMATS, add_arguments

    parser = Parser(prog="btrans-eval export", description=export.__doc__)
    parser.add_argument("format", metavar="FORMAT", help=", ".join(FORMATS))
    parser.add_argument("folder", metavar="OUT", help="what btrans-eval compare has written")
    add_arguments(parser)
    return parser


def _store_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="btrans-eval store", description="List, export, prune or repair a store of responses."
    )
    parser.add_argument("file", metavar="FILE", help="the store")
    actions = parser.add_subparsers(dest="action", help="what to do (list)")
    actions.add_parser("list", help="what it holds (the default)")
    export = actions.add_parser("export", help="every response as one JSON line")
    export.add_argument("--output", metavar="FILE", help="a new file; default: standard output")
    remove = actions.add_parser("remove", help="drop responses and loglikelihoods")
    which = remove.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", metavar="NAME", help="as listed")
    which.add_argument("--older-than", metavar="DAYS", type=float, help="made before so many days")
    repair = actions.add_parser("repair", help="copy what is intact of a damaged store")
    repair.add_argument("new", metavar="NEW", help="a new file")
    return parser


def _merge_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="btrans-eval store merge", description=merge.__doc__)
    parser.add_argument("into", metavar="INTO", help="a store; made where there is none")
    parser.add_argument("sources", metavar="FROM", nargs="*", help="stores to copy from")
    return parser


if __name__ == "__main__":
    main()
