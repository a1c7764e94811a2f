"""LaTeX source of one answer, in one spelling: what renders alike is written alike."""

from __future__ import annotations

import re
import unicodedata

_SIGNS = {
    "−": "-", "–": "-", "×": "\\cdot ", "·": "\\cdot ", "⋅": "\\cdot ", "∗": "\\cdot ", "÷": "/",
    "∞": "\\infty ", "√": "\\sqrt ", "≤": "\\le ", "≥": "\\ge ", "≠": "\\ne ", "≈": "\\approx ",
    "∪": "\\cup ", "∩": "\\cap ", "∈": "\\in ", "∅": "\\emptyset ", "°": "^{\\circ}", "±": "\\pm ",
    "⟨": "\\langle ", "⟩": "\\rangle ", "\u00a0": "\\,", "\u2009": "\\,", "\u202f": "\\,",
    "′": "'", "’": "'", "¢": "\\text{ cents}", "ℝ": "\\mathbb{R}",
    "½": "\\frac{1}{2}", "⅓": "\\frac{1}{3}", "⅔": "\\frac{2}{3}", "¼": "\\frac{1}{4}",
    "¾": "\\frac{3}{4}",
}  # fmt: skip
_GREEK = zip(
    "αβγδεζηθλμνξπρστφχψωΓΔΘΛΣΦΨΩ",
    "alpha beta gamma delta epsilon zeta eta theta lambda mu nu xi pi rho sigma tau phi chi psi "
    "omega Gamma Delta Theta Lambda Sigma Phi Psi Omega".split(),
    strict=True,
)
_CHARACTERS = str.maketrans(_SIGNS | {sign: f"\\{name} " for sign, name in _GREEK})
_SMALL = [
    (re.compile("([⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]+)"), r"^{\1}"),
    (re.compile("([₀₁₂₃₄₅₆₇₈₉₋₊ₙ]+)"), r"_{\1}"),
]

