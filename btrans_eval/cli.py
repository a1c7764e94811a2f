"""The command ``btrans-eval``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from btrans_eval.errors import UserError

USAGE = "btrans-eval run [--repeats K] [--encoder NAME] [every flag of lm_eval run]"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a subcommand; a user's mistake is one line and exit code 2."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="btrans-eval", usage=USAGE, add_help=not given)
    if given[:1] in ([], ["-h"], ["--help"]):
        print(f"usage: {USAGE}\n\nrun: lm_eval run, with every task viewed as a population task")
        return
    if given[0] != "run":
        parser.error(f"no such command: {given[0]}; try btrans-eval run")
    try:
        run(given[1:])
    except UserError as error:
        print(f"btrans-eval: {error}", file=sys.stderr)
        sys.exit(2)


def run(arguments: Sequence[str]) -> None:
    """``lm_eval run`` in this process; with --repeats every generative task gives K responses."""
    parser = argparse.ArgumentParser(prog="btrans-eval run", usage=USAGE, add_help=False)
    parser.add_argument("--repeats", type=int, metavar="K")
    parser.add_argument("--encoder", metavar="NAME")
    own, others = parser.parse_known_args(arguments)
    from btrans_eval.harness.launch import lm_eval_run

    lm_eval_run(others, repeats=own.repeats, encoder=own.encoder)


if __name__ == "__main__":
    main()
