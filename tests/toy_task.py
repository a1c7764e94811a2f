"""A generative task of the harness over rows of our own, as files of a folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

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
