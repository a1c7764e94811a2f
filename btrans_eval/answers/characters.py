"""Characters folded once, before anything is read: one sign for what looks and means the same."""

from __future__ import annotations

import re
import unicodedata

_HYPHENS = "\u2010\u2011\u2212\ufe63\u02d7\u2796"  # hyphens and signs: what "-" is, these are
_DASHES = "\u2012\u2013\u2014\u2015\ufe58\u207b"  # dashes of prose, and the minus of exponents
_INVISIBLE = "\u00ad\u200b\u200c\u200d\u2060\ufeff"
_BLANKS = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"

_SIGNS = str.maketrans(
    dict.fromkeys(_HYPHENS, "-") | dict.fromkeys(_INVISIBLE, "") | {"。": ". ", "、": ", "}
)
# of other widths and weights: ５, Ａ, （, 𝟓, 𝐀
_COMPATIBLE = re.compile("[\uff01-\uff5e\U0001d400-\U0001d7ff]")
_GROUPED = re.compile(rf"(?<=[0-9])[{_BLANKS}](?=[0-9]{{3}}(?![0-9]))")
_BLANK = re.compile(f"[{_BLANKS}]")
_MINUS = re.compile(
    rf"(?:(?<=[\s#=+*/^<>≤≥≈(\[{{|,:·×÷$\"'“‘])|(?<=\A))[{_DASHES}](?=[$€£]?\.?[0-9]|\\[dt]?frac)"
    rf"|(?<==)[{_DASHES}](?= [0-9])|(?<== )[{_DASHES}](?= [0-9])"
)
# of a range, and of a compound, in which a long dash would separate
_RANGE = re.compile(
    f"(?<=[0-9])[{_DASHES[:-1]}](?=[0-9])|(?<=[A-Za-z])[‒–](?=[0-9])|(?<=[0-9])[‒–](?=[A-Za-z])"
)


def fold(text: str) -> str:
    """The text with one minus sign, one blank, and digits and letters of one width.

    A dash is a minus only directly before a number and at the start of the text or after a blank,
    an operator or a bracket: "x = –5" holds -5, "Answer — 42" holds 42. Between two digits it
    is the hyphen of a range ("10–12"). Odd blanks that group digits by three become commas.
    """
    text = _COMPATIBLE.sub(lambda m: unicodedata.normalize("NFKC", m[0]), text.translate(_SIGNS))
    text = _BLANK.sub(" ", _GROUPED.sub(",", text))
    return _RANGE.sub("-", _MINUS.sub("-", text))
