"""Every gold answer of three benchmarks, altered in value and rewritten in form.

What is altered must be another answer, always; what is rewritten the same one, but for 1 in 1,000.
The rules are of text and know nothing of how answers are compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from real import HUB, needs_hub

from btrans_eval.answers.equivalence import Judge

FILES = {
    "HuggingFaceH4/MATH-500/test.jsonl": lambda row: row["answer"],
    "math-ai/minervamath/test.jsonl": lambda row: row["answer"],
    "openai/gsm8k/main/test.jsonl": lambda row: row["answer"].rpartition("####")[2].strip(),
}
MARKUP = re.compile(r"\\[A-Za-z]+|[{}]")


def golds(path: Path, read) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return sorted({str(read(json.loads(line))) for line in lines if line.strip()})


def altered(gold: str) -> Iterator[str]:
    """The gold with another value: a digit, a sign, a side, an exponent, a bracket."""
    digits = [m.start() for m in re.finditer(r"\d", gold)]
    for place in {*digits[:2], *digits[-1:]}:
        yield f"{gold[:place]}{(int(gold[place]) + 1) % 10}{gold[place + 1 :]}"
    if re.search(r"[1-9]|\\pi|[a-z]", MARKUP.sub("", gold)) and "\\pm" not in gold:
        if re.fullmatch(r"-?[\d.,]+(?:\\pi)?|-?\\[dt]?frac\{\d+\}\{\d+\}", gold):
            yield gold[1:] if gold.startswith("-") else f"-{gold}"
    if m := re.fullmatch(r"(.*\\[dt]?frac)\{(\d+)\}\{(\d+)\}", gold):
        if m[2] != m[3]:
            yield f"{m[1]}{{{m[3]}}}{{{m[2]}}}"
    if (m := re.fullmatch(r"(\\left\s*)?\(([^(),]+),([^(),]+?)(\\right\s*)?\)", gold)) and (
        m[2].strip() != m[3].strip()
    ):
        yield f"({m[3]},{m[2]})"
    if m := re.search(r"\^\{?(\d)\}?", gold):
        yield f"{gold[: m.start()]}^{{{int(m[1]) + 1}}}{gold[m.end() :]}"
    if re.search(r"[a-z]\^?", MARKUP.sub("", gold)) and re.search(r"\d [-+] ", gold):
        yield re.sub(r"(?<=\d) ([-+]) ", lambda m: " + " if m[1] == "-" else " - ", gold, count=1)


def rewritten(gold: str) -> Iterator[str]:
    """The gold in another spelling that renders alike, or with blanks, sides or list in another
    order."""
    yield f" {gold} "
    yield f"${gold}$" if "$" not in gold else gold
    yield f"\\boxed{{{gold}}}"
    yield re.sub(r"\\frac", r"\\dfrac", gold)
    yield re.sub(r"\\[dt]frac", r"\\frac", gold)
    yield re.sub(r"(?<!\\left)(?<!\\)\((?=[^()]*\)\Z)(.*)\)\Z", r"\\left(\1\\right)", gold)
    yield re.sub(r"\\(?:left|right)(?=[()\[\]|])", "", gold)
    yield re.sub(r"\^(\d)", r"^{\1}", gold)
    yield re.sub(r"\\sqrt\{(\d)\}", r"\\sqrt\1", gold)
    if "\\text" not in gold and "\\mbox" not in gold:
        yield (
            re.sub(r" *([-+=,]) *", r" \1 ", gold)
            if not re.search(r"\d,(?:\\! ?)?\d{3}", gold)
            else gold
        )
    if (m := re.fullmatch(r"([^=<>]*[A-Za-z^][^=<>]*)=([^=<>]+)", gold)) and "\\text" not in gold:
        yield f"{m[2]}={m[1]}"
    if re.fullmatch(r"-?\d+(?:, ?-?\d{1,2}(?!\d))+", gold):
        yield ",".join(part.strip() for part in gold.split(","))
        yield ", ".join(reversed([part.strip() for part in gold.split(",")]))
    if re.fullmatch(r"\\text\{[A-Za-z ]+\}", gold):
        yield gold.replace("\\text", "\\mathrm") if " " not in gold else gold
        yield gold.replace("{", "{ ")
    if re.fullmatch(r"[^\\]*\d\\?%", gold):
        yield re.sub(r"\\?%", "", gold)


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge() as one:
        yield one


@needs_hub
@pytest.mark.parametrize("name", FILES)
def test_another_value_is_another_answer(judge: Judge, name: str) -> None:
    pairs = [
        (gold, other, "latex")
        for gold in golds(HUB / name, FILES[name])
        for other in altered(gold)
        if other != gold
    ]
    verdicts = judge.equal_pairs(pairs)
    assert len(pairs) > 400
    assert [pair[:2] for pair, same in zip(pairs, verdicts, strict=True) if same] == []


@needs_hub
@pytest.mark.parametrize("name", FILES)
def test_another_spelling_is_the_same_answer(judge: Judge, name: str) -> None:
    pairs = [
        (gold, other, "latex")
        for gold in golds(HUB / name, FILES[name])
        for other in rewritten(gold)
        if other != gold
    ]
    verdicts = judge.equal_pairs(pairs)
    missed = [pair[:2] for pair, same in zip(pairs, verdicts, strict=True) if not same]
    assert len(pairs) > 600
    assert len(missed) <= len(pairs) / 1000, missed
