"""What ends a run is told in the last line, below every progress bar."""

from __future__ import annotations

import pytest
from tqdm import tqdm

from btrans_eval.errors import UserError
from btrans_eval.harness import command


def answers():
    with tqdm(total=3, desc="Responses", mininterval=0) as bar:
        for number in range(3):
            bar.update()
            yield number


@pytest.mark.parametrize(
    "cause, line",
    [
        (KeyboardInterrupt(), "btrans-eval: interrupted; nothing that was generated is kept."),
        (UserError("store: is on a full disk"), "btrans-eval: store: is on a full disk"),
    ],
)
def test_a_bar_that_is_held_open_ends_before_the_last_line(cause, line, capsys):
    def score():
        held = answers()  # suspended when the run is stopped, and alive in the traceback
        next(held)
        raise cause

    with pytest.raises(SystemExit), command.one_line() as run:
        run.is_ours = True
        score()
    said = capsys.readouterr().err.strip().splitlines()
    assert said[0].startswith("Responses")
    assert said[-1].startswith(line)
