"""What a mathematician who grades MATH would call the same answer, decided before it was run."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from btrans_eval.answers.equivalence import Classes, Judge, classes
from btrans_eval.answers.normalize import normalize
from btrans_eval.answers.workers import Pool

# One pair a line, LaTeX unless said otherwise.
SAME = r"""
1/2 ≡ 0.5
1/2 ≡ \frac{1}{2}
\frac12 ≡ 0.50
\dfrac{1}{2} ≡ .5
\tfrac12 ≡ \frac{2}{4}
\frac 34 ≡ 0.75
\frac9{19} ≡ 9/19
-\frac{1}{2} ≡ \frac{-1}{2}
\frac{1}{-2} ≡ -0.5
-3./2 ≡ -1.5
+2 ≡ 2
5.0 ≡ 5
5. ≡ 5
$5$ ≡ 5
\boxed{5} ≡ 5
(5) ≡ 5
1\frac{4}{5} ≡ \frac95
1 4/5 ≡ 1.8
137 \frac{1}{2} ≡ 137.5
3½ ≡ 3.5
10,\!080 ≡ 10080
11,\! 111,\! 111,\! 100 ≡ 11111111100
58,500 ≡ 58500
1{,}000 ≡ 1000
10\,080 ≡ 10080
3\times 10^8 ≡ 300000000
4.5e33 ≡ 4.5 \times 10^{33}
1e-5 ≡ 0.00001
0.\overline{3} ≡ \frac13
0.1\overline{6} ≡ 1/6
2^{10} ≡ 1024
2^10 ≡ 1024
5! ≡ 120
\binom{5}{2} ≡ 10
2(3) ≡ 6
(2)(3)(4) ≡ 24
2\cdot\frac{5}{3} ≡ \frac{10}{3}
2 + 3 = 5 ≡ 5
2\sqrt{3} ≡ \sqrt{12}
\frac{\sqrt3}{3} ≡ \frac{1}{\sqrt{3}}
\frac{\sqrt{2}}{2} ≡ \frac1{\sqrt 2}
11\sqrt2 ≡ 11 \sqrt{2}
√2 ≡ \sqrt{2}
sqrt(2) ≡ \sqrt{2}
\sqrt[3]{8} ≡ 2
2^{1/2} ≡ \sqrt{2}
\sqrt{8}+\sqrt{2} ≡ 3\sqrt{2}
\sqrt{3+2\sqrt{2}} ≡ 1+\sqrt{2}
288 \pi ≡ 288π
\frac{\pi}{2} ≡ \pi/2
0.5\pi ≡ \frac{1}{2}\pi
18+2\pi ≡ 2(9+\pi)
\frac{20000}{\pi} ≡ 20000/\pi
(x+1)^2 ≡ x^2+2x+1
(a+5)(b+2) ≡ ab+2a+5b+10
p - q ≡ -q+p
15x - 80 ≡ 5(3x-16)
\frac{11+9a}{20} ≡ \frac{9a}{20}+\frac{11}{20}
x^5 - x^4 + x^3 - x^2 + x - 1 ≡ (x-1)(x^4+x^2+1)
x^{-1} ≡ \frac{1}{x}
\frac{1}{4p^2} ≡ \frac{p^{-2}}{4}
x² ≡ x^2
-\frac{1}{2} X^{-\frac{1}{2}} ≡ -\frac{1}{2\sqrt{X}}
\frac{a M^{1 / 3}}{G M^{2 / 3}+b} ≡ \frac{aM^{1/3}}{b+GM^{2/3}}
\left[P_{0}^{2 / 5}-\frac{2}{5} g z\right]^{5 / 2} ≡ (P_0^{2/5}-0.4gz)^{5/2}
m_{p} c^{2}\left(\gamma^{2}-1\right) ≡ m_p c^2 (\gamma-1)(\gamma+1)
\frac{2}{3} \frac{C}{S} ≡ \frac{2C}{3S}
\cot x ≡ \frac{\cos x}{\sin x}
2\sin x\cos x ≡ \sin 2x
\sin x\cdot\cos x ≡ \frac{\sin 2x}{2}
\sin{x}\sin{y} ≡ \sin y \cdot \sin x
\sin\pi/4 ≡ \sin\frac{\pi}{4}
\frac{-\sin (3 t)}{5}+ C_{1} \sin (2 t) ≡ C_1\sin 2t-\frac15\sin 3t
(t + \frac{1}{2} \sin{2t}) u(t) ≡ u(t)(t+\frac{\sin(2t)}{2})
\sin^2 x+\cos^2 x ≡ 1
\sin(30^\circ) ≡ \frac12
\log_2 8 ≡ 3
\ln e^2 ≡ 2
e^{x}e^{y} ≡ e^{x+y}
np.arcsin(10/13) ≡ \arcsin\frac{10}{13}
6 - 5i ≡ -5i+6
(1+i)^2 ≡ 2i
\frac{1}{i} ≡ -i
1+\sqrt{3} i ≡ 1+i\sqrt3
e^{i\pi} ≡ -1
\frac{e^{2 i t}}{(2+2 i)} ≡ \frac{(1-i)e^{2it}}{4}
\ln 2 + i\pi / 3 ≡ \ln 2+\frac{\pi i}{3}
\{1,2\} ≡ \{2,1\}
1,-2 ≡ -2, 1
\{1,2\} ≡ 2, 1
1 \text{ and } -2 ≡ -2, 1
\left\{\sqrt{12}, 1\right\} ≡ \{1, 2\sqrt{3}\}
1 \pm \sqrt{19} ≡ 1-\sqrt{19}, 1+\sqrt{19}
x=1 \text{ or } x=2 ≡ 1, 2
x=1, y=2 ≡ y=2, x=1
x=1, y=2 ≡ 1, 2
\{x=1, y=2\} ≡ x=1, y=2
\{x>1, y<2\} ≡ y<2, x>1
\left( 3, \frac{\pi}{2} \right) ≡ (3,\pi/2)
\left( \frac{3}{2}, -13 \right) ≡ (1.5,-13)
(\sqrt{12}, (x+1)^2) ≡ (2\sqrt3, x^2+2x+1)
(-\infty, 0] ≡ \left(-\infty,0\right]
(2,\infty) ≡ (2,+\infty)
x \in [-2,7] ≡ [-2,7]
-2\le x\leq 7 ≡ [-2,7]
x>2 ≡ (2,\infty)
2<x ≡ x > 2
4 \ge x > 3 ≡ (3,4]
(0,9) \cup (9,36) ≡ (9,36)\cup(0,9)
(-\infty,0)\cup(0,\infty) ≡ \mathbb{R}\setminus\{0\}
\mathbb{R} ≡ (-\infty,\infty)
\begin{pmatrix} -1/3 \\ 2/3 \end{pmatrix} ≡ \begin{bmatrix} -\frac13 \\ \frac23 \end{bmatrix}
\frac{1}{2}\begin{pmatrix}2\\4\end{pmatrix} ≡ \begin{pmatrix}1\\2\end{pmatrix}
x=5 ≡ 5
x=5 ≡ x = 5.0
5=x ≡ x=5
x = 2+3 = 5 ≡ 5
y = 2x + 3 ≡ y=3+2x
y = 2x + 3 ≡ 2x - y + 3 = 0
y = 2x + 3 ≡ 2x+3
f(x)=x^2 ≡ x^2
10x - 14y + 22z + 8 = 0 ≡ 5x - 7y + 11z + 4 = 0
5x - 7y + 11z + 4 = 0 ≡ -5x+7y-11z-4=0
SRAC=LRAC ≡ LRAC=SRAC
X_{d}=125-1.25 P ≡ X_d = 125 - \frac{5}{4}P
\frac{d x}{d t}=k x-a ≡ \frac{dx}{dt}=-a+kx
\text{Area} = 12 ≡ 12
\sqrt{29} \approx 5.39 ≡ \sqrt{29}
5 cm ≡ 5\text{ cm}
5\text{ cm} ≡ 5
5\text{ m} ≡ 5 m
864 \mbox{ inches}^2 ≡ 864
864 \mbox{ inches}^2 ≡ 864\text{ square inches}
15\mbox{ cm}^2 ≡ 15 \mathrm{~cm}^{2}
\$18.90 ≡ 18.9
\$32,\!348 ≡ 32348
\$36 ≡ 36\text{ dollars}
5.4 \text{ cents} ≡ 5.4
90^\circ ≡ 90
90^\circ ≡ 90\text{ degrees}
90° ≡ 90^{\circ}
\frac{270}7\text{ degrees} ≡ \frac{270}{7}^\circ
12\text{ m/s} ≡ 12\text{ meters per second}
3 hours ≡ 3\text{ hr}
3\sqrt{13}\text{ units} ≡ 3\sqrt{13}
5\text{ million} ≡ 5000000
50\% ≡ 50\text{ percent}
50\% ≡ 50.0%
\text{(C)} ≡ C
\text{C} ≡ (C)
\text{Evelyn} ≡ Evelyn
\textbf{even} ≡ \text{Even}
\text{No solution} ≡ no solution
52_8 ≡ 52_{8}
4210_{5} ≡ 4210_5
\left|x\right| ≡ |x|
"""
APART = r"""
1/3 ≡ 0.333
1/3 ≡ 0.3333333333
3.14 ≡ \pi
\frac{22}{7} ≡ \pi
3.14159265358979 ≡ \pi
1.41421356 ≡ \sqrt{2}
2 ≡ -2
12 ≡ 21
0.5 ≡ 5
5 ≡ 5.0001
1e-8 ≡ 2e-8
1e-11 ≡ 0
10^{5} ≡ 10^{-5}
10^{-20}\pi ≡ 2\cdot 10^{-20}\pi
10^{-20}x ≡ 2\cdot 10^{-20}x
1,234 ≡ 1, 234
1\frac{4}{5} ≡ \frac{4}{5}
1 4/5 ≡ 14/5
2\frac{1}{3} ≡ 2\cdot\frac{1}{3}
2(3) ≡ 5
(2)(3) ≡ 5
2\cdot(\frac{3}{2}) ≡ \frac72
1e-5 ≡ e-5
5! ≡ 5
2^{10} ≡ 20
52_8 ≡ 52
52_8 ≡ 42
101_2 ≡ 101
101_2 ≡ 101_3
50\% ≡ 50
50\% ≡ 0.5
50 ≡ 0.5
50\% ≡ \frac12
0.5\% ≡ 50\%
(50\%, 1) ≡ (0.5, 1)
x=50\% ≡ x=0.5
x=5 ≡ y=5
x=5 ≡ x=6
a=2 ≡ A=2
x=\sqrt{2} ≡ y=\sqrt{2}
x=1, y=2 ≡ x=2, y=1
y=2x+3 ≡ x=2y+3
y = 2x ≡ y=-2x
y = 2x + 3 ≡ 2x + y + 3 = 0
f(x)=x+1 ≡ g(x)=x+1
x^2=25 ≡ 25
x^2=4 ≡ x=2
2x+z=1 ≡ 1
x>2 ≡ 2
x>2 ≡ x\ge 2
x>2 ≡ x<2
x>2 ≡ y>2
x \ne 3 ≡ 3
(1,2) ≡ \{1,2\}
(1,2) ≡ [1,2]
(1,2) ≡ 1,2
(1,2) ≡ (2,1)
(1,2) ≡ (1,2,3)
(1,2) ≡ 12
1,2 ≡ 12
\{1,2\} ≡ \{1,3\}
\{1,2\} ≡ \{1,2,3\}
\{0\} ≡ \emptyset
\emptyset ≡ 0
(3,4] ≡ [3,4)
(3,4] ≡ (3,4)
(2,\infty) ≡ (-\infty,2)
(100,200) ≡ 100200
(0,9) \cup (9,36) ≡ (0,36)
(0,9) \cup (9,36) ≡ (0,9) \cup (9,35)
1 \pm \sqrt{19} ≡ 1+\sqrt{19}
1 \pm 2 ≡ 2 \pm 1
\infty ≡ -\infty
\begin{pmatrix}1\\2\end{pmatrix} ≡ \begin{pmatrix}1&2\end{pmatrix}
\begin{pmatrix}1&2\\3&4\end{pmatrix} ≡ \begin{pmatrix}1&3\\2&4\end{pmatrix}
\begin{pmatrix}1&2\\3&4\end{pmatrix} ≡ \begin{vmatrix}1&2\\3&4\end{vmatrix}
M ≡ m
\Delta ≡ \delta
x_1 ≡ x_2
x ≡ y
2k ≡ 2n
C_{1} e^{t} ≡ c_1 e^t
\lambda_{\text{red}} ≡ \lambda_{\text{blue}}
f(2)+1 ≡ 2f+1
x'+1 ≡ x+1
A^T ≡ A
A^{-1} ≡ A
\frac{dM}{dt} ≡ \frac{M}{t}
\log 2 ≡ \ln 2
\sin x ≡ \cos x
\sin x\cdot\cos x ≡ \sin(x\cos x)
\ln 2/2 ≡ 0
x=x+1 ≡ y=y+2
\sin^{-1} x ≡ \frac{1}{\sin x}
6-5i ≡ 6+5i
i ≡ 1
x^2y ≡ x^2+y
x^{10} ≡ 10x
\sqrt{x^2} ≡ x
(a+b)^2 ≡ a^2+b^2
\frac{a}{b+c} ≡ \frac{a}{b}+c
\sqrt{a+b} ≡ \sqrt{a}+\sqrt{b}
3\sqrt{13} ≡ 13\sqrt{3}
5 cm ≡ 5 m
5\text{ cm} ≡ 5\text{ m}
5\text{ cm} ≡ 5\text{ cm}^2
5\text{ cm} ≡ 6\text{ cm}
3\text{ in}^2 ≡ 3\text{ in}^3
\$5 ≡ 5\text{ cents}
90^\circ ≡ 90\text{ radians}
20^\circ\text{C} ≡ 20^\circ\text{F}
3\text{ hours} ≡ 3\text{ minutes}
12\text{ m/s} ≡ 12\text{ m}
5\text{ apples} ≡ 5\text{ oranges}
5\text{ million} ≡ 5
6 \text{ or more} ≡ 6
\text{even} ≡ \text{odd}
\text{Evelyn} ≡ \text{Navin}
yes ≡ no
\text{no} ≡ \text{on}
\text{dog} ≡ \text{god}
\text{east} ≡ \text{west}
C ≡ D
\text{(A)} ≡ \text{(B)}
\text{no solution} ≡ 0
3:1 ≡ 3
"""


# Equal to a mathematician; missed. A missed pair is preferred to a rule that might merge falsely.
MISSED = r"""
2x = 10 ≡ x = 5
\ln(ab) ≡ \ln a+\ln b
(1,2) ≡ x=1, y=2
\langle 1,2\rangle ≡ (1,2)
\begin{pmatrix}1\\2\end{pmatrix} ≡ (1,2)
1\text{ m} ≡ 100\text{ cm}
90^\circ ≡ \frac{\pi}{2}
e^x=y ≡ x=\ln y
5\text{ ways} ≡ 5\text{ arrangements}
3 \pmod 7 ≡ 3
"""


def pairs(table: str) -> list[tuple[str, str]]:
    found = [tuple(line.split(" ≡ ")) for line in table.strip().splitlines()]
    return [(a, b) for a, b in found]


@pytest.fixture(scope="module")
def judge():
    with Judge() as one:
        yield one


@pytest.mark.parametrize("a, b", pairs(SAME))
def test_same(judge, a, b):
    assert judge.equal(a, b, "latex") is True


@pytest.mark.parametrize("a, b", pairs(APART))
def test_apart(judge, a, b):
    assert judge.equal(a, b, "latex") is False


@pytest.mark.parametrize("a, b", pairs(MISSED))
def test_what_is_missed_is_known(judge, a, b):
    assert judge.equal(a, b, "latex") is False


@pytest.mark.parametrize("table", [SAME, APART])
def test_equality_is_symmetric_and_survives_normalization(judge, table):
    answers = pairs(table)
    there = judge.equal_pairs([(a, b, "latex") for a, b in answers])
    fresh = Judge(pool=judge.pool)
    assert fresh.equal_pairs([(b, a, "latex") for a, b in answers]) == there
    again = [(normalize(a, "latex"), normalize(b, "latex"), "latex") for a, b in answers]
    assert fresh.equal_pairs(again) == there


@pytest.mark.parametrize(
    "kind, a, b, same",
    [
        ("letter", "C", "C", True),
        ("letter", "C", "D", False),
        ("integer", "70", "70", True),
        ("number", "0.5", "1/2", False),  # extraction writes a number in one form only
        ("text", "Foo  Bar", "foo bar", True),
        ("text", "x=5", "5", False),
    ],
)
def test_other_kinds_are_compared_as_texts(kind, a, b, same):
    judge = Judge()
    assert judge.equal(a, b, kind) is same
    assert not judge.pool.workers


def test_structure_alone_needs_no_worker():
    judge = Judge()
    answers = ["1/2", "0.3", "(1,2)", "\\{1,2\\}", "\\text{even}", "5\\text{ cm}", "x=6", "50\\%"]
    assert not any(judge.equal_pairs([(a, b, "latex") for a, b in combinations(answers, 2)]))
    assert not judge.pool.workers


def test_verdicts_are_kept_and_used():
    kept: dict[tuple[str, str, str], bool | None] = {}
    with Judge(kept) as judge:
        assert judge.equal("\\sqrt{12}", "2\\sqrt{3}", "latex")
    assert kept == {("latex", "2\\sqrt{3}", "\\sqrt{12}"): True}
    kept["latex", "2\\sqrt{3}", "\\sqrt{12}"] = False
    again = Judge(kept)
    assert again.equal("2\\sqrt3", "\\sqrt{12}", "latex") is False
    assert not again.pool.workers


def test_an_undecided_pair_is_unequal_counted_and_shown():
    tower, other = "9^{9^{9^9}}", "9^{9^{9^8}}"
    with Judge(pool=Pool(cpu_seconds=0.5)) as judge:
        found = classes([tower, other, "1/2", tower, "0.5"], "latex", judge)
        assert found.labels == [0, 1, 2, 0, 2]
        assert found.undecided == judge.undecided >= 1
        assert all(reason == "timed out" for _, _, reason in judge.examples)
        texts = {normalize(tower, "latex"), normalize(other, "latex")}
        assert texts in [{a, b} for a, b, _ in judge.examples]
        before = judge.undecided
        assert judge.equal(tower, other, "latex") is None
        assert judge.undecided == before  # the same pair counts once


def test_classes_of_answers(judge):
    answers = ["\\frac12", None, "0.5", "2", "1/2", " ", "x = 2", None]
    assert classes(answers, "latex", judge) == Classes([0, None, 0, 1, 0, None, 1, None], 0, 0)
    assert classes([], "latex", judge) == Classes([], 0, 0)
    assert classes([None, None], "latex", judge) == Classes([None, None], 0, 0)
    assert classes(["C"], "letter", judge) == Classes([0], 0, 0)


@pytest.mark.parametrize(
    "answers, labels",
    [
        (["x=5", "5", "y=5"], [0, 0, 1]),  # sorted: 5, x=5, y=5; the bare value joins x first
        (["y=5", "x=5", "5"], [0, 1, 1]),
        (["5\\text{ m}", "5", "5\\text{ cm}"], [0, 1, 1]),
    ],
)
def test_what_is_no_clique_is_split(judge, answers, labels):
    assert classes(answers, "latex", judge) == Classes(labels, 1, 0)


class Fake:
    """An equality that is symmetric and nothing else."""

    def __init__(self, equal):
        self.equal = {frozenset(pair) for pair in equal}

    def equal_pairs(self, pairs):
        return [frozenset((a, b)) in self.equal for a, b, _ in pairs]


ANSWERS = st.lists(st.sampled_from([None, *"abcdefg"]), max_size=12)
EQUAL = st.lists(st.sampled_from(list(combinations("abcdefg", 2))), unique=True)


def partition(answers, found):
    """Which answers share a class."""
    return {frozenset(a for a, at in zip(answers, found.labels, strict=True) if at == label)
            for label in found.labels if label is not None}  # fmt: skip


@given(ANSWERS, EQUAL, st.randoms())
def test_the_order_of_the_responses_does_not_matter(answers, equal, random):
    shuffled = random.sample(answers, len(answers))
    one, other = (classes(each, "text", Fake(equal)) for each in (answers, shuffled))
    assert partition(answers, one) == partition(shuffled, other)
    assert one.splits == other.splits


@given(ANSWERS, EQUAL)
def test_classes_are_numbered_cliques(answers, equal):
    fake = Fake(equal)
    found = classes(answers, "text", fake)
    assert [label is None for label in found.labels] == [answer is None for answer in answers]
    seen = [label for label in found.labels if label is not None]
    assert list(dict.fromkeys(seen)) == list(range(len(set(seen))))  # in order of appearance
    for group in partition(answers, found):
        assert all(frozenset(pair) in fake.equal for pair in combinations(group, 2))


@given(st.lists(st.sampled_from("abcdefg"), max_size=10), st.integers(0, 3))
def test_an_equality_that_is_transitive_is_never_split(answers, modulus):
    of = {letter: ord(letter) % (modulus + 1) for letter in "abcdefg"}
    fake = Fake(p for p in combinations("abcdefg", 2) if of[p[0]] == of[p[1]])
    found = classes(answers, "text", fake)
    assert found.splits == 0
    for (a, i), (b, j) in combinations(zip(answers, found.labels, strict=True), 2):
        assert (i == j) == (of[a] == of[b])
