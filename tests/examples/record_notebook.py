"""Write ``examples/members.ipynb``, with what its cells show.

``python tests/examples/record_notebook.py`` runs the cells below with the demo model.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import run_notebook

FILE = Path(__file__).resolve().parents[2] / "examples" / "members.ipynb"
CELLS = [
    (
        "markdown",
        """# Members of a model

A population turns one model into many: every normalization layer gets a random bias, frozen for a
whole response. Each draw of it is a *member*. Here four members of the demo model
(SmolLM2-135M-Instruct) answer the same prompts, greedily: only the noise differs.""",
    ),
    (
        "code",
        """from btrans_eval import ask

asked = ask(
    None,  # the demo model; or a name, a folder, or (model, tokenizer)
    ["Name a good present for a cook.", "Tom has 3 boxes of 4 eggs. How many eggs has he?"],
    members=4,
    sigma=0.012,
    max_new_tokens=24,
)
asked""",
    ),
    ("markdown", "Responses, their answers and the vote are at hand:"),
    (
        "code",
        """eggs = asked[1]
for member, response in enumerate(eggs.responses):
    print(member, repr(response.text))
print(eggs.vote_line())""",
    ),
    (
        "markdown",
        "Votes and scores rest on what counts as an answer, and on which answers are equal.",
    ),
    (
        "code",
        """from btrans_eval import equal, extract

said = ["4 x 3 = 12, so the answer is 12.", "I cannot tell."]
[extract(response, "integer") for response in said], equal("1/2", "0.5")""",
    ),
    (
        "markdown",
        """Of n responses, c of them right: how likely are k of them to hold a right one, and what
does the vote of k score?""",
    ),
    (
        "code",
        """from btrans_eval import maj_at_k, pass_at_k

for k in (1, 2, 4):
    vote = maj_at_k(["12", "12", "7", None], [1, 1, 0, 0], k)
    print(k, round(pass_at_k(n=4, c=2, k=k), 3), round(vote, 3))""",
    ),
]


def made() -> dict:
    """The notebook without outputs."""
    cells = []
    for number, (kind, text) in enumerate(CELLS):
        cell = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}}
        cell["source"] = text.splitlines(keepends=True)
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        cells.append(cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def main() -> None:
    """Run it and write the file."""
    os.environ["COLUMNS"] = "100"
    written = made()
    outputs = run_notebook.run(written["cells"])
    codes = [cell for cell in written["cells"] if cell["cell_type"] == "code"]
    for number, (cell, shown) in enumerate(zip(codes, outputs, strict=True), 1):
        cell |= {"execution_count": number, "outputs": shown}
    FILE.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
