"""How many members a vote asks when it stops, replayed from answers that are all known.

    python benchmarks/stops.py                               # drawn from vote distributions
    python benchmarks/stops.py OUT/.../members_*.jsonl       # responses of tasks that want one

For each rule: the share of all calls that is asked, and the share of questions whose returned
answer is not that of all members (`exact`: none, checked on every sequence).
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from btrans_eval.answers.normalize import normalize
from btrans_eval.answers.stopping import by_probability, by_spelling, by_text
from btrans_eval.answers.vote import plurality

SHARES = (0.95, 0.8, 0.6, 0.4)
QUESTIONS = 2000
Texts = Sequence[str | None]


def asked(texts: Texts, rule: str) -> int:
    """How many members the rule asks."""
    count = 0
    while True:
        seen, total = texts[:count], len(texts)
        if rule == "exact":
            more = by_text(seen, total)
        elif rule == "exact, formulas":  # the worst: any two spellings may be equal
            more = by_spelling(seen, total, lambda one, other: True)
        else:
            more = by_probability(seen, total, float(rule))
        if not more:
            return count
        count += more


def line(title: str, questions: Sequence[Texts]) -> str:
    """A row of the table."""
    cells = []
    for rule in ("exact", "exact, formulas", "0.95"):
        counts = [asked(texts, rule) for texts in questions]
        share = sum(counts) / sum(map(len, questions))
        changed = sum(
            plurality(texts[:count]).chosen != plurality(texts).chosen and any(texts)
            for texts, count in zip(questions, counts, strict=True)
        ) / len(questions)  # fmt: skip
        assert rule == "0.95" or not changed
        cells.append(
            f"{share:.2f}" + (f" ({100 * changed:.1f}% changed)" if rule == "0.95" else "")
        )
    return f"| {title} | {' | '.join(cells)} |"


def main() -> None:
    print("| answers | exact | exact, formulas | 0.95 |\n|---|---:|---:|---:|")
    for name in sys.argv[1:]:
        found = []
        for text in Path(name).read_text(encoding="utf-8").splitlines():
            each = json.loads(text)
            if each["returned"] == "all":
                sys.exit(
                    f"{name}: {each['task']} gets all responses, so members do not vote on one"
                )
            said = [one["answer"] for one in each["responses"]]
            found.append([None if a is None else normalize(a, each["kind"]) or None for a in said])
        print(line(f"{Path(name).name}, K = {len(found[0])}", found))
    if sys.argv[1:]:
        return
    chosen = random.Random(0)
    for k in (8, 16, 64):
        for share in SHARES:
            questions = [
                ["a" if chosen.random() < share else chosen.choice("bcdef") for _ in range(k)]
                for _ in range(QUESTIONS)
            ]
            print(line(f"leader {100 * share:.0f}%, five others, K = {k}", questions))


if __name__ == "__main__":
    main()
