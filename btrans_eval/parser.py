"""What reads the arguments of a command, and tells a mistake in one line."""

from __future__ import annotations

import argparse
import re
from typing import NoReturn

from btrans_eval.errors import UserError

_KINDS = {"int": "a whole number", "float": "a number"}
_EXAMPLES = {"int": "8", "float": "0.5"}


class Parser(argparse.ArgumentParser):
    """argparse's, which raises a UserError where that prints its usage and exits."""

    def error(self, message: str) -> NoReturn:
        """Tell what argparse says as every other mistake of a user is told."""
        helped = self.prog if self.add_help else self.prog.split()[0]
        raise UserError(_told(message, self.prog.partition(" ")[2], f"{helped} --help"))


def _told(message: str, command: str, helped: str) -> str:
    """A message of argparse as: which argument, what rule, what was received, what to type."""
    if needed := re.fullmatch(r"the following arguments are required: (.*)", message):
        return f"{command}: needs {needed[1]}; {helped} says what each is"
    if one_of := re.fullmatch(r"one of the arguments (.*) is required", message):
        return f"{command}: needs one of {', '.join(one_of[1].split())}; {helped} says what each is"
    of_one = re.fullmatch(r"argument (.+?): (.*)", message, flags=re.S)
    if not of_one:
        return f"{command}: {message}; {helped} lists what it takes"
    typed, rule = of_one[1].split("/")[-1], of_one[2]
    name = typed.lstrip("-")
    if number := re.fullmatch(r"invalid (int|float) value: (.*)", rule, flags=re.S):
        kind, got = number[1], number[2]
        return f"{name}: must be {_KINDS[kind]}, got {got}; for example {typed} {_EXAMPLES[kind]}"
    return f"{name}: {rule}; {helped} says what it takes"
