"""Numbers as models really write them; each expected value was decided before running it."""

from __future__ import annotations

import pytest

from btrans_eval.answers.extract import extract

# A labelled number is the number, and no later one of its sentence.
LABELLED: list[tuple[str, str | None]] = [
    ("Final answer: 7 (rounded to 2 decimals)", "7"),
    ("Answer: 7 apples (2 boxes of 4)", "7"),
    ("**Answer:** 7, because 3 of 4 are gone", "7"),
    ("Answer: $7 (that is 3 less than $10).", "7"),
    ("Answer: 7. She has 3 left over.", "7"),
    ("Answer: 7, which is 3 less than 10", "7"),
    ("Answer: 7 (since 3 + 4 = 7)", "7"),
    ("Answer: __7__ for 3 weeks", "7"),
    ("Answer: £7", "7"),
    ("Answer: approximately 7 km", "7"),
    ("Answer: about 7", "7"),
    ("Answer: ~7", "7"),
    ("Answer: *7*", "7"),
    ("Answer: 7/10", "0.7"),
    ("Answer: 7 %", "7"),
    ("Answer - 42", "42"),
    ("Answer – 42", "42"),
    ("Answer — 42", "42"),
    ("Final answer — 42 dollars", "42"),
    ("Answer = 42", "42"),
    ("Answer: -42", "-42"),
    ("Answer: –42", "-42"),
    # a calculation gives its last side
    ("Answer: 3 + 4 = 7", "7"),
    ("Answer: 3 + 4 = 7 apples", "7"),
    ("Answer: 3 + 4 = 7 apples.", "7"),
    ("Answer: She has 3 + 4 = 7", "7"),
    # what begins with words is no number with a label; one number alone can only be meant
    ("Answer: On day 3 she has 12", None),
    ("Answer: On day 3 she has 12 left.", None),
    ("Final Answer: The total is 12 dollars for 3 days", None),
    ("Answer: In 2 boxes of 4 there are 8.", None),
    ("**Answer:** Janet makes $18 every day.", "18"),
    ("Answer: She has 12 eggs.", "12"),
    ("Answer: There are 15 trees. Then 6 more make 21.", "21"),
    # nothing
    ("Answer: 3 + 4 = 7 apples in 2 boxes", None),
    ("Answer: about $7 in 3 days", None),
    ("Answer: 7 out of 10", None),
    ("Answer: 7 of the 9 eggs", None),
    ("Answer: 7 or 8", None),
    ("Answer: 7 to 8", None),
    ("Answer: 7-10", None),
    ("Answer: 7, 8", None),
    ("Answer: 7 hours 30 minutes", None),
    ("Answer: 7 dollars and 50 cents", None),
    ("Answer: 7 times 3", None),
    ("Answer: 7 more than 3", None),
]

# One sign for every dash that stands for a minus, one width, one blank.
FOLDED: list[tuple[str, str | None]] = [
    *(
        (f"x = {dash}5", "-5")
        for dash in "-\u2010\u2011\u2012\u2013\u2014\u2212\ufe58\ufe63\uff0d\u207b"
    ),
    *(
        (f"({dash}5)", "-5")
        for dash in "-\u2010\u2011\u2012\u2013\u2014\u2212\ufe58\ufe63\uff0d\u207b"
    ),
    *(
        (f"She needs 10{dash}12 eggs", None)
        for dash in "-\u2010\u2011\u2012\u2013\u2014\u2212\uff0d"
    ),
    *((f"because of COVID{dash}19", None) for dash in "-\u2010\u2011\uff0d"),
    *((f"It costs {dash}$5", "-5") for dash in "-\u2010\u2013\u2212"),
    ("It is \uff14\uff12", "42"),
    ("It is \U0001d7d2\U0001d7d0", "42"),
    ("It is 1\u2009234", "1234"),
    ("It is 1\u00a0234\u00a0567", "1234567"),
    ("The answer is\u00a042", "42"),
    ("It is 4\u200b2", "42"),
    ("the answer is 42。", "42"),
    ("– 5 apples and then 6", "6"),
    ("It is 10⁻⁵", None),
    ("It is 10⁵", None),
    ("It is 12 m²", "12"),
    ("It costs 12 €.", "12"),
    ("The answer is 12 m².", "12"),
    ("\\boxed{12 €}", "12"),
    ("\\boxed{12 m²}", "12"),
    ("\\boxed{12\\,\\text{m}^2}", "12"),
    ("\\boxed{5!}", None),
    ("The answer is 5!", "5"),
]

# Several answers are no answer.
SEVERAL: list[tuple[str, str | None]] = [
    ("\\boxed{3} and \\boxed{4}", None),
    ("\\boxed{3}, \\boxed{4}", None),
    ("$\\boxed{3}$ or $\\boxed{4}$", None),
    ("\\boxed{3}; \\boxed{4}", None),
    ("\\boxed{3} & \\boxed{4}", None),
    ("\\boxed{3} \\quad \\text{and} \\quad \\boxed{4}", None),
    ("\\boxed{3} and \\boxed{3}", "3"),
    ("\\boxed{3}, \\boxed{3.0}", "3"),
    ("\\boxed{3} no, \\boxed{4}", "4"),
    ("\\boxed{3}, but only \\boxed{4}", "4"),
    ("\\boxed{3} so \\boxed{4}", "4"),
    ("\\boxed{3}\n\nChecked: \\boxed{4}", "4"),
    ("\\boxed{3}\n\n\\boxed{4}", "4"),
    ("\\boxed{\\boxed{4}}", "4"),
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


@pytest.mark.parametrize(("text", "expected"), INTEGERS, ids=range(len(INTEGERS)))
def test_integer(text: str, expected: str | None) -> None:
    assert extract(text, "integer") == expected


@pytest.mark.parametrize(("text", "expected"), NUMBERS, ids=range(len(NUMBERS)))
def test_number(text: str, expected: str | None) -> None:
    assert extract(text, "number") == expected


@pytest.mark.parametrize(("text", "expected"), LABELLED + FOLDED + SEVERAL)
def test_number_with_labels_signs_and_boxes(text: str, expected: str | None) -> None:
    assert extract(text, "number") == expected


@pytest.mark.parametrize(("text", "expected"), SEVERAL)
def test_integer_of_several_boxes(text: str, expected: str | None) -> None:
    assert extract(text, "integer") == expected


def test_the_tables_are_long_enough() -> None:
    for table in (INTEGERS, NUMBERS, LABELLED, FOLDED):
        assert len(table) >= 40
        assert len({text for text, _ in table}) == len(table)
