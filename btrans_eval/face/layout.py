"""Texts in columns, for a terminal and for a notebook."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from html import escape

GAP = "  "
LEAST = 20
"""Cells of a column at least, where a line has room for them."""

_CELL = "text-align:left;vertical-align:top;padding:.3em .8em .3em 0"


def printable(text: str) -> str:
    """The text without what moves a terminal's cursor or cannot be encoded; new lines stay."""
    return "".join(
        "\ufffd" if each != "\n" and unicodedata.category(each) in ("Cc", "Cs") else each
        for each in text.replace("\r\n", "\n").expandtabs(4)
    )


def cells(text: str) -> int:
    """How many places of a terminal's line the text takes: two for each wide character."""
    return sum(
        0 if unicodedata.combining(each) else 1 + (unicodedata.east_asian_width(each) in "WF")
        for each in text
    )


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most ``width`` cells (one wide character may have two); at least one line."""
    return [part for line in printable(text).split("\n") for part in _broken(line, width)]


def _broken(line: str, width: int) -> list[str]:
    found, now = [], ""
    for word in re.findall(r"\s*\S+", line):
        if cells(now + word) <= width:
            now += word
            continue
        found += [now] if now else []
        now = word.lstrip()
        while cells(now) > width:
            head = _head(now, width)
            found.append(head)
            now = now[len(head) :]
    return [*found, now] if now or not found else found


def _head(word: str, width: int) -> str:
    """As much of a word as fits; at least one character."""
    end = 1
    while cells(word[: end + 1]) <= width and end < len(word):
        end += 1
    return word[:end]


def side_by_side(columns: Sequence[tuple[str, str]], width: int) -> str:
    """Texts with their heads in columns of one width; below each other what has no room.

    Args:
        columns: head and text of each.
        width: cells of a line.
    """
    fit = max(1, (width + len(GAP)) // (LEAST + len(GAP)))
    bands = -(-len(columns) // fit)
    each = -(-len(columns) // bands)
    room = max(1, (width - len(GAP) * (each - 1)) // each)
    parts = []
    for start in range(0, len(columns), each):
        shown = [
            [*wrapped(head, room), *wrapped(text, room)]
            for head, text in _ruled(columns[start : start + each], room)
        ]
        parts.append(_lines(shown))
    return "\n\n".join(parts)


def _ruled(columns: Sequence[tuple[str, str]], room: int) -> list[tuple[str, str]]:
    """Heads with a rule beneath, as wide as the widest of head and text."""
    found = []
    for head, text in columns:
        lines = [*wrapped(head, room), *wrapped(text, room)]
        found.append((head, "─" * max(map(cells, lines)) + "\n" + text))
    return found


def _lines(columns: Sequence[Sequence[str]]) -> str:
    """Columns of lines as one text, each as wide as its widest line."""
    widths = [max(map(cells, lines)) for lines in columns]
    height = max(map(len, columns))
    rows = []
    for place in range(height):
        row = [lines[place] if place < len(lines) else "" for lines in columns]
        padded = [
            text + " " * (width - cells(text)) for text, width in zip(row, widths, strict=True)
        ]
        rows.append(GAP.join(padded).rstrip())
    return "\n".join(rows)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose cells have one line each."""
    columns = [
        [printable(head), "─" * max(cells(printable(one)) for one in (head, *column)),
         *map(printable, column)]
        for head, column in zip(heads, zip(*rows, strict=True), strict=True)
    ]  # fmt: skip
    return _lines(columns)


def html_table(heads: Sequence[str], rows: Sequence[Sequence[str]], bold: int | None = None) -> str:
    """A table for a notebook; everything in it is text.

    Args:
        bold: number of the column to stress, if any.
    """

    def cell(tag: str, place: int, text: str) -> str:
        weight = ";font-weight:bold" if place == bold else ";font-weight:normal"
        style = f"{_CELL};white-space:pre-wrap{weight}"
        return f'<{tag} style="{style}">{escape(printable(text))}</{tag}>'

    def line(tag: str, texts: Sequence[str]) -> str:
        made = "".join(cell(tag, place, text) for place, text in enumerate(texts))
        return f"<tr>{made}</tr>"

    body = "".join(line("td", row) for row in rows)
    return (
        '<div style="overflow-x:auto"><table>'
        f"<thead>{line('th', heads)}</thead><tbody>{body}</tbody></table></div>"
    )
