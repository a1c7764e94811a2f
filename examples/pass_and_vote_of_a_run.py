"""pass@k and maj@k of a finished run, for every k up to its number of responses.

    python examples/pass_and_vote_of_a_run.py RUN

RUN is a folder that was given as `--output_path`, with `--log_samples`, of a population task or of
`btrans-eval run --repeats K`.
"""

from __future__ import annotations

import sys
from statistics import mean

from btrans_eval import load_run, maj_at_k, pass_at_k
from btrans_eval.errors import UserError

if len(sys.argv) != 2:
    sys.exit(__doc__)
try:
    run = load_run(sys.argv[1])
except UserError as error:  # no run there, or several
    sys.exit(str(error))

for task in run.tasks.values():
    questions = list(task.questions.values())
    n = min(len(question.responses) for question in questions)
    print(f"{task.name}: {len(questions)} questions, {n} responses each")
    print("  k  pass@k  maj@k")
    for k in range(1, n + 1):
        passes, votes = [], []
        for question in questions:
            scores = [response.score for response in question.responses]
            labels = [response.label for response in question.responses]
            passes.append(pass_at_k(len(scores), sum(score == 1 for score in scores), k))
            votes.append(maj_at_k(labels, scores, k))
        print(f"{k:3d}  {mean(passes):6.3f}  {mean(votes):5.3f}")
