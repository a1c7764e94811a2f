"""What is read of a response: its visible text, its boxes, its text without markup."""

from __future__ import annotations

import re

from btrans_eval.answers.characters import fold
from btrans_eval.answers.thoughts import visible

_BRACES = re.compile(
    r"""
    \\(?P<box>boxed|fbox)\s*\{        # a box opens
    | \\(?:[^\\]|\\(?!boxed|fbox))    # an escaped character; "\\boxed" with two is a box
    | [{}]
    """,
    re.S | re.X,
)
_BARE_BOX = re.compile(r"\\(boxed|fbox)[ \t]+([-+]?[0-9](?:[0-9.,/]*[0-9])?|[A-Z])(?![\w{.])")
_BLANK_BOX = re.compile(r"[\s.…?]*|\\l?dots|(?:\\text\{)?(?:(?:your|the|final) )*answer\}?", re.I)
_ANSWER_TAG = re.compile(r"<(/?)answer>", re.I)
_NO_MARK = re.compile(r"\$|\\[()\[\],;:! ]|\\q?quad(?![A-Za-z])|~|\*\*")
_JOINER = re.compile(
    r"(?:[^\S\n]|\n(?!\s*\n)|[,;]|\\?&|\b(?:and|or)\b|\\text\{\s*,?\s*(?:and|or)\s*\}){0,20}"
)
_LONGEST_BOX = 2000  # no answer is that long, and copying nested boxes would cost quadratic time

_FRACTIONS = str.maketrans({"½": " 1/2", "¼": " 1/4", "¾": " 3/4"})
_BOLD = re.compile(r"(?<![0-9])\*\*|\*\*(?![0-9])")  # not the power in 2**3
_TEXT_COMMAND = r"\\(?:text(?:bf|it|rm)?|math(?:rm|bf|sf|it)|mbox)\s*\{([^{}]*)\}"
_FRACTION = r"\\[dt]?frac ?(?:\{(-?[0-9]+)\}|([0-9])) ?(?:\{([0-9]+)\}|([0-9]))"
_REPLACEMENTS = [(re.compile(pattern), by) for pattern, by in (
    (_BOLD.pattern + r"|\b__|__\b|`", ""),
    (r"(?<![\w*)])\*(?=[^\s*])([^*\n]{1,60}?)(?<=\S)\*(?![\w*(])", r"\1"),  # italics
    (_TEXT_COMMAND, r" \1 "),
    (_TEXT_COMMAND, r" \1 "),  # nested once
    (r"(?<=[0-9])(?:\{,\}|,?\\[,!] ?)(?=[0-9]{3})", ","),  # digit groups
    (r"(?<=[0-9]) ?(?=\\[dt]?frac)", " "),  # a mixed number
    (_FRACTION, r"\1\2/\3\4"),
    (r"\\([%$&])", r"\1"),
    (r"\^ ?\{? ?\\circ ?\}?|\\left\b|\\right\b|\\[()\[\]!]|(?:\b(?:US|AU|CA|HK))?\$", ""),
    (r"\\[,;: ]|~|[^\S\n]+", " "),
    (r" {2,}", " "),
    (r"(?: ?\n ?)+", "\n"),
)]  # fmt: skip

_LIST_NUMBER = re.compile(
    r"""
    (?P<before>\n|\A)
    [#>* -]{0,8}(?:step[ ])?(?P<number>[0-9]{1,2})[.):]
    (?:[ ](?=\S)|(?P<dangling>\s*\Z))
    """,
    re.I | re.X,
)


def visible_text(text: str) -> str:
    """What a response shows, with its characters folded; answer tags are labels."""
    shown = visible(fold(text))
    return _ANSWER_TAG.sub(lambda tag: "\n" if tag[1] else "\nAnswer: ", shown)


def boxes(text: str) -> list[tuple[int, int, str, str]]:
    """(start, end, name, content) of each complete, filled box, in the order of their starts."""
    found = [(m.start(), m.end(), m[1], m[2]) for m in _BARE_BOX.finditer(text)]
    opened: list[re.Match[str]] = []
    for brace in _BRACES.finditer(text):
        if brace["box"] or brace[0] == "{":
            opened.append(brace)
        elif brace[0] == "}" and opened and (start := opened.pop())["box"]:
            short = brace.start() - start.end() < _LONGEST_BOX
            content = text[start.end() : brace.start()] if short else ""
            if "\n\n" not in content and not _BLANK_BOX.fullmatch(content):
                found.append((start.start(), brace.end(), start["box"], content))
    return sorted(found)


def final_boxes(text: str) -> list[str]:
    """The contents of the last complete \\boxed, else \\fbox, and of all in a list with it.

    Boxes side by side, or joined by nothing but a comma, semicolon, "&", "and" or "or", are one
    list; a paragraph or any other word between them begins anew. Equal ones count once.
    """
    every = boxes(text)
    named = [box for box in every if box[2] == "boxed"] or every
    listed: list[str] = []
    start = None
    for box in reversed(named):
        if start is not None and not _are_joined(text, box[1], start):
            break
        listed.append(box[3])
        start = box[0]
    distinct = dict.fromkeys(each.strip() for each in reversed(listed))
    return list(distinct)


def _are_joined(text: str, end: int, start: int) -> bool:
    """Whether a box that ends here and one that starts there stand in one list."""
    return end <= start <= end + 80 and bool(_JOINER.fullmatch(_NO_MARK.sub(" ", text[end:start])))


def without_bold(text: str) -> str:
    """The text without the asterisks of bold type."""
    return _BOLD.sub("", text)


def plain_text(text: str) -> str:
    """The text without markup, white space folded, digit groups by commas, \\frac as a/b."""
    text = text.translate(_FRACTIONS)
    for pattern, by in _REPLACEMENTS:
        text = pattern.sub(by, text)
    return text


def without_list_numbers(text: str) -> str:
    """The text without the numbers 1, 2, 3 ... of its list items, which are no answers."""
    seen = 0

    def drop(item: re.Match[str]) -> str:
        nonlocal seen
        number, dangling = int(item["number"]), item["dangling"] is not None
        if number != seen + 1 and (number != 1 or dangling) or (dangling and not seen):
            return item[0]
        seen = number
        return item["before"]

    return _LIST_NUMBER.sub(drop, text)


def is_cut_off(text: str) -> bool:
    """Whether a formula is begun and not ended: the text was truncated inside it."""
    pairs = ("\\[", "\\]"), ("\\(", "\\)"), ("\\begin{", "\\end{")
    dollars = len(re.findall(r"(?<!\\)\$", text))
    return dollars % 2 == 1 or any(text.rfind(a) > text.rfind(b) for a, b in pairs)
