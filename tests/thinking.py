"""What thinking models say, and what every engine must make of it."""

from __future__ import annotations

from dataclasses import dataclass

END = "w11"  # and its id is 11
LIMIT = 9
CUT = True  # by the limit


@dataclass(frozen=True)
class Case:
    """Words that were generated, and the response that they are.

    Attributes:
        said: words of the tiny tokenizer, with anything that a batch wrote after the end.
        until: stop strings.
        text: of the response, whose tokens are counted up to its end token or stop string.
    """

    said: str
    until: tuple[str, ...]
    text: str
    tokens: int
    truncated: bool = False
    may_think: bool = True


CASES = {
    # a stop string ... inside the thoughts
    "inside": Case("w5 w9 w6 w11 w7 w8 </s>", ("w9",), "w7 w8", 6),
    "inside, twice": Case("w9 w5 w9 w11 w7 </s>", ("w9",), "w7", 5),
    "inside, as the first": Case("w9 w11 w7 </s>", ("w9",), "w7", 3),
    "inside, of two words": Case("w5 w9 w10 w11 w7 </s>", ("w9 w10",), "w7", 5),
    "inside, each of several": Case("w9 w12 w11 w7 </s>", ("w9", "w12"), "w7", 4),
    "inside, to the limit": Case("w9 w5 w6 w7 w11 w7 w8 w6 w5", ("w9",), "w7 w8 w6 w5", 9, CUT),
    # ... after them
    "after": Case("w5 w11 w7 w9 w6 w8", ("w9",), "w7 ", 4),
    "after, at once": Case("w5 w11 w9 w6", ("w9",), "", 3),
    "after, of two words": Case("w5 w11 w7 w9 w10 w6", ("w9 w10",), "w7 ", 5),
    "after, of which half is said": Case("w5 w11 w7 w9 w6 </s>", ("w9 w10",), "w7 w9 w6", 5),
    "after, the second of two": Case("w5 w11 w7 w12 w9", ("w9", "w12"), "w7 ", 4),
    "after, one within the other": Case("w5 w11 w7 w9 w10 w6", ("w9 w10", "w9"), "w7 ", 4),
    "after, at the limit": Case("w5 w6 w7 w8 w5 w11 w6 w7 w9", ("w9",), "w6 w7 ", 9),
    "after, in a part of a word": Case("w5 w11 w7 w12 w6", ("w1",), "w7 ", 4),
    "after, and into a new end": Case("w5 w11 w7 w11 w8 w6", ("7 w1",), "", 4),
    "after no thoughts": Case("w11 w7 w9", ("w9",), "w7 ", 3),
    # ... on both sides
    "inside and after": Case("w5 w9 w11 w7 w9 w6", ("w9",), "w7 ", 5),
    "inside one, after another": Case("w5 w9 w11 w7 w12 w9", ("w9", "w12"), "w7 ", 5),
    # ... across the end of the thoughts
    "with their end": Case("w5 w11 w7 w8 </s>", ("w11 w7",), "w7 w8", 4),
    "up to their end": Case("w5 w9 w11 w7 w8 </s>", ("w9 w11",), "w7 w8", 5),
    "around their end": Case("w9 w11 w10 w8 </s>", ("w9 w11 w10",), "w10 w8", 4),
    "their end itself": Case("w5 w11 w7 w8 </s>", ("w11",), "w7 w8", 4),
    # thoughts that go on or come again
    "thinks again": Case("w5 w11 w7 w11 w8 w9 w6", ("w9",), "w8 ", 6),
    "thinks again with a stop string": Case("w5 w11 w7 w9 w11 w8 </s>", ("w9",), "w7 ", 4),
    "never ends": Case("w5 w9 w6 w7 </s>", ("w9",), "w5 ", 4),
    "never ends, to the limit": Case("w5 w9 w6 w7 w8 w5 w6 w7 w8", ("w9",), "w5 ", 9, CUT),
    "ends at the limit": Case("w5 w9 w6 w7 w8 w5 w6 w7 w11", ("w9",), "", 9, CUT),
    # end tokens
    "the end token inside": Case("w5 w9 </s> w11 w7", ("w9",), "w5 ", 2),
    "its text is a stop string, too": Case("w5 w6 w11 w7 </s>", ("</s>", "w9"), "w7", 4),
    # thinking is off
    "off": Case("w5 w9 w6 w7 w8 w5 w6 w7 w8", ("w9",), "w5 ", 2, may_think=False),
    "off, no stop string": Case("w5 " * 9, ("w9",), "w5 w5 w5 w5 w5 w5 w5 w5 w5", 9, CUT, False),
    "off, and it thinks": Case("w5 w9 w11 w7 w9 w6", ("w9",), "w7 ", 5, may_think=False),
}  # fmt: skip
