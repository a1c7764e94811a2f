"""Letters as models really write them; each expected value was decided before running it."""

from __future__ import annotations

import pytest

from btrans_eval.answers.extract import extract
from btrans_eval.answers.letters import extract_letter
from btrans_eval.errors import UserError

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
    ("Water boils.\n\nA", "A"),  # as it would be with B
    # as published models wrote them, shortened
    ("The closest option is E, but it's still incorrect. The answer is (None of the above)", None),
    ("The closest option:\n\nOption B: 0.8 cm.\n\nThe answer is (None of the above)", None),
    ("The closest option is (D) 40 bits, but this is not correct. It is not given.", None),
    ("The answer is (B) 240 bytes, but this is incorrect. The correct answer is 2 bytes.", None),
    ("The answer is (A) is false.", None),
    ("(i)\n(a) The slip is given by s = 1 - n, at the terminals", None),
    ("So the answer is (C). The first statement is false, but not the second.", "C"),
    ("The answer is (J) - which indicates that the question is incorrect.", "J"),
    ('The answer is (I) "The question is incorrect or incomplete."', "I"),
    ("Therefore, the final answer is 'G and H'.", None),
    ("A is positive, so the answer is: A - B = -(1,131)", None),
    ("The answer is (A). Final answer: F.<EOS_TOKEN>", "F"),
    # the parts of an answer, each with its own
    ("The answer is (a) **Plan B** and (b) **Plan A**.", None),
    ("The answer is (a) 5 and (b) 7.", None),
    ("The answer is (a) yes, (b) no.", None),
    ("The answer is: (a) 12 m; (b) 7 s", None),
    ("Answer: (a) increases, (b) decreases", None),
    ("The answer is (a) the first, and (b) the third.", None),
    ("The answer is (A) Plan B and (B) Plan A.", None),
    ("The correct answer is A) Plan B and B) Plan A.", None),
    ("The answer is a) Plan B; b) Plan A", None),
    ("The answer is (i) 3 and (ii) 4.", None),
    ("The answer is (a) 12.5 m and (b) 3.5 s.", None),
    # no parts: another option is told apart, or belongs to the option's own text
    ("The answer is (A) 12 and not (B) 13.", "A"),
    ("The answer is (A) 12, not (B) 13.", "A"),
    ("The answer is (A) 12, because (B) is wrong.", "A"),
    ("The answer is (A) 12, while (B) is too large.", "A"),
    ("The answer is (A), which excludes options (C), (B) and (D).", "A"),
    ("The answer is (A) 12 and (B) is wrong.", "A"),
    ("The answer is (A) 12. The second best, (B) 13, is wrong.", "A"),
    ("The correct answer is:\n\nA. (a) LET T = 1, (b) LET V = 2, (c) LET W = 3", "A"),
    ("The answer is A. (a) Constitutive, (b) Inducible.", "A"),
    ("Answer: A) a) Change in supply, b) Change in quantity supplied.", "A"),
    ("The answer is (A) for part a and (B) for part b.", None),
    ("So the answer is:\n(a) 11.11 amps, (b) 29.41 amps", None),
    ("The answer is (A) both cats and dogs.", "A"),
    ("The answer is (A) vitamin C and b vitamins.", "A"),
    ("The answer is (B) the cat, (C) is the dog.", "B"),
    ("The answer is (I) the first and (II) the second.", None),
    ("The answer is (A, B, E).", None),
    ("So the answer is (B, C, D, G).", None),
    ("The answer is (F) or (G).", None),
    ("The answer is (C) or possibly (D).", None),
    ("The answer is C, or maybe option D.", None),
    ("The answer is (C) and perhaps also (D).", None),
    ("The answer is (C), though (D) is close.", "C"),
    ("The answer is 'A'", "A"),
    ("The answer is 'B'.", "B"),
    ("The answer is B's cousin", None),
    ("The answer is not listed, but the closest one is (I).", "I"),
    ("The best answer is either (E) or (F), but no choice is clear.", None),
    # a later word wins, a second best does not
    ("The answer is B. The second best is C.", "B"),
    ("The answer is B. The second best option is C.", "B"),
    ("The answer is B. The next best choice is (C).", "B"),
    ("\\boxed{A} no, \\boxed{B}", "B"),
    ("\\boxed{A}. Wait, so \\boxed{B}", "B"),
    ("The answer is A. The answer is (D), which is false.", "A"),
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
    ("<think>I guess the answer is (A). But", None),
    ("To answer the question, consider vitamin C and vitamin D", None),
]


@pytest.mark.parametrize(("text", "expected"), LETTERS, ids=range(len(LETTERS)))
def test_letter(text: str, expected: str | None) -> None:
    assert extract(text, "letter") == expected


def test_the_table_is_long_enough() -> None:
    assert len(LETTERS) >= 40
    assert len({text for text, _ in LETTERS}) == len(LETTERS)


def test_fewer_choices_than_the_letter_stated() -> None:
    assert extract_letter("The answer is (D).", choices=4) == "D"
    assert extract_letter("The answer is (E).", choices=4) is None
    with pytest.raises(UserError, match="choices"):
        extract_letter("B", choices=0)
