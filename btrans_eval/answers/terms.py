"""The structure of an answer, and the parts of it that hold no others: numbers, words, names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from btrans_eval.answers.latex import squeeze

GREEK = (
    r"\\(?:(?:var)?(?:alpha|beta|gamma|delta|epsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu|xi|rho|"
    r"sigma|tau|phi|chi|psi|omega)|Gamma|Delta|Theta|Lambda|Xi|Sigma|Phi|Psi|Omega|hbar|ell)"
    r"(?![A-Za-z])"
)
_GROUP = r"\{(?:[^{}]|\{[^{}]*\})*\}"
_LETTER = (
    rf"(?:[A-Za-z]|{GREEK}|\\(?:vec|hat|bar|overline|d?dot|tilde|mathbf|mathcal) ?{_GROUP})"
    rf"(?:_{_GROUP})?(?:'+|\^\{{(?:\\prime ?)+\}})?"
)
# One unknown: a letter with its index; f(x), f^{-1}(2), dM/dt, which are no products
SYMBOL = (
    rf"(?:\\frac\{{d(?:\^\{{\d\}})? ?{_LETTER}\}}\{{d ?{_LETTER}(?:\^\{{\d\}})?\}}"
    rf"|{_LETTER}(?:\^\{{-1\}})?\((?:[A-Za-z]|\d|{GREEK})\)|{_LETTER})"
)
_NAME = re.compile(
    rf"(?:m?\\(?:angle|triangle) ?)?{SYMBOL}(?: ?{SYMBOL})*|\([A-Za-z](?:,[A-Za-z])+\)|\|[A-Z]+\||"
    r"[A-Za-z]\([A-Za-z](?:,[A-Za-z])*\)|\\text\{[^{}]*\}"
)
_DECIMAL = r"(?:\d+\.?\d*|\.\d+)"
_NUMBERS = [re.compile(pattern) for pattern in (
    rf"(?P<n>{_DECIMAL})(?:/(?P<d>{_DECIMAL}))?",
    rf"\\frac\{{(?P<n>-?{_DECIMAL})\}}\{{(?P<d>-?{_DECIMAL})\}}",
    r"(?P<w>\d+)(?:\\frac\{(?P<n>\d+)\}\{(?P<d>\d+)\}| (?P<p>\d+)/(?P<q>\d+))",  # 1 4/5
    rf"(?P<n>{_DECIMAL})(?:[eE]|\\cdot10\^)\{{?(?P<e>[-+]?\d{{1,3}})\}}?",
    r"10\^\{(?P<e>-?\d{1,3})\}",
    r"(?P<n>\d*\.\d*)\\(?:overline|bar|dot)\{(?P<r>\d+)\}",
)]  # fmt: skip


@dataclass(frozen=True)
class Term:
    """One answer, or one part of it.

    Attributes:
        text: the value in normalized LaTeX, without name and unit.
        shape: "" for an expression, "number", "words", "relation" (an equation or inequality that
            gives no variable its value), "{}" for a list or set, "()", "[]", "(]", "[)" or "<>"
            for a tuple, a vector or an interval, "cup", "2x3" for a matrix.
        parts: what the brackets hold; of a set in the order of their texts.
        name: what the value is said to be of; "" where the answer is the value alone.
        unit: "" where there is none; "%" for a percentage.
        number: the exact value, where the shape is "number".
    """

    text: str
    shape: str = ""
    parts: tuple[Term, ...] = ()
    name: str = ""
    unit: str = ""
    number: Fraction | None = None

    def __str__(self) -> str:
        """The normalized answer; reading it again gives the same structure."""
        unit = "\\%" if self.unit == "%" else f"\\text{{ {self.unit}}}" if self.unit else ""
        return (f"{self.name}=" if self.name else "") + self.text + unit


def is_name(text: str) -> bool:
    text = text.strip()
    return bool(_NAME.fullmatch(squeeze(text)) or re.fullmatch(r"[A-Za-z][a-z ]{3,40}", text))


def named(text: str) -> str:
    words = re.fullmatch(r"\\text\{([^{}]*)\}|([A-Za-z][a-z ]{3,})", text.strip())
    return (
        f"\\text{{{' '.join((words[1] or words[2]).casefold().split())}}}"
        if words
        else squeeze(text)
    )


def exact(text: str) -> Fraction | None:
    """The exact value of one number (decimal, fraction, mixed, 3e8, 0.\\overline{3}), else None."""
    text = squeeze(text)
    for pattern in _NUMBERS if len(text) < 400 else ():
        if m := pattern.fullmatch(text):
            got = {key: value for key, value in m.groupdict().items() if value}
            top = Fraction((got.get("n") or got.get("p") or "1").removesuffix(".") or "0")
            below = Fraction((got.get("d") or got.get("q") or "1").removesuffix("."))
            if not below or ("w" in got and top >= below):
                return None  # 2\frac{5}{3} is a product
            value = top / below + int(got.get("w", 0))
            if "r" in got:
                places = len(got["n"].partition(".")[2])
                value += Fraction(int(got["r"]), (10 ** len(got["r"]) - 1) * 10**places)
            return value * Fraction(10) ** int(got.get("e", 0))
    return None


def number_term(value: Fraction) -> Term:
    return Term(str(value), "number", number=value)


def words_term(text: str) -> Term:
    """Words, without case; a single letter is the letter (``\\text{(C)}`` is C)."""
    content = " ".join(re.sub(r"\\text(?![A-Za-z])|\\?[{}]", " ", text).split()).strip(" .,;")
    if letter := re.fullmatch(r"\(?([A-Za-z])\)?", content):
        return Term(letter[1])
    folded = re.sub(r"\bsolutions\b", "solution", content.casefold())
    return Term(f"\\text{{{folded}}}", "words")
