"""Tasks of the harness over rows of our own, as files of a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

EXACT_MATCH = "metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]"


def write(
    folder: Path,
    prompts: Sequence[str],
    answer: str,
    name: str = "toy",
    generation: str = "max_gen_toks: 5, do_sample: false",
    scoring: str = EXACT_MATCH,
) -> None:
    """Write ``name``.yaml and its rows.

    Args:
        generation: generation arguments beside ``until``, as YAML.
        scoring: how responses are scored, as YAML.
    """
    rows = folder / f"{name}.jsonl"
    lines = [json.dumps({"prompt": prompt, "answer": answer}) + "\n" for prompt in prompts]
    rows.write_text("".join(lines))
    (folder / f"{name}.yaml").write_text(
        f"""
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: [], {generation}}}
num_fewshot: 0
{scoring}
"""
    )


def choices(
    folder: Path, rows: Sequence[Mapping[str, Any]], metrics: Sequence[str] = ("acc",)
) -> None:
    """Write choices.yaml, a multiple-choice task, and its rows.

    Args:
        rows: each of ``q``, ``choices`` and ``gold``, the index of the right one.
        metrics: of the harness, means of which more is better.
    """
    file = folder / "choices.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {
        "task": "choices",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(file)}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{q}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{gold}}",
        "metric_list": [
            {"metric": name, "aggregation": "mean", "higher_is_better": True} for name in metrics
        ],
    }
    (folder / "choices.yaml").write_text(yaml.safe_dump(task))
