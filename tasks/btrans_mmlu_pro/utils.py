"""Prompts of MMLU-Pro, as the harness's own task words them."""

from __future__ import annotations

from functools import partial
from typing import Any

LETTERS = "ABCDEFGHIJ"


def question(row: dict[str, Any]) -> str:
    """A question with its lettered options, up to where the model goes on."""
    options = "".join(
        f"{letter}. {option.strip()}\n"
        for letter, option in zip(LETTERS, row["options"], strict=False)
    )
    return f"Question:\n{row['question']}\nOptions:\n{options}Answer: Let's think step by step."


def worked_answer(row: dict[str, Any]) -> str:
    """The published chain of thought of an example, after the words that ``question`` ends on."""
    return str(row["cot_content"]).replace("A: Let's think step by step. ", "")


def only(dataset: Any, subject: str) -> Any:
    """The rows of one subject."""
    return dataset.filter(lambda row: row["category"] == subject)


only_biology = partial(only, subject="biology")
only_business = partial(only, subject="business")
only_chemistry = partial(only, subject="chemistry")
only_computer_science = partial(only, subject="computer science")
only_economics = partial(only, subject="economics")
only_engineering = partial(only, subject="engineering")
only_health = partial(only, subject="health")
only_history = partial(only, subject="history")
only_law = partial(only, subject="law")
only_math = partial(only, subject="math")
only_other = partial(only, subject="other")
only_philosophy = partial(only, subject="philosophy")
only_physics = partial(only, subject="physics")
only_psychology = partial(only, subject="psychology")
