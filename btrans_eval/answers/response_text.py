"""What is read of a response: its visible text, its boxes, its text without markup."""

from __future__ import annotations

import re

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
_LONGEST_BOX = 2000  # no answer is that long, and copying nested boxes would cost quadratic time

_CHARACTERS = str.maketrans(dict(zip("−（）：", "-():", strict=True)) | {"½": " 1/2", "¼": " 1/4"})
_BOLD = re.compile(r"(?<![0-9])\*\*|\*\*(?![0-9])")  # not the power in 2**3
_TEXT_COMMAND = r"\\(?:text(?:bf|it|rm)?|math(?:rm|bf|sf|it)|mbox)\s*\{([^{}]*)\}"
_FRACTION = r"\\[dt]?frac ?(?:\{(-?[0-9]+)\}|([0-9])) ?(?:\{([0-9]+)\}|([0-9]))"
_REPLACEMENTS = [(re.compile(pattern), by) for pattern, by in (
    (_BOLD.pattern + r"|\b__|__\b|`", ""),
    (_TEXT_COMMAND, r" \1 "),
    (_TEXT_COMMAND, r" \1 "),  # nested once
    (r"(?<=[0-9])(?:\{,\}|,?\\[,!] ?|[\u00a0\u2009\u202f])(?=[0-9]{3})", ","),  # digit groups
    (r"(?<![0-9])(?<![0-9] )–(?=[$€£.0-9])", "-"),
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
    """The text without its reasoning: what stands in unfinished thoughts is no answer."""
    _, closed, rest = text.rpartition("</think>")
    shown = rest if closed else text.partition("<think>")[0]
    return shown.replace("<answer>", "\nAnswer: ").replace("</answer>", "\n")


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


def last_box(text: str) -> str | None:
    """The content of the last complete \\boxed, else of the last complete \\fbox."""
    every = boxes(text)
    last = [box for box in every if box[2] == "boxed"] or every
    return last[-1][3] if last else None


def without_bold(text: str) -> str:
    """The text without the asterisks of bold type."""
    return _BOLD.sub("", text)


def plain_text(text: str) -> str:
    """The text without markup, white space folded, digit groups by commas, \\frac as a/b."""
    text = text.translate(_CHARACTERS)
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
