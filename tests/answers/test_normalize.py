"""The normal form of an answer, and that real gold answers have one."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from real import HUB, needs_hub

from btrans_eval.answers.encoding import encode
from btrans_eval.answers.latex import clean, split_top
from btrans_eval.answers.normalize import normalize, read

GOLDS = "HuggingFaceH4/MATH-500/test.jsonl", "math-ai/minervamath/test.jsonl"


@pytest.mark.parametrize(
    "answer, normal",
    [
        ("\\dfrac12", "1/2"),
        ("\\frac{1}{2}.", "1/2"),
        ("$0.150$", "3/20"),
        ("\\left( 3, \\frac{\\pi}{2} \\right)", "(3,\\frac{\\pi}{2})"),
        ("\\text{(C)}", "C"),
        ("\\text{Evelyn}", "\\text{evelyn}"),
        ("x = 5", "x=5"),
        ("5 cm", "5\\text{ cm}"),
        ("864 \\mbox{ inches}^2", "864\\text{ in2}"),
        ("\\$32,\\!348", "32348\\text{ dollar}"),
        ("90^\\circ", "90\\text{ degree}"),
        ("90^\\circ\\text{C}", "90\\text{ degree C}"),
        ("50\\%", "50\\%"),
        ("50 percent", "50\\%"),
        ("1,-2", "\\{-2,1\\}"),
        ("3, 5, 7", "\\{3,5,7\\}"),
        ("1,234,567", "1234567"),
        ("(1,234)", "(1,234)"),
        ("1 \\pm \\sqrt{19}", "\\{1+\\sqrt{19},1-\\sqrt{19}\\}"),
        ("x > 2", "x=(2,\\infty)"),
        ("x \\in [-2,7]", "x=[-2,7]"),
        ("52_8", "52_{8}"),
        ("2\\frac{5}{3}", "2\\frac{5}{3}"),  # no mixed number
        ("5m", "5m"),
        ("\\frac{37}{4} m", "\\frac{37}{4}m"),  # m is a mass in Minerva's gold
        ("2 x \\pi r", "2x\\pi r"),
        ("x² + √2", "x^{2}+\\sqrt{2}"),
        ("", ""),
        ("$$", ""),
        ("\\quad", ""),
    ],
)
def test_normal_form(answer, normal):
    assert normalize(answer, "latex") == normal


@pytest.mark.parametrize(
    "kind, answer, normal",
    [
        ("text", " Foo\u00a0 BAR ", "foo bar"),
        ("text", "ﬁne", "fine"),
        ("letter", "c", "C"),
        ("integer", "070", "070"),  # extraction has made it canonical
        ("number", "1/3", "1/3"),
        ("number", "１２", "12"),
    ],
)
def test_other_kinds(kind, answer, normal):
    assert normalize(answer, kind) == normal


@needs_hub
@pytest.mark.parametrize("file", GOLDS)
def test_every_gold_has_a_structure_that_its_normal_form_keeps(file):
    for line in (HUB / file).read_text(encoding="utf-8").splitlines():
        gold = json.loads(line)["answer"]
        term = read(gold)
        assert str(term)
        assert read(str(term)) == term


@pytest.mark.parametrize(
    "answer, number",
    [
        ("-3./2", Fraction(-3, 2)),
        (".0000672", Fraction(672, 10**7)),
        ("1.325e-27", Fraction(1325, 10**30)),
        ("0.1\\overline{6}", Fraction(1, 6)),
        ("2.\\overline{09}", Fraction(23, 11)),
        ("10^{-3}", Fraction(1, 1000)),
        ("-1\\frac{1}{2}", Fraction(-3, 2)),
        ("1/0", None),
        ("\\frac{1}{0}", None),
        ("10^{10000}", None),  # not written out
        ("9" * 5000, None),
        ("1.2.3", None),
        ("1 2", None),
        ("3:1", None),
        ("2^3", None),
    ],
)
def test_exact_numbers(answer, number):
    assert read(answer).number == number


def test_top_level_only():
    assert split_top("(1,2),\\{3,4\\},\\frac{5,}{6}", ",") == [
        "(1,2)",
        "\\{3,4\\}",
        "\\frac{5,}{6}",
    ]
    assert split_top("(1,2],3", ",") == ["(1,2]", "3"]  # an interval
    assert split_top("1),2", ",") == ["1),2"]  # does not pair: one whole


@pytest.mark.parametrize(
    "answer",
    [
        "52_8",
        "5 @ 3",
        "\\int x dx",
        "\\foo{2}",
        "1 2",
        "x \\mod 7",
        "3'",
        "\\ln 2/2",
        "\\sin",
        "“5”",
    ],
)
def test_what_might_be_misread_is_not_asked(answer):
    assert encode(clean(answer), "5") is None


def test_symbols_are_renamed_alike_on_both_sides():
    assert encode("M+m", "m+\\gamma^{2}") == ("x_{1}+x_{3}", "x_{3}+x_{2}^{2}")
    assert encode("f(x)", "fx") == ("x_{2}", "x_{1}x_{3}")


@given(
    st.text(alphabet=list("\\{}()[]$^_,.=<>%+-*/ \n\t'|&!~0123456789abcfimxπ√²½½°∞"), max_size=40)
)
def test_any_text_has_a_normal_form(answer):
    normal = normalize(answer, "latex")
    assert "\n" not in normal
    encode(normal, "x")


@pytest.mark.parametrize(
    "answer",
    ["(" * 3000, "{" * 3000, "\\text{" * 800, "5\\text{ a}" * 400, "=x" * 1500, "1,234" * 800,
     "\\sqrt{" * 400 + "2" + "}" * 400, "5" + " " * 4000 + "x", "\\frac" * 1000],
)  # fmt: skip
def test_long_answers_end(answer):
    normalize(answer, "latex")
