"""``btrans-eval calibrate``: sigma for KL budgets, what it does, and what each layer bears."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from math import exp
from pathlib import Path
from statistics import fmean
from typing import Any

from btrans_eval.calibration.pictures import competence, layers
from btrans_eval.calibration.sequences import of_file
from btrans_eval.config import PopulationConfig, check_kl, split_arguments
from btrans_eval.errors import UserError
from btrans_eval.harness.command import one_line
from btrans_eval.harness.flags import add_loading, loading, parse
from btrans_eval.harness.pairs import parse_pairs
from btrans_eval.parser import Parser
from btrans_eval.population import calibrate
from btrans_eval.population.divergence import MEMBERS, Divergence, Yardstick
from btrans_eval.population.population import Population

PRIORS = ("isotropic", "scaled")

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> None:
    """Measure, print two tables, and write ``calibration.json`` and the pictures."""
    given = parse(make_parser(), arguments)
    budgets = _budgets(given.kl)
    own, others = split_arguments({**loading(given), **parse_pairs("model_args", given.model_args)})
    for name in own:
        if name not in ("noise", "norms", "seed"):
            raise UserError(f"{name}: is no part of what is measured; leave it out of --model_args")
    config = PopulationConfig(**own)
    text = None if given.text is None else of_file(given.text)
    folder = Path(given.output_path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output_path: {folder} cannot be made ({error})") from None
    with one_line():
        found = measure(others, config, budgets, text)
    _print(found)
    file = folder / "calibration.json"
    file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    pictures = [competence(found), *([layers(found)] if found["layers"] else [])]
    for shown in pictures:
        (folder / f"{shown.name}.png").write_bytes(shown.png)
        (folder / f"{shown.name}.svg").write_text(shown.svg, encoding="utf-8")
    names = " and ".join(f"{shown.name}.png" for shown in pictures)
    print(f"\nwrote {file}, {names} beside it")
    if found["failed"]:
        raise UserError("; ".join(f"{name}: {why}" for name, why in found["failed"].items()))


def measure(
    model_args: Mapping[str, Any],
    config: PopulationConfig,
    budgets: Sequence[float],
    text: str | None,
) -> dict[str, Any]:
    """Load the model and measure: what ``calibration.json`` holds.

    What cannot be measured is left out and named under ``failed``; the rest is not lost by it.

    Raises:
        UserError: if nothing can be measured.
    """
    from btrans_eval.model_adapters.hf import BTransHF

    lm = BTransHF(sigma=0.0, **model_args)
    model, tokenizer = lm.model, lm.tokenizer
    settings: dict[str, Any] = {"noise": config.noise, "norms": config.norms, "seed": config.seed}
    yardstick = Yardstick(model, tokenizer, text)
    curve, failed = [], {}
    base: Divergence | None = None
    for prior in PRIORS:
        for budget in budgets:
            try:
                found = calibrate.calibrate(
                    model, tokenizer, budget, prior=prior, text=text, **settings
                )
            except UserError as error:
                failed[f"{prior}, kl={budget:g}"] = str(error)
                continue
            population = Population(model, found.sigma, prior=prior, **settings)
            base = seen = yardstick.measure(population)
            ratios = [exp(one - seen.base_log_perplexity) for one in seen.log_perplexity]
            curve.append(
                {
                    "prior": prior,
                    "budget": budget,
                    "sigma": found.sigma,
                    "kl": seen.mean_kl,
                    "stderr": seen.stderr,
                    "perplexity_ratio": fmean(ratios),
                    "greedy_changed": fmean(seen.changed),
                    "evaluations": found.evaluations,
                }
            )
    if base is None:
        raise UserError("; ".join(failed.values()))
    bear: list[dict[str, Any]] = []
    rounding = None
    try:
        rounding = calibrate.calibrate(model, tokenizer, text=text, **settings).rounding
        bear = _layers(model, tokenizer, text, settings)
    except UserError as error:
        failed["layers"] = str(error)
    return {
        "model": str(lm.pretrained),
        **settings,
        "perplexity": exp(base.base_log_perplexity),
        "tokens": base.tokens,
        "members": list(MEMBERS),
        "rounding": rounding,
        "curve": curve,
        "layers": bear,
        "failed": failed,
    }


def _layers(
    model: Any, tokenizer: Any, text: str | None, settings: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """What each layer bears."""
    scaled = Population(model, 1.0, prior="scaled", **settings)
    alone = calibrate.layers_alone(model, tokenizer, text=text, **settings)
    scales: Mapping[str, float] = {}
    try:
        scales = calibrate.balanced_scales(model, tokenizer, text, **settings)
    except UserError as error:  # nobody asked for it here
        logger.warning("%s", error)
    return [
        {
            "name": layer.name,
            "width": layer.width,
            "gain_rms": float(gain),
            "kl": alone[layer.name],
            "share": alone[layer.name] / sum(alone.values()),
            "balanced_scale": scales.get(layer.name),
        }
        for layer, gain in zip(scaled.layers, scaled.sigmas, strict=True)
    ]


def _print(found: Mapping[str, Any]) -> None:
    said = f"perplexity {found['perplexity']:.2f} on {found['tokens']} tokens"
    print(f"{found['model']}: {said}\n")
    print("prior      sigma     KL, nats/token      perplexity  greedy choice changed")
    for row in found["curve"]:
        print(
            f"{row['prior']:<10} {row['sigma']:<8.4g}  {row['kl']:.4f} ± {row['stderr']:.4f}     "
            f"× {row['perplexity_ratio']:<9.3f} {100 * row['greedy_changed']:.1f}% of tokens"
        )
    if found["rounding"] is not None:
        print(
            f"\n{found['rounding']:.2g} of each KL may be rounding of 16-bit numbers; in float32 "
            "(dtype=float32) it is none"
        )
    if not found["layers"]:
        return
    print("\nshare of KL  KL alone   RMS(w)  layer")
    for row in sorted(found["layers"], key=lambda row: -row["kl"]):
        print(
            f"{100 * row['share']:10.1f}%  {row['kl']:.2e}  {row['gain_rms']:6.3f}  {row['name']}"
        )


def _budgets(text: str) -> list[float]:
    return sorted({check_kl(_number(each)) for each in text.split(",")})


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def make_parser() -> argparse.ArgumentParser:
    """What reads the command's arguments."""
    parser = Parser(prog="btrans-eval calibrate", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--model_args", nargs="+", metavar="ARGS",
        help="of btrans-hf: pretrained=…,dtype=…; default: demo")  # fmt: skip
    add_loading(parser)
    add("--kl", default="0.01,0.03,0.1", metavar="N,N",
        help="budgets, KL(model || member) in nats per token (0.01,0.03,0.1)")  # fmt: skip
    add("--text", metavar="FILE",
        help="to measure on, passages separated by lines of ---; default: what the package "
             "carries")  # fmt: skip
    add("--output_path", default="calibration", metavar="OUT", help="folder (calibration)")
    return parser
