"""The expression in LaTeX that a response states."""

from __future__ import annotations

import re

from btrans_eval.answers.response_text import (
    final_boxes,
    is_cut_off,
    visible_text,
    without_bold,
    without_list_numbers,
)
from btrans_eval.answers.statements import ASIDE, LEAD, WORD, claims, is_said

_MATHS = re.compile(r"\s*(?:\$\$?((?:\\.|[^$\\])+)\$\$?|\\\((.+?)\\\)|\\\[(.+?)\\\])", re.S)
_DELIMITER = re.compile(r"(?<!\\)(?:\$\$?|\\[()\[\]])")
_STATEMENT_END = re.compile(r"[.?;](?=\s|$)|\n|,? (?:because|since|which|where|as)\b")
_LISTED = re.compile(r"\s*(?:,|and\b|or\b)\s*(?:and |or )?(?:\$|\\\(|[-0-9])")
_COMMAND = re.compile(
    r"\\(?:text(?:bf|rm)?|mathrm|mbox|begin|end|operatorname)\s*\{[^{}]*\}|\\[A-Za-z]+"
    r"|\b(?:sin|cos|tan|log|exp|sqrt|arc(?:sin|cos|tan)|cot|sec|csc)\b"
)
_NO_FORMULA = re.compile(
    r"""
    boxed | \n\n
    | \A[^$]*(?<!\\)\$(?:[^$]*[^$0-9.,][^$]*|)\Z    # one dollar sign that is no currency
    | \\\\\Z | \A& | [^\\]&\Z                       # a part of an alignment
    """,
    re.X,
)
_OPERATOR_AT_END = re.compile(r"[-+*/=^_({\[,&]$")
_SOLID = re.compile(r"[0-9=]|\\(?:[dt]?frac|sqrt|pi|infty|text|begin|emptyset|varnothing)")
_TRAILER = re.compile(  # a unit, what it is, or marks
    r"(?: [a-z]+){1,2}[.!]| is (?:the|our|my) (?:final |correct )?(?:answer|solution)[.!]?"
    r"|[\s.!)*]*"
)


def extract_latex(text: str) -> str | None:
    """The expression in the last boxes, else in the last statement, else at the very end.

    Boxes that stand in a list are one answer, a list.
    """
    seen = visible_text(text)
    if contents := final_boxes(seen):
        return ", ".join(filter(None, map(_undelimited, contents))) or None
    body = without_bold(seen)
    for lead in claims(LEAD, body):
        formula, rest = _leading_formula(body[lead.end() : lead.end() + 400])
        if formula and is_said(lead, formula, rest):
            return None if _LISTED.match(rest) else _undelimited(formula) or None
    return None if is_cut_off(body) else _final_formula(without_list_numbers(body).strip())


def _leading_formula(span: str) -> tuple[str, str]:
    """The formula, delimited or not, that the span starts with, and what follows; else two ""."""
    m = _MATHS.match(span)
    if m and _is_formula(formula := m[1] or m[2] or m[3]):
        return formula, span[m.end() :]
    formula = _STATEMENT_END.split(span)[0]
    solid = _is_formula(formula) and _SOLID.search(formula)
    return (formula, span[len(formula) :]) if solid else ("", "")


def _undelimited(text: str) -> str:
    text = text.strip()
    while len(text) > 1 and text[0] == text[-1] == "$":
        text = text[1:-1].strip()
    alone = text[:1] == "$" and text.count("$") == 1  # a currency
    return text[1:] if alone else text


def _is_formula(text: str) -> bool:
    """Whether the text is one complete formula: balanced, without prose, no operator at its end."""
    text = text.strip()
    depth = [text.count(a) - text.count(b) for a, b in ("{}", ("\\begin", "\\end"))]
    if not 0 < len(text) <= 300 or any(depth) or _NO_FORMULA.search(text):
        return False
    return not WORD.search(_COMMAND.sub(" ", text)) and not _OPERATOR_AT_END.search(text)


def _final_formula(text: str) -> str | None:
    """The formula that ends the text: its last $...$, \\(...\\), \\[...\\], or its last line."""
    block = text[text.rfind("\n\n") + 1 :] if len(text) - text.rfind("\n\n") < 3000 else ""
    parts = _DELIMITER.split(block)
    if len(parts) == 1:
        formula = block.rsplit("\n", 1)[-1].lstrip("= ").rstrip(" .")
    elif len(parts) % 2:
        before, formula, rest = parts[-3:]
        if ASIDE.search(before) or not _TRAILER.fullmatch(rest):
            return None
    else:
        return None  # the last one is not closed
    return _undelimited(formula) if _is_formula(formula) and _SOLID.search(formula) else None
