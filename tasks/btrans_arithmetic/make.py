"""Make the questions again: python tasks/btrans_arithmetic/make.py

The same bytes with every release of Python: ``Random.random`` alone is drawn from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random

SEED = 20261127
TRAIN, TEST = 80, 40
"""Questions of each level."""
NAMES = ("Ana", "Ben", "Eva", "Leo", "Mia", "Tom")
THINGS = ("apples", "books", "coins", "cups", "eggs")

Question = tuple[str, str]
"""What is asked, and its answer."""


def larger(draw: Callable[[int, int], int]) -> Question:
    """Of two different numbers of two digits."""
    first, second = draw(10, 99), draw(10, 98)
    second += second >= first
    return f"Larger of {first}, {second}:", str(max(first, second))


def small_sum(draw: Callable[[int, int], int]) -> Question:
    """Of numbers up to 16; the larger one stands in front, so that none comes in two orders."""
    first, second = sorted((draw(1, 16), draw(1, 16)), reverse=True)
    return f"{first} + {second} =", str(first + second)


def comparison(draw: Callable[[int, int], int]) -> Question:
    """Of two different numbers of two digits."""
    first, second = draw(10, 99), draw(10, 98)
    second += second >= first
    return f"Is {first} less than {second}?", "yes" if first < second else "no"


def large_sum(draw: Callable[[int, int], int]) -> Question:
    """Of numbers of two digits, without a carry."""
    tens, ones = draw(1, 4), draw(0, 4)
    first, second = 10 * tens + ones, 10 * draw(1, 9 - tens) + draw(0, 9 - ones)
    return f"{first} + {second} =", str(first + second)


def story(draw: Callable[[int, int], int]) -> Question:
    """One step of addition."""
    name, things = NAMES[draw(0, len(NAMES) - 1)], THINGS[draw(0, len(THINGS) - 1)]
    has, gets = draw(2, 9), draw(2, 9)
    text = f"{name} has {has} {things} and gets {gets} more. Now {name} has"
    return text, str(has + gets)


LEVELS = (larger, small_sum, comparison, large_sum, story)


def questions(seed: int = SEED) -> dict[str, list[dict[str, object]]]:
    """The rows of both splits; no question comes twice, and the levels take turns."""
    source = Random(seed)

    def draw(least: int, most: int) -> int:
        return least + int(source.random() * (most - least + 1))

    rows: dict[str, list[dict[str, object]]] = {"train": [], "test": []}
    for level, kind in enumerate(LEVELS, 1):
        found = _different(kind, draw)
        for split, number in (("train", TRAIN), ("test", TEST)):
            for place in range(number):
                question, answer = next(found)
                rows[split].append(
                    {"id": f"{split}-{level}-{place + 1:02}", "level": level,
                     "question": question, "answer": answer}
                )  # fmt: skip
    return {split: sorted(of_split, key=_turn) for split, of_split in rows.items()}


def _turn(row: Mapping[str, object]) -> str:
    """So that the first rows of a split are of all levels alike."""
    return str(row["id"]).rpartition("-")[2]


def _different(
    kind: Callable[[Callable[[int, int], int]], Question], draw: Callable[[int, int], int]
) -> Iterator[Question]:
    asked: set[str] = set()
    while True:
        question, answer = kind(draw)
        if question not in asked:
            asked.add(question)
            yield question, answer


def main() -> None:
    """Write both files beside this one."""
    for split, rows in questions().items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        Path(__file__).with_name(f"{split}.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
