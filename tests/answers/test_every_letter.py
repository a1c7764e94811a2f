"""Every letter is treated alike: A and I are words of English, and letters all the same."""

from __future__ import annotations

import pytest

from btrans_eval.answers.extract import extract

LETTERS = "ABCDEFGHIJ"

# {X} is the letter, {x} the small one, {Y} and {Z} are others
STATED = [
    "2 + 2 = 4. The answer is ({X}).",
    "So the answer is {X}",
    "The answer is: ({X})",
    "Answer: {X}",
    "**Answer:** ({X})",
    "**Answer: {X}**",
    "**Final Answer**\n\n({X})",
    "### Answer\n\n{X}",
    "The correct option is {X}.",
    "The correct choice is **({X}) 12 m/s**.",
    "Hence the best choice is ({X}) because the others fail.",
    "Therefore, the answer is $\\boxed{{X}}$.",
    "\\[\n\\boxed{\\text{({X})}}\n\\]",
    "The final answer is \\boxed{\\textbf{({X})}\\ 12}.",
    "\\boxed{\\boxed{{X}}}",
    "Option {X} is correct.",
    "Thus option ({X}) is the correct answer.",
    "({X}) is the correct answer, as computed above.",
    "{X} is the correct answer.",
    "So the answer is option ({X}).",
    "The answer to the question is therefore ({X}).",
    "I'd go with option {X}.",
    "The value is 12.5 m, which corresponds to option {X}.",
    "the correct answer is {X} because momentum is conserved",
    "<answer>{X}</answer>",
    "The answer is ({x}).",
    "So the answer is {x}.",
    "answer: {x}",
    'The answer is "{X}".',
    "The answer is {X}. Let me know if you have any questions!",
    "The answer is ({X}) 12 m.\n\nI hope this helps. A good day to you!",
    '{"answer": "{X}"}',
    "The correct answer is:\n\n**{X}) 12 m**",
    "The answer is the letter {X}.",
    "{X}",
    "({X})",
    "{X}.",
    " **{X}** \n",
    "{X}) 12 m",
    "{X}. The mitochondria",
    "{X}\n\nExplanation: the rate doubles.",
    "Both rates double.\n\n({X})",
    "Both rates double.\n\n{X}",
    "$\\text{{X}}$.",
    "\\textbf{{X}}.",
    "{X} is the answer",
    "{X} is the answer.",
    "\\boxed{\\text{Option {X}}}",
    "\\boxed{{X}}",
    "\\boxed{{X}: 12 m}",
    "\\boxed{{X}. 12 m}",
    "\\boxed{({X}) 12 m}",
    "Answer: {X}: 12 m",
    "Answer: {X} - 12 m",
    "Answer: {X} – 12 m",
    "Answer — {X}",
    "The answer is {X}, I am sure.",
    "The answer is {X}. I am sure.",
    "The answer is {X}. A train leaves.",
    "The answer is $\\mathbf{{X}}$.",
    "The answer is \\text{{X}}.",
    "Final answer: **{X}**",
    "The best answer is {X}) 12 m",
    "The answer is choice {X}",
    "So, the correct answer is option {X}: 12 m.",
    "The answer is therefore {X}.",
    "The answer is **{X}**.",
    "The answer is *{X}*.",
    "Answer = {X}",
    "The answer is [{X}]",
    "Correct answer: {X}\nExplanation: because",
    "Answer:{X}",
    "ANSWER: {X}",
    "The answer is {X}.<",
    "Option {X} is the answer.",
    "Therefore, {X} is the correct option.",
    "The correct answer is {X}, since the others fail.",
    "\\boxed{{X}} and \\boxed{{X}}",
    "The answer is {X} (12 m).",
    "The answer is {X}; the rest fail.",
    "The answer would be {X}.",
    "My answer is {X}.",
    "<think>B C A</think>{X}",
    "(The answer is {X})",
    "The answer is option {X} .",
    "Answer: Option {X}",
    "Answer: \n{X}",
    "Answer: Choice ({X})",
    "The answer is {X}.<|im_end|>",
]
NOT_STATED = [
    "The answer is {X} or {Y}.",
    "The answer is ({X}) and ({Y}).",
    "The answers are {X}, {Y} and {Z}.",
    "\\boxed{{X}, {Y}}",
    "\\boxed{{X} or {Y}}",
    "\\boxed{({X}), ({Y})}",
    "Answer: {X}; {Y}",
    "Answer: {X}, {Y}",
    "Answer: {X}/{Y}",
    "Answer: {X} & {Y}",
    "\\boxed{{X}} and \\boxed{{Y}}",
    "\\boxed{{X}}, \\boxed{{Y}}",
    "\\boxed{{X}{Y}}",
    "the answer is ({X}), which is false",
    "The answer is ({X}) is incorrect.",
    "the answer is {X}, but that is wrong.",
    "The answer is {X}, but this is not correct.",
    "the answer is ({X}), which is incorrect",
    "The closest option is {X}. 950, but that's not correct.",
    "The second best option is {X}.",
    "Another answer is {X}.",
    "The answer is not {X}.",
    "If the answer is {X}, then",
    "I don't think the answer is {X}.",
    "Is the answer ({X})?",
    "The answer is {X}?",
    "({X}) is wrong because",
    "The answer is {X} = 5",
    "The answer is none of the above.",
    "The answer is (None of the above)",
    "Answer: {X}: Let's think step by step.",
    "The answer is {X} or {Y} because both fit",
    "The answer is {X} and {Y}, I think.",
    "The answer is both {X} and {Y}.",
    "The answer is either {X} or {Y}.",
    "Answer: ({X}), ({Y})",
    "Answer: {X} or {Y}",
]


def filled(form: str, number: int, step: int = 1) -> str:
    letters = {"X": LETTERS[number], "x": LETTERS[number].lower()}
    letters |= {"Y": LETTERS[(number + step) % 10], "Z": LETTERS[(number + step + 1) % 10]}
    for name, letter in letters.items():
        form = form.replace(f"{{{name}}}", letter)
    return form


@pytest.mark.parametrize("form", STATED, ids=range(len(STATED)))
def test_a_form_that_states_one_letter_states_them_all(form: str) -> None:
    read = {letter: extract(filled(form, n), "letter") for n, letter in enumerate(LETTERS)}
    assert read == dict(zip(LETTERS, LETTERS, strict=True))


@pytest.mark.parametrize("form", NOT_STATED, ids=range(len(NOT_STATED)))
@pytest.mark.parametrize("step", [1, 3, 8])
def test_a_form_that_states_no_single_letter_states_none(form: str, step: int) -> None:
    read = [extract(filled(form, number, step), "letter") for number in range(10)]
    assert read == [None] * 10


def test_the_tables_are_long_enough() -> None:
    assert len(set(STATED)) >= 80
    assert len(set(NOT_STATED)) >= 30
