"""Two answers asked once: as a judge says, with its processes gone afterwards."""

from __future__ import annotations

import pytest

from btrans_eval import equal, extract
from btrans_eval.answers.equivalence import Judge
from btrans_eval.errors import UserError


@pytest.mark.parametrize(
    "a, b, kind, same",
    [
        ("1/2", "0.5", "latex", True),
        ("\\frac{1}{2}", "\\frac{2}{4}", "latex", True),
        ("x^2-1", "(x-1)(x+1)", "latex", True),
        ("50\\%", "0.5", "latex", False),
        ("(1,2)", "\\{1,2\\}", "latex", False),
        (extract("it is 7.0", "number"), extract("7", "number"), "number", True),
        ("b", "B", "letter", True),
        ("blue", "red", "text", False),
        ("", "", "text", False),
        ("  ", "7", "number", False),
    ],
)
def test_verdicts(a, b, kind, same):
    assert equal(a, b, kind) is equal(b, a, kind) is same
    if a.strip():
        with Judge() as judge:
            assert judge.equal(a, b, kind) is same


@pytest.mark.parametrize(
    "given, said", [(("7", "7", "colour"), "kind: must be one of"), (("7", None), "b: must be")]
)
def test_mistakes_are_one_line(given, said):
    with pytest.raises(UserError, match=said):
        equal(*given)
