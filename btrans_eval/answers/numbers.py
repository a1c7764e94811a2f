"""The number that a response states: any (GSM8K), or an integer 0..999 (AIME)."""

from __future__ import annotations

import re

from btrans_eval.answers.numerals import numbers
from btrans_eval.answers.response_text import (
    final_boxes,
    is_cut_off,
    plain_text,
    visible_text,
    without_list_numbers,
)
from btrans_eval.answers.statements import ASIDE, LEAD, WORD, claims, is_said

AIME_INTEGER = re.compile(r"[0-9]{1,3}")
_HASHES = re.compile(r"(?<!#)####(?!#) ?([^\n]{0,200})")
_HEADING = re.compile(r"[0-9]{1,2}[.):] ?\S")  # "#### 1. Find the total"
_STATEMENT_END = re.compile(
    r"""
    [.!?;](?=\s|$|[A-Za-z])
    | \n
    | ,(?=\s)
    | (?<=[\w%.])[ ]\(
    | ,?[ ](?:because|since|which|where|as|so|for|when)\b
    """,
    re.X,
)
_LISTED = re.compile(r",\s(?:and |or )?[-+€£]*[0-9]")
_NOT_A_UNIT = r"(?:or|and|to|of|out|by|in|more|less|fewer|times|plus|minus|mod)\b"
_UNIT = re.compile(
    rf"\s?[%°]?\s?(?:(?!{_NOT_A_UNIT})(?:[a-z]{{2,}}|[mgsLlhFCNJWKV](?![A-Za-z])|[€£]|USD\b|EUR\b)"
    r"(?: ?[a-z/]+){0,2}(?: ?\^? ?\{?[0-9²³]\}?)?)?[\s.!\"}*]*"
)
_VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|had|do|does|did|can|could|will|would|must|should|gives?|gave"
    r"|makes?|made|takes?|took|gets?|got|goes|went|needs?|costs?|remain(?:s|ed)?|equals?)\b"
)
_SENTENCE_END = re.compile(r"[.!?](?=\s|\Z)|\n")
_STARTS = re.compile(r"[\s€£¥+~\"-]*\.?[0-9]")
_NONE = re.compile(
    r"[\s\"'(*]*(?:it |this |that |there )?(?:is |are )?(?:none|unknown|undetermined|not enough"
    r"|insufficient|impossible|not possible|no (?:answer|solution)|(?:can ?not|can't) be"
    r"|i (?:do not|don't) know|n/a)\b",
    re.I,
)
_FACTORIAL_SAID = re.compile(r"[^!\n]{0,40}[0-9)]\s?!(?:[.,;:)/]|\s?[-=+*/·^])")
_FACTORIAL = re.compile(r"[0-9)}]\s*!")


def extract_integer(text: str) -> str | None:
    """An integer 0..999 (AIME), without leading zeros: last box, last statement, or final number.

    A box or a statement that holds anything else is no answer; nothing earlier replaces it.
    """
    seen = visible_text(text)
    plain = plain_text(seen)
    value = _stated(seen, plain)
    if value is None:
        value = _final(seen, plain)
    return value if value and AIME_INTEGER.fullmatch(value) else None


def extract_number(text: str) -> str | None:
    """A number (GSM8K): "#### n", else last box, last statement, or the last number of the text.

    The form is canonical by the exact value: a decimal where it ends ("18.00" -> "18", "3/4" and
    "6/8" -> "0.75", "1 1/2" -> "1.5"), else the reduced fraction ("2/6" -> "1/3"). A percentage is
    its number ("50%" -> "50": GSM8K's convention), currency and units are dropped. Commas, \\, and
    thin spaces group digits by three; "1 000" with a plain space may be a list, as "3,4" is: None.
    So are scientific notation, ranges, ratios, times, "5 million", "5k", powers, and what is left
    of an unfinished sum ("16 - 3"). Names ("x2", "B2B"), exponents, ordinals do not count at all.
    """
    seen = visible_text(text)
    plain = plain_text(seen)
    for line in _HASHES.findall(plain)[::-1]:
        if re.match(r"[\s€£¥+~-]*\.?[0-9]", line) and not _HEADING.match(line):
            return _sole(_STATEMENT_END.split(line)[0])
    value = _stated(seen, plain)
    return _last(plain) or None if value is None else value or None


def _stated(seen: str, plain: str) -> str | None:
    """The number of the last boxes, else of the last statement; "" where that is no number."""
    if contents := final_boxes(seen):
        values = {None if _FACTORIAL.search(box) else _sole(plain_text(box)) for box in contents}
        return values.pop() or "" if len(values) == 1 else ""
    for lead in claims(LEAD, plain):
        span = plain[lead.end() : lead.end() + 200]
        head = _STATEMENT_END.split(span)[0]
        rest = span[len(head) :]
        if _NONE.match(span) or _FACTORIAL_SAID.match(span):
            return ""
        first, equals, _ = head.partition("=")
        if not (_STARTS.match(head) or (equals and not (lead["mark"] and WORD.search(first)))):
            continue  # words come first
        value = "" if _LISTED.match(rest) else _sole(head) or ""
        # after "Answer:" may come a chain of thought: a number with its unit is none
        is_number = value and "=" not in head and not _VERB.search(head)
        if is_number or is_said(lead, head, rest):
            return value
    return None


def _last(plain: str) -> str | None:
    """The last number of the text; none where its sentence has a label and holds several.

    Which of these is the answer, a label does not say: "Answer: on day 3 she has 12 left". A
    result says it: "Answer: 3 * 6 = 18 eggs and 2 * 9 = 18 dollars".
    """
    body = without_list_numbers(plain)
    found = numbers(body)
    start, _, value = next(found, (0, 0, None))
    for lead in claims(LEAD, body):
        end = _SENTENCE_END.search(body, lead.end())
        if lead["mark"] and lead.end() <= start < (end.start() if end else len(body)):
            is_result = re.search(r"[=≈]\s*[-+$€£]*\s*\Z", body[:start])
            before = next(found, (0, 0, None))[0]
            return value if is_result or before < lead.end() else None
    return value


def _sole(span: str) -> str | None:
    """The one number that is all of the span, or all that follows its last equals sign."""
    *left, last = re.split(r"[=≈]|\\approx", span)
    last = re.sub(r"\A\s*\(([^(),]*)\)\s*\Z", r"\1", last)
    found = list(numbers(last))
    if len(found) != 1 or re.search(r"[,;](?![0-9]{3})|\band\b", span):
        return None
    start, end, value = found[0]
    clean = re.fullmatch(r"[\s€£¥+~\"-]*", last[:start]) and not any(map(WORD.search, left))
    return value if clean and _UNIT.fullmatch(last[end:]) else None


def _final(seen: str, plain: str) -> str | None:
    """The number at the very end of a text that is complete."""
    body = without_list_numbers(plain).strip()
    start, end, value = next(numbers(body), (0, 0, None))
    before, after = body[:start], body[end:]
    ended = seen.rstrip()[-1:] in tuple(".!$)]*") or re.search(r"(?:\A|[\n=] ?)\Z", before)
    if after.strip(" .!*") or not ended or is_cut_off(seen) or ASIDE.search(before):
        return None
    return value
