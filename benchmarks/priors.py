"""What fitted noise is good for: priors at one KL(model || member), on text that was held out.

    python benchmarks/priors.py --task btrans_arithmetic --output OUT    # the demo model

Fits a posterior (``btrans-eval fit``), measures its KL on the held-out text, and gives isotropic,
scaled and balanced noise the sigma that has the same KL there; beside them the fitted means alone,
which is what tuning biases would give, without uncertainty. ``OUT/arms.yaml`` asks the same
populations a task: ``btrans-eval compare OUT/arms.yaml --output_path OUT/arms``.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from btrans_eval import Population
from btrans_eval.calibration import sequences
from btrans_eval.calibration.fit import fit, mean_alone
from btrans_eval.calibration.fit_command import table
from btrans_eval.calibration.heldout import measure
from btrans_eval.calibration.posterior import Fitting
from btrans_eval.model_adapters.hf import BTransHF
from btrans_eval.population import calibrate
from btrans_eval.population.search import search

SIGMA = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pretrained")
    parser.add_argument("--task", default="btrans_arithmetic")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--asked", default="btrans_arithmetic", help="task of arms.yaml")
    parser.add_argument("--output", type=Path, required=True, metavar="OUT")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    given.output.mkdir(parents=True, exist_ok=True)
    lm = BTransHF(**({"pretrained": given.pretrained} if given.pretrained else {}), sigma=0.0)
    model, tokenizer = lm.model, lm.tokenizer
    fitting = Fitting(steps=given.steps)
    to_fit, held = sequences.split(tokenizer, sequences.of_task(given.task), fitting.seed)
    start = Population(model, sigma=SIGMA)
    fitted = fit(
        model, start, to_fit, fitting, given.output / "fit.part",
        lambda line: print(json.dumps(line), flush=True) if line["step"] % 25 == 0 else None,
    )  # fmt: skip
    populations = {"fitted": fitted, "fitted mean alone": mean_alone(fitted)}
    found = {name: measure(model, each, held) for name, each in populations.items()}
    budget = found["fitted"].kl
    arms: dict[str, Any] = {}
    for name, each in populations.items():
        file = given.output / f"{name.replace(' ', '-')}.safetensors"
        each.save(file)
        arms[name] = {"prior": str(file.resolve())}
    for prior in ("isotropic", "scaled", "balanced"):
        scales = calibrate.balanced_scales(model, tokenizer) if prior == "balanced" else None
        one = Population(model, 1.0, prior=prior, scales=scales)

        def at(sigma: float, one: Population = one) -> Any:
            return _Seen(measure(model, one.times(sigma), held))

        sigma, seen, _ = search(at, budget, SIGMA)
        found[prior] = seen.measured
        arms[prior] = {"prior": prior, "sigma": sigma}
        print(f"{prior}: sigma={sigma:.4g}", flush=True)
    print(f"\n{given.task}, {len(to_fit)} sequences fitted to; equal KL {budget:.4f}")
    print(table(found))
    facts = {name: asdict(one) for name, one in found.items()}
    (given.output / "priors.json").write_text(
        json.dumps({"held_out": facts, "arms": arms}, indent=1)
    )
    listed = [{"name": name, "kind": "population", "own": own} for name, own in arms.items()]
    asked = {"tasks": [given.asked], "repeats": 8, "arms": ["stock", *listed]}
    (given.output / "arms.yaml").write_text(yaml.safe_dump(asked, sort_keys=False))


class _Seen:
    """What `search` looks at."""

    def __init__(self, measured: Any) -> None:
        self.measured, self.mean_kl = measured, measured.kl


if __name__ == "__main__":
    main()
