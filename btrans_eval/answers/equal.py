"""Whether two answers are the same answer, asked once."""

from __future__ import annotations

from btrans_eval.answers.equivalence import Judge
from btrans_eval.answers.normalize import normalize
from btrans_eval.config import EXTRACTORS, check_choice
from btrans_eval.errors import UserError


def equal(a: str, b: str, kind: str = "latex") -> bool | None:
    """Whether two answers are the same answer, as votes and scores see it.

    Formulas that are not written alike are compared by math_verify in a process of its own, which
    takes a second or two to start; to compare many keep a `Judge` (``answers.equivalence``).

    Args:
        a, b: answers, such as `extract` returns. One of which nothing is left when it is
            normalized is no answer, and equals none.
        kind: letter, integer, number, latex or text.

    Returns:
        None where it could not be decided (math_verify timed out or died); votes and scores then
        take the two for unequal.

    Raises:
        UserError: on another kind, or an answer that is no text.

    Example:
        >>> equal("1/2", "0.5"), equal("50%", "0.5")
        (True, False)
        >>> equal("Blue sky", "blue  SKY", kind="text")
        True
    """
    check_choice("kind", kind, EXTRACTORS)
    for name, answer in (("a", a), ("b", b)):
        if not isinstance(answer, str):
            raise UserError(
                f"{name}: must be an answer as text, got {answer!r}; extract(response, kind) "
                "returns None where a response states no answer"
            )
    if not (normalize(a, kind) and normalize(b, kind)):
        return False
    with Judge() as judge:
        return judge.equal(a, b, kind)
