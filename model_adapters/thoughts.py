"""Which stop strings end a thinking model's response: the same ones in every engine.

A thinking model is one that is given ``think_end_token``. Its thoughts are all that it says up to
the first end of thoughts, and the white space behind that; what follows is its answer.

- A stop string that stands in the thoughts, or begins there, ends nothing. The first one that
  stands whole in the answer ends the response, and nothing said later is part of it, not even
  another end of thoughts.
- Until then only the end token, or its text, and the limit end a response.
- The text is the harness's own cut of what was said by then: what follows the last end of
  thoughts (all of it, where thoughts never end) without white space in front, up to the first
  stop string in that.
- A response that reaches the limit is truncated, whatever stop strings its thoughts hold. Where
  thinking is switched off (``enable_thinking=False``) a response that ends no thoughts has none,
  so a stop string in it is its end.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

from btrans_eval.errors import UserError

SCHEME = 2
"""Number of the rule above; 1 let a stop string in the thoughts end a response in `btrans-hf`."""


def stop_place(text: str, until: Sequence[str], end: str | None = None) -> int | None:
    """Where the first stop string that counts is complete; None where there is none.

    Args:
        text: what was said so far.
        until: stop strings; empty ones are none.
        end: text that ends thoughts; None: nothing is thought.
    """
    answer = text if end is None else answer_of(text, end)
    if answer is None:
        return None
    before = len(text) - len(answer)
    return min(
        (before + answer.index(stop) + len(stop) for stop in until if stop and stop in answer),
        default=None,
    )


def answer_of(text: str, end: str) -> str | None:
    """What follows the thoughts; None while they last."""
    _, found, rest = text.partition(end)
    return rest.lstrip() if found else None


def has_to_wait(end: int | str | None, until: Sequence[str], end_text: str) -> bool:
    """Whether stop strings have thoughts to wait for.

    Args:
        end: the harness's ``think_end_token``.
        until: stop strings, with the end token's text.
        end_text: that text, which waits for nothing.
    """
    return end not in (None, "") and any(stop not in ("", end_text) for stop in until)


def refuse_special(end: int | str | None, tokenizer: Any) -> None:
    """Refuse a text that ``hf`` never finds, because it leaves special tokens out of texts.

    Raises:
        UserError: naming the token's id.
    """
    for number, token in tokenizer.added_tokens_decoder.items():
        if isinstance(end, str) and token.special and token.content in end:
            raise UserError(
                f"think_end_token: {end!r} holds the special token {token.content!r}, which is "
                "left out of texts, so the end of the thoughts would not be found; give the id of "
                f"a token that ends them ({token.content!r} is think_end_token={number})"
            )


def fact(end: int | str | None, may_think: bool) -> Any:
    """What a stored response depends on; that of a model that does not think never changed."""
    if end in (None, ""):
        return end
    return {"token": end, "may_think": may_think, "scheme": SCHEME}


def first_prefix(count: int, has_stopped: Callable[[int], bool]) -> int:
    """The shortest length at which a response has stopped, given that it has at ``count``."""
    return bisect_left(range(count), True, key=has_stopped)
