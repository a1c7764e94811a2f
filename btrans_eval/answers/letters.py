"""The letter of the choice that a response states."""

from __future__ import annotations

import re

from btrans_eval.answers.response_text import boxes, plain_text, visible_text
from btrans_eval.answers.statements import LEAD, claims
from btrans_eval.errors import UserError

# A boxed letter is read as \x01C\x01, several or none that can be told as \x01?\x01: plain text
# has no other \x01.
_BOXED = re.compile(
    r"\s?(?:(?:the )?(?:correct |final )?(?:option|choice|answer|letter)s?(?: is)?:? )?"
    r"(?:\(([a-zA-Z])\)|([A-Z]))(?P<rest>(?:\s?[.):,;]?\s.*|[.):]?)|[,;&/].*)",
    re.I | re.S,
)
_GLUED = re.compile(r"\(?[A-J]{2,5}\)?")
_BOXES = re.compile(r"\x01[A-Z?]\x01(?:[ ,;&]*(?:\b(?:and|or)\b)?[ ,;&]*\x01[A-Z?]\x01)+")

_SPECIES = r"coli|pylori|elegans|subtilis|difficile|cerevisiae|melanogaster|albicans|aureus|cereus"
_REASON = r"because|since|as|which|due|given|but|and|or"
_AFTER_CAPITAL = (  # it counts where the sentence ends or gives its reason, not in "B cells"
    r"\s*$",
    r"\s*\n",
    r"[,;!)\]\"”]",
    r":\s",
    rf"\s?\.(?!\w|\s[A-Z]\.|\s(?:{_SPECIES})\b)",  # not in "J. K." or "E. coli"
    rf"\s(?:{_REASON})\b",
    r"\s[-–—]\s(?![^\n]*=)",  # not in "A - B = 5"
    r"\s\((?![a-z]\))",
)
_STATED_LETTERS = (
    r"\x01(?P<box>[A-Z?])\x01",
    r"[(\[] ?(?P<parentheses>[A-Za-z]) ?[)\]]",
    r"(?![A-Z]:\s*Let['’]s\b)"  # "A: Let's think", which is no choice
    rf"(?P<capital>[A-Z])(?!['’]?\w)(?=[\"'”’]?(?:{'|'.join(_AFTER_CAPITAL)}))",
    r"(?P<small>[a-z])(?=[.,;:!)](?:\s|$)|\s*$|\n)",
)
_STATED = re.compile(rf"[\"'“‘]?(?:{'|'.join(_STATED_LETTERS)})(?!\?)")
_NONE = re.compile(r"[\"'“‘(\[]*none of (?:the|these|them)\b", re.I)
_VERB = r"(?:is|was|are|am|being|would|will|can|cannot|could|does|do|has|have|had|seems?|fails?)\b"
# not "B, C is wrong", "B, I am sure", "B. A good day"
_ANOTHER = re.compile(
    r"[)\]\x01]?\s?(?:[,;&/]|and\b|or\b)[\s,]*(?:and |or )?"
    r"(?:(?:possibly|maybe|perhaps|even|also|both|option|choice) ){0,2}"
    rf"(?:\([A-J]\)|[B-HJ](?!['’]?\w)(?! {_VERB})|[AI](?!['’]?\w)(?! (?!(?:{_REASON})\b)[a-z]))"
)
_WRONG = (
    r" (?:actually |clearly |also |probably |obviously |still )?"
    r"(?:not (?:correct|right|true|possible|the (?:correct|right|best))"
    r"|incorrect|wrong|false|untrue|impossible)\b"
)
_THAT_IS = r"(?:which|that|this|it)(?: is| was|['’]s)"
_TAKEN_BACK = re.compile(
    rf"[)\]\x01\"”]?(?:[,;.]?(?: [-–—])? (?:(?:but |however,? |though |yet )?{_THAT_IS}|is|was)"
    # after the option's own text only where it is said of that
    r"|[.:)]? (?:(?! is | was )[^.!?\n]){1,60}?[,;]?"
    rf" (?:(?:but|however,?|though|yet) {_THAT_IS}|which is)){_WRONG}"
)

# "(a) 5 and (b) 7", "(i) 3, (ii) 4"; not "(A) 12, not (B) 13", "(A) 12 and (B) is wrong", nor
# "A. (a) up, (b) down", the text of an option
_PARTS = re.compile(
    r"(?:(?<=a)|(?<=\bi))[)\].]{1,2} (?!\(?a[.)])"
    r"(?:(?!\b(?:because|since|as|not|than|while|whereas|but|unlike|which|so|if)\b)"
    r"(?:[^.!?\n]|\.(?=[0-9]))){1,80}?"
    rf"(?:[,;]|\band\b)(?: and\b)? \(?(?:b|ii)[).] (?!{_VERB})",
    re.I,
)

