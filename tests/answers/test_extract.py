"""Forms that models really write; the expected value of each was decided before running it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from btrans_eval.answers import extract as module
from btrans_eval.answers.extract import (
    KINDS,
    extract,
    extract_integer,
    extract_latex,
    extract_letter,
    extract_number,
    kind_of_gold,
    normalize_text,
)
from btrans_eval.errors import UserError

HUB = Path(__file__).parents[2] / "../shared/hub"

LETTERS: list[tuple[str, str | None]] = [
    # stated
    ("2 + 2 = 4. The answer is (C).", "C"),
    ("So the answer is C", "C"),
    ("The answer is: (J)", "J"),
    ("Answer: B", "B"),
    ("**Answer:** (C)", "C"),
    ("**Answer: D**", "D"),
    ("**Final Answer**\n\n(E)", "E"),
    ("### Answer\n\nB", "B"),
    ("The correct option is B.", "B"),
    ("The correct choice is **(F) 12 m/s**.", "F"),
    ("Hence the best choice is (G) because the others fail.", "G"),
    ("Therefore, the answer is $\\boxed{C}$.", "C"),
    ("\\[\n\\boxed{\\text{(C)}}\n\\]", "C"),
    ("The final answer is \\boxed{\\textbf{(D)}\\ 12}.", "D"),
    ("\\boxed{\\boxed{H}}", "H"),
    ("Option D is correct.", "D"),
    ("Thus option (E) is the correct answer.", "E"),
    ("(B) is the correct answer, as computed above.", "B"),
    ("B is the correct answer.", "B"),
    ("So the answer is option (A).", "A"),
    ("The answer to the question is therefore (I).", "I"),
    ("I'd go with option D.", "D"),
    ("The value is 12.5 m, which corresponds to option H.", "H"),
    ("the correct answer is A because momentum is conserved", "A"),
    ("<answer>B</answer>", "B"),
    ("The answer is (b).", "B"),
    ("So the answer is b.", "B"),
    ("answer: a", "A"),
    ("The answer is a.", "A"),
    ('The answer is "G".', "G"),
    ("The answer is none of the above, (J).", "J"),
    ("The answer is B. Let me know if you have any questions!", "B"),
    ("The answer is (C) 12 m.\n\nI hope this helps. A good day to you!", "C"),
    ('{"answer": "B"}', "B"),
    ("The correct answer is:\n\n**D) 12 m**", "D"),
    ("The answer is the letter C.", "C"),
    # the last one that counts
    ("The answer is (A). Wait, I made a mistake, so the answer is (C).", "C"),
    ("Answer: B\n\nLet me double-check. 3 * 4 = 12.\n\nAnswer: D", "D"),
    ("\\boxed{A} is what one may think, but the answer is (B).", "B"),
    ("I will finish with 'the answer is (X)'. Since x = 2, the answer is (F).", "F"),
    ("The answer is B. If the answer is A, then x = 2, a contradiction.", "B"),
    ("The answer is (B). The answer is not A.", "B"),
    ("The answer is (D). A common wrong answer is C.", "D"),
    ("<think>The answer is (A). Hmm.</think>\nThe answer is (B).", "B"),
    ("B) fits. Option C is not correct. The answer is (B), I am sure.", "B"),
    # all that is said
    ("B", "B"),
    ("(B)", "B"),
    ("B.", "B"),
    (" **B** \n", "B"),
    ("B) 12 m", "B"),
    ("B. The mitochondria", "B"),
    ("I", "I"),
    ("A", "A"),
    ("C\n\nExplanation: the rate doubles.", "C"),
    ("Both rates double.\n\n(D)", "D"),
    # nothing is said
    ("", None),
    (" \n", None),
    ("A train leaves Boston at 5 pm.", None),
    ("Answer: A train leaves Boston at noon, so", None),
    ("Answer: A: Let's think step by step.", None),
    ("A: Let's think step by step. We know", None),
    ("I think that we need more information.", None),
    ("The answer is a bit complicated.", None),
    ("the answer is a function of x", None),
    ("The answer is i.e. the second one", None),
    ("The answer is none of the above.", None),
    ("The answer is not A.", None),
    ("The answer is A or B.", None),
    ("The answer is (A) and (C).", None),
    ("The answers are A, B and C.", None),
    ("The answer is B cells, which make antibodies.", None),
    ("The answer is E. coli", None),
    ("The answer is J. K. Rowling.", None),
    ("The answer is A = 5", None),
    ("The answer is I think the second", None),
    ("If the answer is A, then", None),
    ("I don't think the answer is B.", None),
    ("Is the answer (B)?", None),
    ("The answer is C?", None),
    ("We need to find the answer. Let A be the event that", None),
    ("A. foo\nB. bar\nC.", None),
    ("A) gives 5, B) gives 6, so", None),
    ("Therefore the answer is \\boxed{C", None),
    ("Therefore the answer is \\boxed{12}", None),
    ("The answer is (X).", None),
    ("The answer is (K).", None),
    ("(A) is wrong because", None),
    ("Water boils.\n\nA", None),
    ("<think>I guess the answer is (A). But", None),
    ("To answer the question, consider vitamin C and vitamin D", None),
]

INTEGERS: list[tuple[str, str | None]] = [
    ("\\boxed{70}", "70"),
    ("The answer is $\\boxed{070}$.", "70"),
    ("Thus $m+n = \\boxed{113}$.", "113"),
    ("\\[\\boxed{\\text{204}}\\]", "204"),
    ("\\boxed{ 25 }", "25"),
    ("\\boxed 5", "5"),
    ("\\boxed {17}", "17"),
    ("\\\\boxed{809}", "809"),
    ("\\fbox{371}", "371"),
    ("\\fbox{5} but \\boxed{6}", "6"),
    ("\\boxed{6} but \\fbox{5}", "6"),
    ("\\boxed{m+n=70}", "70"),
    ("\\boxed{70.0}", "70"),
    ("\\boxed{0}", "0"),
    ("\\boxed{000}", "0"),
    ("\\boxed{999}", "999"),
    ("\\boxed{336^\\circ}", "336"),
    ("\\boxed{33} ... wait, that is wrong. So \\boxed{34}", "34"),
    ("\\boxed{385} is right, since 385 = 5 * 77. Let me verify: \\boxed{38", "385"),
    ("\\boxed{70}\n\nPut it in \\boxed{}.", "70"),
    ("So we have \\boxed{110}.\n\nLet me know if 5 more steps help.", "110"),
    ("The final answer is 70.", "70"),
    ("Answer: $070$", "70"),
    ("**Final Answer:** 480", "480"),
    ("**Answer**\n\n321", "321"),
    ("Therefore, the answer is 025.", "25"),
    ("the answer is $m + n = 3 + 64 = 67$.", "67"),
    ("The answer is 211. I hope it is correct.", "211"),
    ("The answer is 45, because 9 * 5 = 45.", "45"),
    ("The answer is 4. No wait, the answer is 8.", "8"),
    ("204", "204"),
    (" 204. ", "204"),
    ("$204$", "204"),
    ("The walk takes 180 + 24 = 204.", "204"),
    ("so the sum is \\(m+n = 23\\)", "23"),
    ("Hence there are\n\n**540**", "540"),
    ("<think>\\boxed{1}</think>The answer is \\boxed{2}.", "2"),
    ("so $d = \\boxed{\\textbf{(073)}}.$\n\n-Benedict T (countmath1)", "73"),
    # no answer
    ("the remainder of \\(m\\) divided by \\(17\\)", None),
    ("Expand (t+1)(s+2)", None),
    ("\\begin{align*}\nx &= 12\\\\\n27", None),
    ("so that $x =5", None),
    ("", None),
    ("\\boxed{70.5}", None),
    ("\\boxed{x}", None),
    ("\\boxed{x} so x = 70.", None),
    ("The answer is 70. \\boxed{\\frac{1}{2}}", None),
    ("\\boxed{-5}", None),
    ("\\boxed{1024}", None),
    ("\\boxed{1,024}", None),
    ("\\boxed{2^{10}}", None),
    ("\\boxed{\\sqrt{5}}", None),
    ("\\boxed{f(5)}", None),
    ("\\boxed{3, 4}", None),
    ("\\boxed{x = 3, y = 5}", None),
    ("\\boxed{x=3,y=5}", None),
    ("\\boxed{(3,400)}", None),
    ("\\boxed{5x}", None),
    ("\\boxed{5\\pi}", None),
    ("\\boxed{x > 5}", None),
    ("\\boxed{5 - x}", None),
    ("\\boxed{12", None),
    ("Thus \\boxed{12 + 3", None),
    ("the answer is 1,024", None),
    ("The answer is -7.", None),
    ("The answer is 3/4.", None),
    ("The answer is 5 or 7.", None),
    ("The answer is 3, 4 and 5.", None),
    ("we get x = 12 and then we consider", None),
    ("The number of cases is 12 +", None),
    ("There are 30 balls and 12", None),
    ("as in step 3.", None),
    ("Thus the area is 12 cm^2.", None),
    ("1. Expand the square.\n2. Solve.\n3.", None),
    ("<think>\\boxed{70} but", None),
    ("If the answer is 5, then", None),
]

NUMBERS: list[tuple[str, str | None]] = [
    ("9 * 2 = <<9*2=18>>18\n#### 18", "18"),
    ("#### 1,450,000", "1450000"),
    ("####-10", "-10"),
    ("#### $18.00", "18"),
    ("#### 18 dollars per day.", "18"),
    ("#### **18**", "18"),
    ("The answer is 20.\n#### 18\n\nThe answer is 5.", "18"),
    ("#### 18\n\nQuestion 2: ...\n#### 19", "19"),
    ("#### 1. Find the total\nThe total is 3 * 6 = 18 eggs.", "18"),
    ("#### Step 2: Sum\nShe has 18 eggs.", "18"),
    ("She makes \\boxed{18} dollars in 7 days.", "18"),
    ("\\boxed{\\$1{,}234.50}", "1234.5"),
    ("\\boxed{18 \\text{ apples}}", "18"),
    ("\\boxed{10,\\!080}", "10080"),
    ("\\boxed{5\\,000}", "5000"),
    ("\\boxed{x = 18}", "18"),
    ("\\boxed{\\frac{3}{4}}", "0.75"),
    ("\\boxed{\\frac{1}{3}}", "1/3"),
    ("\\boxed{-\\frac{2}{6}}", "-1/3"),
    ("\\boxed{1\\frac{4}{5}}", "1.8"),
    ("\\boxed{50\\%}", "50"),
    ("\\boxed{3} wait, \\boxed{4", "3"),
    ("The answer is $1,234.50.", "1234.5"),
    ("The answer is 18.", "18"),
    ("**The answer is: $18**", "18"),
    ("The answer is $18$ because 9 * 2 = 18.", "18"),
    ("The answer is 18 dollars for 3 days.", "18"),
    ("The answer is 18, not 20.", "18"),
    ("The answer is 9 * 2 = 18. Let me know if you have 2 more questions!", "18"),
    ("The answer is approximately 3.50 miles.", "3.5"),
    ("Answer: 18\n\nExplanation: 3 days * 6 eggs = 18, not 20.", "18"),
    ("**Answer:** $2,125.\n", "2125"),
    ("The answer is 5. Wait, I forgot 2. So the answer is 7.", "7"),
    ("Answer: There are 15 trees. Then 6 more, so she has 21 trees.", "21"),
    ("Answer: 16 - 3 - 4 = 9 eggs are left. 9 * 2 = $18.", "18"),
    # the last number
    ("So she has 16 - 3 - 4 = 9 eggs, which bring 9 * 2 = $18 a day.", "18"),
    ("She earns $18.00", "18"),
    ("That leaves 0.50", "0.5"),
    ("It is -0.", "0"),
    ("a rate of .5", "0.5"),
    ("The change is −3.", "-3"),
    ("He lost -$5.", "-5"),
    ("So 3/4 of them", "0.75"),
    ("one third is 1/3.", "1/3"),
    ("He needs 1 1/2 cups.", "1.5"),
    ("He needs 1½ cups.", "1.5"),
    ("He kept 50% of it.", "50"),
    ("The total is 1,234,567.", "1234567"),
    ("The total is 1\u202f234.", "1234"),
    ("The numbers are 1, 2, 3.", "3"),
    ("She runs 18km.", "18"),
    ("She gets 60 dollars for a 3-hour shift.", "60"),
    ("There are 12 eggs, on the 2nd day.", "12"),
    ("The B2B firm x2 has 7 staff, says COVID-19 and B2B.", "7"),
    ("So the area is 12 cm^2.", "12"),
    ("\\boxed{12\\text{ cm}^2}", "12"),
    ("\\boxed{60 \\text{ km/h}}", "60"),
    ("It costs US$18", "18"),
    ("x = –5", "-5"),
    ("The answer is -$5.", "-5"),
    ("Answer: 5*3 = 15\nThen 15 + 3 = 18 dollars.", "18"),
    ("1. Add: 3 + 4 = 7.\n2. Double it: 14.\n3. Then", "14"),
    ("- 5 apples", None),
    ("He has:\n- 5 apples", "5"),
    ("She has 18 eggs {and", "18"),
    ("18", "18"),
    ("18. I hope it is correct.", "18"),
    # no answer
    ("", None),
    ("no number at all", None),
    ("It is 3,4", None),
    ("It is 1 000", None),
    ("He paid 12 100", None),
    ("It is 1.234,50", None),
    ("It is 12,34,567", None),
    ("at 10:30", None),
    ("It is 4.5e33", None),
    ("It is 4.5 \\times 10^{3}", None),
    ("It is 2^10", None),
    ("It is 2**3", None),
    ("It is \\sqrt{5}", None),
    ("It is 5\\pi", None),
    ("So 3x", None),
    ("It is 5 million", None),
    ("It is 2 and a half", None),
    ("It is minus 5", None),
    ("So she has 16 - 3", None),
    ("She has 5 +", None),
    ("It is 5k", None),
    ("5-10", None),
    ("the ratio is 2:1", None),
    ("It is 3/0", None),
    ("x2 B2B H2O", None),
    ("\\boxed{18", None),
    ("The total is 20. \\boxed{}", "20"),
    ("The total is 20. \\boxed{x}", None),
    ("\\boxed{2 hours 30 minutes}", None),
    ("\\boxed{5, 7}", None),
    ("The answer is 3 + 4.", None),
    ("The answer is 5 more than x", None),
    ("\\boxed{2 \\text{ dollars and } 50 \\text{ cents}}", None),
    ("It is 5 x 3", None),
    ("It is 0.333...", None),
    ("It is 5'10", None),
    ("The answer is 5 apples and 3 oranges.", None),
    ("The answer is 3, 4.", None),
    ("#### 5-7", None),
]

LATEX: list[tuple[str, str | None]] = [
    ("The answer is $\\boxed{\\frac{1}{2}}$.", "\\frac{1}{2}"),
    ("\\boxed{ \\left( 3, \\frac{\\pi}{2} \\right) }", "\\left( 3, \\frac{\\pi}{2} \\right)"),
    ("\\boxed{$5$}", "5"),
    ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
    ("\\boxed{\\text{Evelyn}}", "\\text{Evelyn}"),
    ("\\boxed{x^{2^{n}} + \\sqrt{\\frac{a}{b}}}", "x^{2^{n}} + \\sqrt{\\frac{a}{b}}"),
    ("\\boxed 5", "5"),
    ("$\\boxed 5$ is it", "5"),
    ("\\boxed{\\$32,\\!348}", "\\$32,\\!348"),
    ("\\fbox{7}", "7"),
    ("\\boxed{3} and later \\boxed{4}.", "4"),
    ("\\boxed{3} and later \\boxed{\\frac{4}{", "3"),
    ("\\boxed{3} and later \\boxed{}.", "3"),
    ("\\boxed{3}. I put it in \\boxed{answer}.", "3"),
    ("\\boxed{x = \\boxed{5}}", "5"),
    ("\\\\boxed{5}", "5"),
    ("\\boxed{12}. Final Answer: The final answer is $13$.", "12"),
    ("\\boxed{p - q}\n\nLet me know if you need more!", "p - q"),
    (
        "\\begin{align*}\nx &= 2+3\\\\\n&= \\boxed{5}\n\\end{align*}",
        "5",
    ),
    ("Final Answer: The final answer is $[2,5)$. I hope it is correct.", "[2,5)"),
    ("Final Answer: The final answer is $-\\frac{2}{3}$. I hope it is correct.", "-\\frac{2}{3}"),
    ("Final Answer: The final answer is 16. I hope it is correct.", "16"),
    ("The answer is $x^2 + 1$.", "x^2 + 1"),
    ("The answer is $m$.", "m"),
    ("The answer is \\(3\\sqrt{13}\\).", "3\\sqrt{13}"),
    ("The answer is:\n\\[\n\\frac{3}{56}\n\\]", "\\frac{3}{56}"),
    ("The answer is:\n\n$$\n6 - 5i\n$$\n\nThanks!", "6 - 5i"),
    ("**Answer:** $90^\\circ$", "90^\\circ"),
    ("**Final Answer**\n\n$(6,31,-1)$", "(6,31,-1)"),
    ("The answer is $18.", "18"),
    ("So the answer is 5 because $2 + 3 = 5$.", "5"),
    ("The answer is $3$. Wait, the answer is $4$.", "4"),
    ("<think>\\boxed{1}</think>\n\\boxed{2}", "2"),
    ("We find $a = 2$. Therefore $x = 5$.", "x = 5"),
    ("Therefore the length is $5$ cm.", "5"),
    ("Hence\n\\[ x = \\frac{1}{2}. \\]", "x = \\frac{1}{2}."),
    ("So we get \\(2\\sqrt{5}\\)", "2\\sqrt{5}"),
    ("Simplify.\n\n$$11\\sqrt2$$", "11\\sqrt2"),
    ("Solving gives\nx = 5", "x = 5"),
    ("Add them up:\n= 12", "12"),
    ("5", "5"),
    ("$5$", "5"),
    ("-\\frac{35}{9}", "-\\frac{35}{9}"),
    # no answer
    ("", None),
    ("\\boxed{\\frac{1}{2}", None),
    ("The answer is $\\boxed{\\frac{1}{2}$", None),
    ("\\boxed{", None),
    ("\\boxed{}", None),
    ("The answer is not clear.", None),
    ("The answer is wrong.", None),
    ("The answer is $\\frac{1}{", None),
    ("The answer is $x = 1$ and $x = -2$.", None),
    ("The roots are $3$ and $4$.", None),
    ("So we need to find $x$.", None),
    ("The answer is $3! \\times 5!", None),
    ("\\begin{align*}\nx &= 8y \\\\\n&= 16.\n", None),
    ("\\[\n\\begin{aligned}\n2x &= 5", None),
    ("Answer: $2 + 3 = 5$\nThen $x = 7$ follows at once, so we look at", None),
    ("This holds for all $n \\ge 2$.", None),
    ("She pays $5 and gets $3.", None),
    ("We let $x = 5$ and then we", None),
    ("so $x = 3$ and $y =", None),
    ("Therefore\nx = 3 +", None),
    ("Thus\n\\frac{1}{2", None),
    ("1. Expand.\n2. Solve.\n3.", None),
    ("Let us consider the cases", None),
    ("If the answer is $5$, then", None),
    ("<think>So \\boxed{5}. But", None),
    ("Answer: $f(x) = x^2$ so we have to integrate", None),
]

TEXTS: list[tuple[str, str | None]] = [
    (" Paris\n", "paris"),
    ("New\t York \n City", "new york city"),
    ("STRASSE", "strasse"),
    ("Straße", "strasse"),
    ("ｆｕｌｌ", "full"),
    ("", None),
    (" \n\u3000", None),
]


def cases(table: list[tuple[str, str | None]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("text", "expected"), table, ids=range(len(table)))


@cases(LETTERS)
def test_letter(text: str, expected: str | None) -> None:
    assert extract(text, "letter") == expected


@cases(INTEGERS)
def test_integer(text: str, expected: str | None) -> None:
    assert extract(text, "integer") == expected


@cases(NUMBERS)
def test_number(text: str, expected: str | None) -> None:
    assert extract(text, "number") == expected


@cases(LATEX)
def test_latex(text: str, expected: str | None) -> None:
    assert extract(text, "latex") == expected


@cases(TEXTS)
def test_text(text: str, expected: str | None) -> None:
    assert extract(text, "text") == expected


def test_the_tables_are_long_enough() -> None:
    for table in (LETTERS, INTEGERS, NUMBERS, LATEX):
        assert len(table) >= 40
        assert len({text for text, _ in table}) == len(table)


def test_scheme_one() -> None:
    """Raise the number, and add a line to the CHANGELOG, whenever an expected value changes."""
    assert module.ANSWERS_SCHEME == 1
    assert KINDS == ("letter", "integer", "number", "latex", "text")


def test_unknown_kind() -> None:
    with pytest.raises(UserError, match="extractor .*letter, integer, number, latex, text.*'word'"):
        extract("5", "word")


def test_fewer_choices_than_the_letter_stated() -> None:
    assert extract_letter("The answer is (D).", choices=4) == "D"
    assert extract_letter("The answer is (E).", choices=4) is None
    with pytest.raises(UserError, match="choices"):
        extract_letter("B", choices=0)


# Prompts of real tasks, retold or continued by the model, and anything else at all.
PIECES = [
    *("the answer is ", "Answer:", "\\boxed{", "\\boxed ", "\\fbox{", "}", "{", "$", "\\(", "\\)"),
    *("\\[", "\\]", "####", "(", ")", "A", "b", "I", "1", "1,", ".", "-", "/", " 1/2", "½", "%"),
    *(
        "\\frac",
        "\\text{",
        "\\",
        "\n",
        "\n\n",
        " ",
        "**",
        "=",
        "<think>",
        "</think>",
        "²",
        "٣",
        "x",
    ),
    *("<answer>", "</answer>", "\ud800", "\x00", "\x01", "1.", "is", "and", ", ", "1 000", "e5"),
]
ANY_TEXT = st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join))


@pytest.mark.parametrize("kind", KINDS)
@given(text=ANY_TEXT)
@example(text="9" * 5000)
@example(text="\\boxed{" + "9" * 5000 + "}")
def test_any_text_gives_a_non_empty_answer_or_none(kind: str, text: str) -> None:
    found = extract(text, kind)
    assert found is None or (isinstance(found, str) and found)
    assert extract(text, kind) == found


@given(text=ANY_TEXT)
def test_each_form_is_canonical(text: str) -> None:
    letter, integer, number = extract_letter(text), extract_integer(text), extract_number(text)
    assert letter is None or (len(letter) == 1 and letter in "ABCDEFGHIJ")
    assert integer is None or str(int(integer)) == integer and 0 <= int(integer) <= 999
    assert number is None or extract_number(number) == number
    folded = normalize_text(text)
    assert folded is None or normalize_text(folded) == folded


ADVERSARIAL = [
    *(
        "(",
        "\\",
        "{",
        "}",
        "$",
        "*",
        "#",
        "=",
        "-",
        "9",
        "A",
        " ",
        "\n",
        "_",
        "`",
        "1,",
        "1 ",
        "1/",
    ),
    *("\\boxed{", "\\boxed ", "\\boxed{1}", "\\boxed{1", "{}", "\\text{", "\\frac{", "\\frac{1}"),
    *("the answer is ", "answer to the ", "answer", "answer:\n", "answer is therefore ", "#### 1"),
    *("(A) ", "A. ", "A", " \n", "$$", "\\[", "$1", "1.\n", "\n1. ", "step ", "if the ", "<think>"),
    *(
        "the answer is A and ",
        "option A is ",
        "10 ",
        "1.",
        "<answer>",
        ", ",
        "-1",
        "\x01A",
        "½",
        "^",
    ),
    *("\u00a0", "\u202f1", "the answer is $x", "\n- ", "a\n", "\\boxed{\n", "=1", "\\(1\\)", "1-"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("piece", ADVERSARIAL, ids=range(len(ADVERSARIAL)))
def test_long_hostile_texts_come_to_an_end(piece: str, kind: str) -> None:
    text = piece * (100_000 // len(piece))
    for whole in (text + " x", "The answer is " + text):
        found = extract(whole, kind)
        assert found is None or found


def rows(path: str) -> list[dict[str, Any]]:
    file = HUB / path
    if not file.exists():
        pytest.skip(f"no real rows: {file} is absent")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def kinds(path: str, *target: str) -> set[str]:
    return {kind_of_gold(row[target[0]], row) for row in rows(path)}


@pytest.mark.parametrize(
    ("task", "path", "column", "kind"),
    [
        ("mmlu_pro_math", "TIGER-Lab/MMLU-Pro/test.jsonl", "answer", "letter"),
        ("gsm8k_cot_zeroshot", "openai/gsm8k/main/test.jsonl", "answer", "number"),
        ("aime24", "Maxwell-Jia/AIME_2024/train.jsonl", "Answer", "integer"),
        ("hendrycks_math500", "HuggingFaceH4/MATH-500/test.jsonl", "answer", "latex"),
        ("minerva_math500", "HuggingFaceH4/MATH-500/test.jsonl", "answer", "latex"),
        ("minervamath", "math-ai/minervamath/test.jsonl", "answer", "latex"),
    ],
)
def test_kind_of_real_rows(task: str, path: str, column: str, kind: str) -> None:
    """All rows of a task have one kind: the votes on two questions then mean the same."""
    for row in rows(path):
        assert kind_of_gold(row[column], row) == kind, (task, row)
        assert kind_of_gold(str(row[column]), row) == kind, (task, row)
        assert kind_of_gold([row[column]], row) == kind, (task, row)


def test_gsm8k_target_after_the_marks() -> None:
    """gsm8k_cot splits the target at ####; its few-shot rows have no answer column."""
    for row in rows("openai/gsm8k/main/test.jsonl"):
        assert kind_of_gold(row["answer"].split("####")[-1].strip(), row) == "number"


