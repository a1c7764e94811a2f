"""Expressions as models really write them; each expected value was decided before running it."""

from __future__ import annotations

import pytest

from btrans_eval.answers.extract import extract

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


@pytest.mark.parametrize(("text", "expected"), LATEX, ids=range(len(LATEX)))
def test_latex(text: str, expected: str | None) -> None:
    assert extract(text, "latex") == expected


def test_the_table_is_long_enough() -> None:
    assert len(LATEX) >= 40
    assert len({text for text, _ in LATEX}) == len(LATEX)