_NAMED = r"(?:(?i:\b(?:option|choice|answer|letter)) \(?|\()(?P<letter>[A-Z])\b\)?"
_IS_BEST = r" is (?:therefore |thus |indeed )?(?:the )?(?:most |single )?(?:correct|right|best)\b"
_OTHER_STATEMENTS = (
    re.compile(r"\x01(?P<letter>[A-Z?])\x01"),
    re.compile(_NAMED + _IS_BEST + r"(?: answer| option| choice| one)?(?=[.!,;\n]|$| because)"),
    re.compile(rf"\b(?P<letter>[A-Z])(?= ){_IS_BEST}(?: answer| option| choice)"),
    re.compile(
        r"(?:(?i:\b(?:option|choice)) )?\(?\b(?P<letter>[A-Z])\)? is (?:therefore |thus )?"
        r"(?:the|my|our) (?:final )?answer\b(?=[.!,;\n]|$| because)"
    ),
    re.compile(rf"\b(?:I|[Ww]e)(?:'ll|'d| will| would)? (?:choose|pick|select|go with) {_NAMED}"),
    re.compile(rf"\b(?:corresponds to|matches|which is|closest to)(?: the)? {_NAMED}(?=[.!\n]|$)"),
)

_ONLY_LETTER = re.compile(r"[(\[]([A-Z])[)\]] ?\.?|([A-Z]) ?[.)]?")
_SMALL_LETTER = re.compile(r"[(\[]?([a-z])[)\]]?\.?")
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
    plain = _BOXES.sub(_one_of_boxes, plain_text(_with_boxes_marked(seen))).strip()
    said = _stated_letters(plain)
    letter = max(said)[1] if said else _bare_letter(plain)
    return letter if letter and ord(letter) - ord("A") < choices else None


def _with_boxes_marked(text: str) -> str:
    """The text with each innermost box as its letter between \\x01, as a blank if it has none."""
    edge = len(text)
    for start, end, _, content in reversed(boxes(text)):
        if end <= edge:
            letter = _boxed_letter(plain_text(content).strip())
            mark = f" \x01{letter}\x01 " if letter else " "
            text, edge = text[:start] + mark + text[end:], start
    return text


def _boxed_letter(plain: str) -> str:
    """The letter that a box holds, "?" for several, "" for none."""
    m = _BOXED.fullmatch(plain)
    if m is None:
        return "?" if _GLUED.fullmatch(plain) else ""
    if m[2] and not m[2].isupper():  # a word: "a train"
        return ""
    listed = _ANOTHER.match(plain, m.start("rest")) or _ANOTHER.match(plain, m.start("rest") + 1)
    return "?" if listed else (m[1] or m[2]).upper()


def _one_of_boxes(listed: re.Match[str]) -> str:
    """Boxes that stand in a list as one: of the letter that all hold, or of several."""
    letters = set(re.findall(r"\x01([A-Z?])\x01", listed[0]))
    return f"\x01{letters.pop()}\x01" if len(letters) == 1 else "\x01?\x01"


def _stated_letters(plain: str) -> list[tuple[int, str]]:
    """(position, letter) of each statement; "" for one that names several letters, or none."""
    said: list[tuple[int, str]] = []
    for lead in claims(LEAD, plain):
        if m := _STATED.match(plain, lead.end()):
            letter = m[m.lastgroup or 0].upper()
            if not _TAKEN_BACK.match(plain, m.end()):
                end = m.end(m.lastgroup or 0)
                several = _ANOTHER.match(plain, m.end()) or _PARTS.match(plain, end)
                said.append((m.start(), "" if several else letter))
        elif "none of" in lead[0].lower() or _NONE.match(plain, lead.end()):
            said.append((lead.end(), ""))
    for pattern in _OTHER_STATEMENTS:
        said += [(m.start("letter"), m["letter"]) for m in claims(pattern, plain)]
    # "the answer is (X)" is the prompt, retold
    return [(at, "" if letter == "?" else letter) for at, letter in said if letter != "X"]


def _bare_letter(plain: str) -> str:
    """The letter that is the whole text, its first or its last line, or marks its only line."""
    lines = plain.split("\n")
    for line in (lines[-1], lines[0]):
        listed = any(_OPTION_MARK.search(other) for other in lines if other is not line)
        if (m := _ONLY_LETTER.fullmatch(line)) and not listed:
            return str(m[1] or m[2])
    if len(lines) > 1:
        return ""
    if m := _SMALL_LETTER.fullmatch(plain):
        return m[1].upper()
    m = _MARKED_OPTION.match(plain) if len(plain) < 200 else None
    return (m[1] or m[2]) if m and not _OPTION_MARK.search(plain, m.end()) else ""
