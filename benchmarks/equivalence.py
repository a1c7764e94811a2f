"""Our equality of answers beside math_verify alone, on pairs whose verdict follows from a rule.

    python benchmarks/equivalence.py           # about a minute on one processor

Gold answers of MATH-500 and Minerva are rewritten: equal ones into another form of the same
answer, unequal ones into a near miss. 100 pairs of each, taken in turn from the rules below, so
that no rule fills the sample. math_verify alone means parse and verify in both directions with
its defaults, the answer in dollar signs. Percent is left out: there its verdict is a convention.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain, zip_longest
from pathlib import Path

from math_verify import parse, verify

from btrans_eval.answers.equivalence import Judge

HUB = Path(__file__).parents[2] / "shared" / "hub"
FILES = "HuggingFaceH4/MATH-500/test.jsonl", "math-ai/minervamath/test.jsonl"

INTEGER = r"(-?\d+)"
FRACTION = r"(-?)\\d?frac\{(\d+)\}\{(\d+)\}"
DECIMAL = r"(\d*)\.(\d+)"
SCIENTIFIC = r"(\d(?:\.\d+)?)e(-?\d+)"
ROOT = r"(\d+) ?\\sqrt\{?(\d+)\}?"
PI = r"(\d+) ?\\pi"
PAIR = r"\(([^(),]+),([^(),]+)\)"
LIST = r"(?!\d+,\d{3}$)(-?\d+), ?(-?\d+)(?:, ?(-?\d+))?"
DEGREES = r"(\d+)\^\\circ"
DOLLARS = r"\\\$([\d.]+)"
WORD = r"\\text\{(\w+)\}"
BASED = r"(\d+)_\{?(\d)\}?"
LINE = r"([a-z]) = (-?\d*x(?: \+ \d+)?)"
SUM = r"(?=.*[a-zA-Z\\])(?!.*(?:=|\\text|,|\\cup|\\pm|np\.|I\(0\)|\\circ|\$))(.+ ?[-+] ?.+)"
VECTOR = r"\\begin\{pmatrix\} ([^&]+?) \\\\ (.+) \\end\{pmatrix\}"

Rule = tuple[str, str | Callable[[re.Match[str]], str]]
EQUAL: list[Rule] = [
    (INTEGER, r"x=\1"),
    (INTEGER, r"\1.0"),
    (INTEGER, lambda m: f"\\frac{{{2 * int(m[1])}}}{{2}}"),
    (INTEGER, lambda m: f"\\sqrt{{{int(m[1]) ** 2}}}" if int(m[1]) >= 0 else f"({m[1]})"),
    (FRACTION, r"\1\2/\3"),
    (FRACTION, lambda m: f"\\dfrac{{{m[1]}{3 * int(m[2])}}}{{{3 * int(m[3])}}}"),
    (DECIMAL, lambda m: f"\\frac{{{int(m[1] + m[2])}}}{{{10 ** len(m[2])}}}"),
    (SCIENTIFIC, r"\1 \\times 10^{\2}"),
    (ROOT, lambda m: f"\\sqrt{{{int(m[1]) ** 2 * int(m[2])}}}"),
    (PI, lambda m: f"\\frac{{{2 * int(m[1])}\\pi}}{{2}}"),
    (PAIR, r"\\left(\1, \2\\right)"),
    (PAIR, r"(\\frac{2(\1)}{2}, \2)"),
    (LIST, lambda m: ", ".join(reversed([g for g in m.groups() if g]))),
    (LIST, lambda m: "\\{" + ", ".join(g for g in m.groups() if g) + "\\}"),
    (DEGREES, r"\1"),
    (DEGREES, r"\1 \\text{ degrees}"),
    (DOLLARS, r"\1"),
    (DOLLARS, r"\1 \\text{ dollars}"),
    (WORD, r"\1"),
    (BASED, r"\1_{\2}"),
    (LINE, r"\2 = \1"),
    (SUM, r"\\frac{2(\1)}{2}"),
    (VECTOR, r"\\begin{bmatrix}\1\\\\\2\\end{bmatrix}"),
]
UNEQUAL: list[Rule] = [
    (INTEGER, lambda m: str(int(m[1]) + 1)),
    (INTEGER, lambda m: str(-int(m[1]) or 1)),
    (INTEGER, r"\1.001"),
    (FRACTION, lambda m: f"{m[1]}\\frac{{{m[2]}}}{{{int(m[3]) + 1}}}"),
    (FRACTION, lambda m: f"{m[1]}{int(m[2]) / int(m[3]):.7f}1"),
    (DECIMAL, r"\1.\g<2>01"),
    (SCIENTIFIC, lambda m: f"{m[1]}e{int(m[2]) + 1}"),
    (ROOT, lambda m: f"{m[1]}\\sqrt{{{int(m[2]) + 1}}}"),
    (ROOT, lambda m: f"{int(m[1]) * int(m[2]) ** 0.5:.7f}"),
    (PI, lambda m: f"{int(m[1]) * 3.141592653589793:.7f}"),
    (PAIR, r"[\1,\2]"),
    (PAIR, r"\\{\1,\2\\}"),
    (PAIR, r"(\1+1,\2)"),
    (LIST, lambda m: ", ".join([*(g for g in m.groups() if g), "99"])),
    (LIST, lambda m: "(" + ", ".join(g for g in m.groups() if g) + ")"),
    (DEGREES, r"\1 \\text{ radians}"),
    (DEGREES, lambda m: f"{int(m[1]) + 1}^\\circ"),
    (DOLLARS, r"\1 \\text{ cents}"),
    (WORD, r"\\text{not \1}"),
    (BASED, r"\1"),
    (BASED, lambda m: f"{m[1]}_{int(m[2]) + 1}"),
    (LINE, r"\1 = \2 + 1"),
    (SUM, r"\1 + 1"),
    (SUM, lambda m: m[1].swapcase() if not re.search(r"\\|[ie]", m[1]) else f"-({m[1]})"),
    (VECTOR, r"\\begin{pmatrix} \2 \\\\ \1 \\end{pmatrix}"),
    (VECTOR, r"\\begin{pmatrix} \1 & \2 \\end{pmatrix}"),
]


def golds() -> list[str]:
    """The different gold answers, in the order of the files."""
    lines = chain.from_iterable((HUB / name).read_text("utf-8").splitlines() for name in FILES)
    return list(dict.fromkeys(json.loads(line)["answer"].strip() for line in lines))


def rewritten(rule: Rule) -> Iterator[tuple[str, str]]:
    """Every gold the rule applies to, with its rewritten form."""
    pattern, by = rule
    for gold in golds():
        if m := re.fullmatch(pattern, gold):
            other = by(m) if callable(by) else m.expand(by)
            if other != gold:
                yield gold, other


def sample(rules: list[Rule], count: int) -> list[tuple[str, str]]:
    """The first pairs of each rule in turn."""
    rounds = zip_longest(*(rewritten(rule) for rule in rules))
    found = dict.fromkeys(pair for pair in chain.from_iterable(rounds) if pair)
    return list(found)[:count]


def alone(a: str, b: str) -> bool:
    """math_verify's verdict in both directions."""
    x, y = parse(f"${a}$"), parse(f"${b}$")
    return bool(verify(x, y) and verify(y, x))


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--pairs", type=int, default=200)
    half = options.parse_args().pairs // 2
    pairs = [(a, b, True) for a, b in sample(EQUAL, half)]
    pairs += [(a, b, False) for a, b in sample(UNEQUAL, half)]
    with Judge() as judge:
        began = time.perf_counter()
        judge.equal("\\sqrt{2}", "2^{1/2}", "latex")
        first = time.perf_counter()
        ours = judge.equal_pairs([(a, b, "latex") for a, b, _ in pairs])
        done = time.perf_counter()
    theirs = [alone(a, b) for a, b, _ in pairs]
    last = time.perf_counter()
    for name, verdicts in (("ours", ours), ("math_verify alone", theirs)):
        wrong = [(a, b, right) for (a, b, right), said in zip(pairs, verdicts, strict=True)
                 if bool(said) is not right]  # fmt: skip
        counts = Counter(right for _, _, right in wrong)
        print(f"{name}: {len(pairs) - len(wrong)} of {len(pairs)} right, {counts[False]} false "
              f"merges of {half}, {counts[True]} missed merges of {half}")  # fmt: skip
        for a, b, right in wrong:
            print(f"    {'missed' if right else 'false'}: {a}   |   {b}")
    print(f"undecided: {judge.undecided}. Start and first pair {first - began:.2f} s; per pair "
          f"ours {(done - first) / len(pairs) * 1e3:.1f} ms, math_verify alone "
          f"{(last - done) / len(pairs) * 1e3:.1f} ms")  # fmt: skip


if __name__ == "__main__":
    main()
