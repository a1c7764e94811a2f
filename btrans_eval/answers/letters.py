"""The letter of the choice that a response states."""

from __future__ import annotations

import re

from btrans_eval.answers.response_text import boxes, plain_text, visible_text
from btrans_eval.answers.statements import LEAD, claims
from btrans_eval.errors import UserError

# A boxed letter is read as \x01C\x01: plain text has no other \x01.
_BOXED_LETTER = re.compile(r"\s?(?:\(([a-zA-Z])\)|([A-Z]))(?:\s?[.):,]?\s.*|[.):]?)")

_SPECIES = r"coli|pylori|elegans|subtilis|difficile|cerevisiae|melanogaster|albicans|aureus|cereus"
_AFTER_CAPITAL = (  # it counts where the sentence ends or gives its reason, not in "B cells"
    r"\s*$",
    r"\s*\n",
    r"[,;!)\]\"”]",
    r":\s",
    rf"\.(?!\w|\s[A-Z]\.|\s(?:{_SPECIES})\b)",  # not in "J. K." or "E. coli"
    r"\s(?:because|since|as|which|due|given|but|and|or)\b",
    r"\s[–—]",
    r"\s\((?![a-z]\))",
)
_STATED_LETTERS = (
    r"\x01(?P<box>[A-Z])\x01",
    r"[(\[] ?(?P<parentheses>[A-Za-z]) ?[)\]]",
    rf"(?!A:)(?P<capital>[A-Z])(?![\w'’])(?=[\"'”’]?(?:{'|'.join(_AFTER_CAPITAL)}))",
    r"(?P<small>[a-z])(?=[.,;:!)](?:\s|$)|\s*$|\n)",
)
_STATED = re.compile(rf"[\"'“‘]?(?:{'|'.join(_STATED_LETTERS)})(?!\?)")
_ANOTHER = re.compile(
    r"[)\].\x01]?\s?(?:,|and\b|or\b|&|/)[\s,]*(?:and |or )?(?:\([A-J]\)|[A-HJ]\b)"
)

_NAMED = r"(?:(?i:\b(?:option|choice|answer|letter)) \(?|\()(?P<letter>[A-Z])\b\)?"
_IS_BEST = r" is (?:therefore |thus |indeed )?(?:the )?(?:most |single )?(?:correct|right|best)\b"
_OTHER_STATEMENTS = (
    re.compile(r"\x01(?P<letter>[A-Z])\x01"),
    re.compile(_NAMED + _IS_BEST + r"(?: answer| option| choice| one)?(?=[.!,;\n]|$| because)"),
    re.compile(rf"\b(?P<letter>[A-Z])(?= ){_IS_BEST}(?: answer| option| choice)"),
    re.compile(rf"\b(?:I|[Ww]e)(?:'ll|'d| will| would)? (?:choose|pick|select|go with) {_NAMED}"),
    re.compile(rf"\b(?:corresponds to|matches|which is|closest to)(?: the)? {_NAMED}(?=[.!\n]|$)"),
)

_ONLY_LETTER = re.compile(r"[(\[]([A-Za-z])[)\]]\.?|([A-Z])[.)]?|([a-z])")
_MARKED_OPTION = re.compile(
    r"(?:\(([A-Z])\)|([A-Z])[.)]) (?!(?:is|are|and|or|was|can|does|has|coli)\b)"
)
_OPTION_MARK = re.compile(r"(?:^|\s)\(?[A-J][.)](?:\s|$)")


def extract_letter(text: str, choices: int = 10) -> str | None:
    """The choice letter stated last ("the answer is (C)" and its kin), else the bare one.

    A last statement that names several letters, or one beyond the choices, is no answer.
    """
    if not 1 <= choices <= 26:
        raise UserError(f"choices must lie in 1..26, got {choices}: give the number of choices")
    seen = visible_text(text).replace("\x01", "")
    plain = plain_text(_with_boxes_marked(seen)).strip()
    said = _stated_letters(plain)
    letter = max(said)[1] if said else _bare_letter(plain)
    return letter if letter and ord(letter) - ord("A") < choices else None


def _with_boxes_marked(text: str) -> str:
    """The text with each innermost box as its letter between \\x01, as a blank if it has none."""
    edge = len(text)
    for start, end, _, content in reversed(boxes(text)):
        if end <= edge:
            m = _BOXED_LETTER.fullmatch(plain_text(content))
            mark = f" \x01{(m[1] or m[2]).upper()}\x01 " if m else " "
            text, edge = text[:start] + mark + text[end:], start
    return text


def _stated_letters(plain: str) -> list[tuple[int, str]]:
    """(position, letter) of each statement; "" for one that names several letters."""
    said: list[tuple[int, str]] = []
    for lead in claims(LEAD, plain):
        if m := _STATED.match(plain, lead.end()):
            letter = m[m.lastgroup or 0].upper()
            said.append((m.start(), "" if _ANOTHER.match(plain, m.end()) else letter))
    for pattern in _OTHER_STATEMENTS:
        said += [(m.start("letter"), m["letter"]) for m in claims(pattern, plain)]
    return [(at, letter) for at, letter in said if letter != "X"]  # "the answer is (X)", retold


def _bare_letter(plain: str) -> str:
    """The letter that is the whole text, its first or its last line, or marks its only line."""
    lines = plain.split("\n")
    for line, alone in ((lines[-1], len(lines) == 1), (lines[0], True)):
        listed = any(_OPTION_MARK.search(other) for other in lines if other is not line)
        m = _ONLY_LETTER.fullmatch(line)
        if m and not listed and (alone or line not in ("A", "I", "a", "i")):
            return (m[1] or m[2] or m[3]).upper()
    m = _MARKED_OPTION.match(plain) if len(lines) == 1 and len(plain) < 200 else None
    return (m[1] or m[2]) if m and not _OPTION_MARK.search(plain, m.end()) else ""