def test_real_gold_solutions_give_their_answers() -> None:
    """A solution worked out by hand is a response too: what is extracted must be the gold."""
    for row in rows("openai/gsm8k/main/test.jsonl"):
        gold = row["answer"].split("####")[-1].strip().replace(",", "")
        assert extract_number(row["answer"]) == gold
        assert extract_number(f"The answer is {gold}.") == gold
    for row in rows("TIGER-Lab/MMLU-Pro/validation.jsonl"):
        assert extract_letter(row["cot_content"]) == row["answer"]
        option = row["options"][row["answer_index"]]
        assert extract_letter(f"The answer is ({row['answer']}) {option}") == row["answer"]
    for row in rows("HuggingFaceH4/MATH-500/test.jsonl"):
        assert extract_latex(f"So it is $\\boxed{{{row['answer']}}}$.") == row["answer"]
        said = f"Final Answer: The final answer is ${row['answer']}$. I hope it is correct."
        assert extract_latex(said) in (row["answer"], None)
    for row in rows("Maxwell-Jia/AIME_2024/train.jsonl"):
        found = extract_integer(row["Solution"])
        assert found in (str(row["Answer"]), None), row["ID"]


@pytest.mark.parametrize(
    ("target", "doc", "kind"),
    [
        ("(B)", {"question": "", "choices": ["x", "y"]}, "letter"),
        ("B", {"question": "", "options": ["x", "y"]}, "letter"),
        (1, {"question": "", "choices": ["x", "y"]}, "letter"),
        ("B", {"question": "a vitamin"}, "text"),
        ("70", {"id": "0", "problem": "", "answer": "70"}, "integer"),
        ("-70", {"id": "0", "problem": "", "answer": "-70"}, "number"),
        ("1,234.50", {"question": ""}, "number"),
        ("$18", {"question": ""}, "number"),
        ("-3", {"question": ""}, "number"),
        (204, {"question": ""}, "number"),
        (0.5, {"question": ""}, "number"),
        ("50%", {"question": ""}, "number"),
        ("They split 18.\n#### 18", {"question": ""}, "number"),
        ("9", {"problem": "", "solution": "so $\\boxed{9}$", "answer": "9"}, "latex"),
        ("\\frac{1}{2}", {"problem": ""}, "latex"),
        ("$x$", {"problem": ""}, "latex"),
        ("x^2", {"problem": ""}, "latex"),
        ("52_8", {"problem": ""}, "latex"),
        ("Paris", {"question": ""}, "text"),
        ("He paid $5 for it", {"question": ""}, "text"),
        ("a_snake_case name", {"question": ""}, "text"),
        ("", {"question": ""}, "text"),
        ([], {"question": ""}, "text"),
        (["9", "10"], {"question": ""}, "number"),
        (["9", "ten"], {"question": ""}, "text"),
        (None, {}, "text"),
    ],
)
def test_kind_of_gold(target: object, doc: dict[str, object], kind: str) -> None:
    assert kind_of_gold(target, doc) == kind