_FUNCTIONS = (
    "arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|exp|sqrt|pi|infty|frac"
)
_ARGUMENT = r"\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}"
_RULES = [(re.compile(pattern), by) for pattern, by in (
    # escaped once more, as in JSON; a new row before a command has three
    (r"(?<!\\)\\\\(?=(?:[dt]?frac|left|right|sqrt|leq?|geq?|pi|cdot|times|text|infty|circ|in|cup)"
     r"(?![A-Za-z]))", r"\\"),
    (r"\\(?:left|right)(?:\.|(?![A-Za-z]))|\\(?:[bB]igg?[lrm]?|displaystyle|textstyle|n?o?limits|"
     r"protect|rm|bf|it)(?![A-Za-z])", ""),
    (r"\\(?:text(?:bf|it|rm|sf|normal)?|mbox|hbox|math(?:rm|it|sf)|operatorname\*?) *\{",
     r"\\text{"),
    # of multiple choice; letters upright or not are the same choices
    (r"\\text\{ *(\(?[A-Z]\)?(?: *(?:[,;]|,? *and\b|,? *or\b) *\(?[A-Z]\)?)+) *\}", r"\1"),
    (r"[\[(] *\\begin\{(?:array\} *\{[lcr| ]*|matrix)\}", r"\\begin{pmatrix}"),
    (r"\\end\{(?:array|matrix)\} *[\])]", r"\\end{pmatrix}"),
    (r"_ *(\{ *)?\\text\{ *([A-Za-z]+) *\}(?(1) *\})", r"_{\2}"),
    (r"\\text\{ *([-\d.,]+|[ei]) *\}", r"\1"),  # a number set upright; Euler's e, the imaginary i
    (r"\\(?:mathbf|boldsymbol|bm) *\{([^{}]{2,}|\d)\}", r"\1"),
    (r"(?<=\d)(?:\{,\}|, ?\\!|\\!|\\,) *(?=\d{3}(?!\d))", ""),  # thousands
    (r"\\[!]", ""),
    (r"(?<!\\)\\[()\[\]]|(?<!\\)\$|\\boxed(?=\{)", ""),
    (r"(?<!\\)\\[,;:> ]|~|\\q?quad|\\thinspace(?![A-Za-z])|\\hspace *\{[^{}]*\}|\s+",
     " "),
    (r"(?<![\\A-Za-z])(?:np\.|math\.)?(" + _FUNCTIONS + r")(?![A-Za-z])", r"\\\1"),
    (r"(?<![\\A-Za-z])(?:infinity|oo)(?![A-Za-z])", r"\\infty "),
    (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
    (r"\\[dt]binom(?![A-Za-z])", r"\\binom"),
    (r"\\(?:leqslant|leq|le)(?![A-Za-z])|<=", r"\\le "),
    (r"\\(?:geqslant|geq|ge)(?![A-Za-z])|>=", r"\\ge "),
    (r"\\lt(?![A-Za-z])", "<"),
    (r"\\gt(?![A-Za-z])", ">"),
    (r"\\neq?(?![A-Za-z])|!=", r"\\ne "),
    (r"\\(?:simeq|doteq|approxeq)(?![A-Za-z])", r"\\approx "),
    (r"\\(?:varnothing|O)(?![A-Za-z])", r"\\emptyset "),
    (r"\\[lr]?vert(?![A-Za-z])", "|"),
    (r"\\lbrace(?![A-Za-z])", r"\\{"),
    (r"\\rbrace(?![A-Za-z])", r"\\}"),
    (r"\\(?:lbrack|lgroup)(?![A-Za-z])", "["),
    (r"\\(?:rbrack|rgroup)(?![A-Za-z])", "]"),
    (r"\\[cl]?dots(?![A-Za-z])|\.\.\.+", r"\\ldots "),  # 0.333... is not 0.333
    (r"\*\*", "^"),
    (r"\\(?:times|ast|cdotp?)(?![A-Za-z])|\*", r"\\cdot "),
    (r"\\div(?![A-Za-z])", "/"),
    (r"\\lg(?![A-Za-z])", r"\\log "),
    (r"\\degrees?(?![A-Za-z])|\^ *(\{ *)?\\circ(?![A-Za-z])(?(1) *\})", r"^{\\circ}"),
    (r"(\^|_) *(\d+|-\d+|\\[A-Za-z]+|[A-Za-z])", r"\1{\2}"),
    (r"(\^|_) *\(([^()]*)\)", r"\1{\2}"),
    (r"\\sqrt *(\d+|[A-Za-z]|\\[A-Za-z]+)", r"\\sqrt{\1}"),
    (r"\\sqrt *\(([^()]*)\)", r"\\sqrt{\1}"),
    (r"\\frac *(\d|[A-Za-z]|\\[A-Za-z]+)", r"\\frac{\1}"),
    (r"(\\frac *" + _ARGUMENT + r") *(\d|[A-Za-z]|\\[A-Za-z]+)", r"\1{\2}"),
    (r"\\(frac|sqrt|text|binom) +(?=[{\[])", r"\\\1"),
    (r"(" + _ARGUMENT + r") +(?=\{)", r"\1"),
    (r",? *\\text\{ *(?:and|or) *\}|,? +(?:and|or)(?= )(?![^{]*\})", ","),
    (r"(?<=\)) *(?:and|or) *(?=\()", ","),
    (r"(?:\s|(?<!\\)[.;,]|\\+(?=\s*\Z))+\Z", ""),
)]  # fmt: skip

_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|.", re.S)
_OPEN = frozenset(("(", "[", "{", "\\{", "\\langle", "\\begin"))
_CLOSE = frozenset((")", "]", "}", "\\}", "\\rangle", "\\end"))
_SPACE = re.compile(r"(\\text\{[^{}]*\}|\\[A-Za-z]+ (?=[A-Za-z])|\d (?=\d))|\s+")


def clean(text: str) -> str:
    """The same answer without sizes, spacing, dollar signs and a final period, in one spelling.

    ``\\dfrac12`` is ``\\frac{1}{2}``, ``x^2`` is ``x^{2}``, ``\\times`` and ``*`` are ``\\cdot``,
    ``\\mathrm`` and its kin are ``\\text``, Greek letters and signs of Unicode are commands.
    """
    for pattern, by in _SMALL:  # before NFKC, which makes "x²" into "x2"
        text = pattern.sub(by, text)
    text = unicodedata.normalize("NFKC", text.translate(_CHARACTERS)).translate(_CHARACTERS)
    for pattern, by in _RULES:
        text = pattern.sub(by, text)
    text = " ".join(text.split())
    while text[:1] == "{" and text[-1:] == "}" and is_paired(text[1:-1]):  # only groups
        text = text[1:-1].strip()
    return text


def squeeze(text: str) -> str:
    """Without the spaces that mean nothing: those between digits or after a command stay."""
    return _SPACE.sub(lambda m: m[1] or "", text.strip())


def split_top(text: str, mark: str) -> list[str]:
    """The text cut at every mark (one token) outside all brackets; whole where these do not pair.

    An interval may open with one kind and close with another, so kinds are not told apart, save
    that "]" and "}" must not close more than was opened.
    """
    depth, pieces = 0, [""]
    for token in _TOKEN.findall(text):
        depth += (token in _OPEN) - (token in _CLOSE)
        if depth < 0:
            return [text]
        if token == mark and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += token
    return pieces if depth == 0 else [text]


def is_paired(text: str) -> bool:
    """Whether every bracket has its partner, so that the text is one whole inside others."""
    return split_top(text + "\0", "\0") != [text + "\0"]
