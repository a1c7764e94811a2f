"""A task of the harness that a tiny model can be trained on, in a folder of its own."""

from __future__ import annotations

from pathlib import Path

YAML = """task: toy_words
custom_dataset: !function toy_rows.load
training_split: train
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["w9"], max_gen_toks: 6, do_sample: false}
process_results: !function toy_rows.score
metric_list:
  - {metric: even, aggregation: mean, higher_is_better: true}
"""
ROWS = """import datasets


def load(**_):
    rows = [
        {"question": f"w{a} w{b}", "answer": f"w{a}", "level": a % 3}
        for a in range(3, 19)
        for b in range(20, 26)
    ]
    return {
        "train": datasets.Dataset.from_list(rows[10:] + rows[:2] + rows[10:12]),
        "test": datasets.Dataset.from_list(rows[:10]),
    }


def score(doc, results):
    words = [word for word in results[0].split() if word[1:].isdigit()]
    return {"even": float(sum(int(word[1:]) % 2 == 0 for word in words) > 2)}
"""


def save(folder: Path) -> str:
    """Write the task and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "toy_words.yaml").write_text(YAML)
    (folder / "toy_rows.py").write_text(ROWS)
    return str(folder)
