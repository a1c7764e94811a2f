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
    "cut": "the text ends inside the statement",
    "form": "the letter is stated in a form that the regular expression does not read",
    "last": "the regular expression takes the first statement, we the last",
    "several": "the statement names several letters; the regular expression takes the first",
    "thousands": "they read 10{,}000 as another number than 10000",
    "unread": "a final formula, an \\fbox, a box before an empty one: they read no answer there",
    "word": "the regular expression takes the first letter of a word",
}
_KEYS = {
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
    "option": "6fec3277",
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
    "unit": "470b49df c6041be4 545fdae1 4b7f61c0",
    "unread": "1ebff3c4 bd425fab d376f2f9 885d9f2d bd52e1b3",
}
_WORD_OF = {key: word for word, keys in _KEYS.items() for key in keys.split()}

_BOX = re.compile(r"\\boxed\{[^A-Za-z\\]*(?:\\text[a-z]*\{)?\(?([A-J])\b")
_OTHER_FORM = re.compile(
    r"\b(?:answer|option|choice)\b[^A-Za-z\n]{0,3}(?: is| should be)?[^A-Za-z]{0,12}"
    r"(?:\\text[a-z]*\{|option |choice )?(?:\(([A-J])\)|([A-J])\b|\(([a-j])\)\.)"
)
_ANOTHER_LETTER = re.compile(r"answer is \(?[A-J]\)?\s*(?:,|-|&|and\b|or\b)\s*\(?(?:and )?[A-J]\b")


def word_for(case: Case) -> str:
    """The word for a disagreement; "unexplained" where there is none."""
    if case.key in _WORD_OF:
        return _WORD_OF[case.key]
    return _letter(case) if case.kind == "letter" else "unexplained"


def _letter(case: Case) -> str:
    """For a letter of ours beside the first match of the harness's regular expression."""
    statements = [(m.start(), m[1]) for m in HARNESS_LETTER.finditer(case.text)]
    boxed = [(m.start(), m[1]) for m in _BOX.finditer(case.text)]
    if case.ours is None:
        if _ANOTHER_LETTER.search(case.text):
            return "several"
        return "cut" if re.search(r"answer is \([A-J]\s*\Z", case.text) else "unexplained"
    if case.other is None:
        if boxed and boxed[-1][1] == case.ours:
            return "box"
        forms = [(m[1] or m[2] or m[3]).upper() for m in _OTHER_FORM.finditer(case.text)]
        return "form" if forms and forms[-1] == case.ours else "unexplained"
    if re.search(r"answer is [A-J][a-z]", case.text):
        return "word"
    return "last" if max(statements + boxed)[1] == case.ours else "unexplained"
