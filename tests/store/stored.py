"""A store with known rows, and commands on it as a user types them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from btrans_eval.errors import UserError
from btrans_eval.store.keys import Context, key
from btrans_eval.store.store import ResponseId, Store, StoredResponse

CONTEXT = Context("org/model", "sigma=0.01", {"seed": 0, "asked": {"do_sample": True}})
AS_NOBODY = """
import locale, btrans_eval.cli, btrans_eval.store.command  # later only root may be able to
import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)
"""


def place(number: int) -> ResponseId:
    return ResponseId("task", f"prompt {number // 4}", number % 4)


def key_of(number: int, context: Context = CONTEXT) -> bytes:
    return key(context.digest, place(number).prompt, place(number).member, 0)


def text_of(number: int) -> str:
    return f"response {number} " * (1 + number % 40) + "🙂"


def logprob_of(number: int) -> float | None:
    # no byte of it is 0, as those behind the end of a file that was cut are
    return -(number + 1) / 7.3 if number % 5 else None


def add(store: Store, numbers: range, text: str | None = None) -> None:
    rows = [
        (
            place(number),
            StoredResponse(text or text_of(number), number, number % 3 == 0, logprob_of(number)),
        )
        for number in numbers
    ]
    store.add_responses(CONTEXT, rows, 0.5)


def filled(path: Path, rows: int, others: int = 0) -> Path:
    """A closed store of some responses, and of loglikelihoods and verdicts."""
    store = Store(path)
    for start in range(0, rows, 8):
        add(store, range(start, min(start + 8, rows)))
    store.add_likelihoods(CONTEXT, [(place(each), (-each / 8, True)) for each in range(others)])
    verdicts = store.verdicts("judge 1")
    for number in range(others):
        verdicts["number", str(number), "1"] = number % 2 == 0
    store.close()
    return path


def texts(path: Path, rows: int) -> dict[int, str]:
    """What a store returns, by number of row."""
    store = Store(path)
    try:
        found = store.responses([key_of(each) for each in range(rows)])
    finally:
        store.close()
    return {each: found[key_of(each)].text for each in range(rows) if key_of(each) in found}


def refusal(function, *arguments) -> str:
    """The line that a user's mistake is told in."""
    try:
        function(*arguments)
    except UserError as error:
        assert "\n" not in str(error)
        return str(error)
    raise AssertionError("nothing was refused")


def started(code: str, *arguments) -> subprocess.Popen:
    """A Python process that has this module's names."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n" + (
        f"from stored import *\n{code}"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip


def ran(code: str, *arguments) -> tuple[int, str, str]:
    """Exit code, output and error output of such a process."""
    process = started(code, *arguments)
    output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors


def typed(*arguments, before: str = "") -> tuple[int, str, str]:
    """The same of ``btrans-eval store`` with these arguments."""
    code = f"{before}\nfrom btrans_eval.cli import main; main(['store', *sys.argv[1:]])"
    return ran(code, *arguments)
