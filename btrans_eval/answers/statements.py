"""Where a text states its answer ("the answer is", "Answer:"), and where it only seems to."""

from __future__ import annotations

import re

_THE_ANSWER = (
    r"\b(?:answer|ans(?=\s*[:=])|final result"
    r"|(?:correct|best|right|closest) (?:option|choice|letter|one))\b"
    r"(?: choice| option| letter)?"
    r"(?: (?:to|for) (?:the|this|that|your)(?: \w+){1,3}?)?"
)
_IS = (
    r"(?:(?P<mark>[\"'”]?\s*[:=]|[^\S\n]+[-–—―](?=\s)|\s*\n)"
    r"| (?:is|was|(?:would|should|must|will) be)\b\s*:?)\s*"
)
_FILLERS = (
    r"(?:(?:therefore|thus|then|hence|clearly|indeed|simply|just|still|now|most|likely|probably"
    r"|definitely|actually|exactly|both|either|equal to|(?:the )?(?:option|choice|letter)"
    r"|approximately|about|around|roughly|nearly|almost|none of the above)\b[,:]?\s*"
    r"|(?:approx|ca)\.\s*){0,4}"
)
LEAD = re.compile(_THE_ANSWER + _IS + _FILLERS, re.I)
"""What comes right before a stated answer; its group mark is the colon, "=" or line end."""

_SUPPOSED = (
    r"(?:\bif|whether|why|suppos\w+|assum\w+|unless|doubt|n[o'’]t (?:think|believe))(?: that)?"
    r"(?: (?:the|my|our|an?))?(?: (?:final|correct|right|best|option|choice))?"
)
_DENIED = (
    r"\b(?:incorrect|wrong|possible|previous|partial|intermediate|not (?:the|an?)"
    r"|another|(?:the|an?) (?:other|alternative)"
    r"|(?:second|next|third)(?:[ -](?:best|closest|(?:most )?likely|right|correct))?)"
)
_DOUBT = re.compile(rf"(?:{_SUPPOSED}|{_DENIED})\s*\Z", re.I)

ASIDE = re.compile(
    r"(?:\b(?:for|all|any|every|when|where|if|with|let|since|by|than|find|and|or)|,)\s*$"
)
"""What makes the formula that follows it a condition or one of several, not a result."""

WORD = re.compile(r"[^\W\d_]{3,}|\b(?:is|of|to|so|we|in|or|an|as|at|by|if|it|be|no|on)\b", re.I)
"""A word of prose, which no formula holds."""


def claims(pattern: re.Pattern[str], text: str) -> list[re.Match[str]]:
    """The matches that are no hypothesis ("if the answer is ..."), the last first."""
    found = pattern.finditer(text)
    return [m for m in found if not _DOUBT.search(text[max(0, m.start() - 60) : m.start()])][::-1]


def is_said(lead: re.Match[str], said: str, rest: str) -> bool:
    """Whether the lead states this: what follows "Answer:" may be a chain of thought.

    So it counts where it fills its line, or, being an equation, the rest of the text.
    """
    end = r"[^\n\w]{0,3}\s*" + (r"\Z" if "=" in said else r"(?:\n|\Z)")
    return not lead["mark"] or re.match(end, rest) is not None
