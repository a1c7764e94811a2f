"""Why we and another grader differ on a row, in one word: by the row's key, or by a rule.

A key names a row that was judged by hand, and what was read of it: where we read something else,
it must be judged again. A rule is checked on each row. What neither explains is "unexplained": a
fault of ours, until shown to be otherwise.
"""

from __future__ import annotations

import re

from grader_tables import HARNESS_LETTER, Case

WORDS = {
    # test tables
    "afterwards": "a statement follows the last box: for us the box counts",
    "arithmetic": "sums and products of matrices are not worked out",
    "boxes": 'more than a comma or "and" between boxes, so the last one alone is the answer',
    "chain": "a chain of equations that starts with a value",
    "comma": "a decimal comma: for us a comma groups digits or separates",
    "duplicate": "an element that is listed twice",
    "escaped": "the row holds doubled backslashes, which are line ends in LaTeX",
    "glued": '"or" without blanks around it',
    "linebreak": "they refuse a line end inside inline formulas",
    "malformed": "a box without its end, a command run into a name, a stray backslash",
    "name": 'a fraction of segments in front of "=" is no name for us',
    "option": "their row asks for another comparison than equality",
    "order": "a bare list has no order for us, a pair in parentheses has one",
    "pairs": "p=5,q=2 is not read as the pair (5,2)",
    "prose": "the answer stands in a sentence that does not say so",
    "ratio": 'A:B in front of "=" is no name for us',
    "solving": "an inequality that would have to be solved",
    "spaces": "digits grouped by plain blanks may be a list",
    "sums": "sums with a running index are not compared",
    "theirs": "their table is wrong: the values differ",
    "tolerance": "a rounded value is not the exact one",
    "unit": "a unit, or percent, in a spelling that one of the two does not know",
    # outputs
    "box": "the letter is in a box, which the regular expression does not read",
    "denied": "the statement takes its letter back; the regular expression keeps it",
    "cut": "the text ends inside the statement",
    "form": "the letter is stated in a form that the regular expression does not read",
    "last": "the regular expression takes the first statement, we the last",
    "several": "the statement names several letters; the regular expression takes the first",
    "thousands": "they read 10{,}000 as another number than 10000",
    "unread": "a final formula, an \\fbox, a box before an empty one: they read no answer there",
    "word": "the regular expression takes the first letter of a word",
}
_KEYS = {
    "afterwards": "81c42123",
    "arithmetic": "18b16592 7eb7dc42",
    "boxes": "87fd111a a4508176 ab135431 11b7cb6d",
    "chain": "be02a990",
    "comma": "88066f38 b2e5d097 6bb50808 c4075a4b",
    "duplicate": "1c880573",
    "escaped": "f2d41d30 d09b5607 c1ffeaed 7157bd6a 32074cf4 86f1645e 85f8ac6a c3c424c8",
    "glued": "8027ff0d",
    "linebreak": "31ca8feb 49848516",
    "malformed": "129998e4 f5379a11 9fe487d3 4619735a",
    "name": "d48584ca",
    "option": "6fec3277 52d6f531",
    "order": "e97769d6 220c3adc a25a6855",
    "pairs": "92c7e03b",
    "prose": "1b9a6bdb df343a83 a1928e3a e74b72a5 3982b5dd 4e1bfee3 ff12694f a5d4fefc dbd0eed1 "
    "4ca528df cffa6b93",
    "ratio": "a13cd5d3 4d01c3a7 4e1ccb08",
    "solving": "20b9503c 0e48aaeb db03a171",
    "spaces": "64ac86fd",
    "sums": "c25debac",
    "theirs": "4888944b",
    "tolerance": "eee08f68 bb83b029 2419ecd8",
    "thousands": "6637b72e",
    "unit": "470b49df c6041be4 545fdae1 4b7f61c0 2d67c558 1c2eb574",
    "unread": "1ebff3c4 bd425fab d376f2f9 885d9f2d bd52e1b3",
}
_WORD_OF = {key: word for word, keys in _KEYS.items() for key in keys.split()}

_BOX = re.compile(r"\\boxed\{[^A-Za-z\\]*(?:\\text[a-z]*\{)?\(?([A-J])\b")
_NAMED = r"(?:option |choice )?(?:\\text[a-z]*\{)?(?:\(([A-J])\)|([A-J])\b(?![a-z'’]))"
_FORMS = [re.compile(pattern) for pattern in (
    rf"\b(?i:answer|option|choice)\b[^A-Za-z\n]{{0,3}}(?: is| should be)?[^A-Za-z]{{0,12}}{_NAMED}",
    r"\b(?i:answer)[^A-Za-z\n]{0,3} is \(([a-j])\)\.",
    rf"\bclosest (?:one |option )?(?:is|to) {_NAMED}",
    rf"\b(?:which (?:is|corresponds to)|would be|likely) {_NAMED}",
    r"\banswer to this \w+ is \(([A-J])\)\.",
    r"(?:\(([A-J])\)|\bOption ([A-J])) is (?:the )?correct\b",
    r"\banswer for[^.\n]{0,40} is \(([A-J])\)",
)]  # fmt: skip
_SEVERAL = re.compile(
    r"answer is \(?[A-J]\)?\s*(?:,|-|&|and\b|or\b)\s*\(?(?:and )?[A-J]\b"
    r"|answer is \(?(?!II)[A-J][A-Z]+\b"
    r"|answer is(?: \(A\) [^\n]{1,90}?(?:,|;|\band)(?: and)? \(B\) |:?\s\(a\) [^\n]{1,90} \(b\) )"
)


def word_for(case: Case) -> str:
    """The word for a disagreement; "unexplained" where there is none."""
    if case.key in _WORD_OF:
        return _WORD_OF[case.key]
    return _letter(case) if case.kind == "letter" else "unexplained"


def _letter(case: Case) -> str:
    """For a letter of ours beside the first match of the harness's regular expression."""
    first = HARNESS_LETTER.search(case.text)
    boxed = [(m.start(), m[1]) for m in _BOX.finditer(case.text)]
    if case.ours is None and first is not None:
        if _SEVERAL.search(case.text):
            return "several"
        if re.match(r"answer is \(?[A-J](?:[a-zI]| cannot\b)", case.text[first.start() :]):
            return "word"
        if re.match(r"\s*(?:is|was) (?:not|in)", case.text[first.end() :]):
            return "denied"
        return "cut" if re.search(r"answer is \([A-J]\s*\Z", case.text) else "unexplained"
    if case.other is None and boxed and boxed[-1][1] == case.ours:
        return "box"
    stated = [(m.start(), m[1]) for m in HARNESS_LETTER.finditer(case.text)] + boxed
    for form in _FORMS:
        letters = ((m.start(), next(filter(None, m.groups()))) for m in form.finditer(case.text))
        stated += [(at, letter.upper()) for at, letter in letters]
    if case.other is not None and re.search(r"answer is [A-J][a-z]", case.text):
        return "word"
    if stated and max(stated)[1] == case.ours:
        return "form" if case.other is None else "last"
    return "unexplained"
