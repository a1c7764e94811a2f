"""``btrans-eval fit``: learn mean and standard deviation of every dimension's noise from text."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from btrans_eval.calibration import sequences
from btrans_eval.calibration.fit import fit, mean_alone
from btrans_eval.calibration.heldout import HeldOut, measure
from btrans_eval.calibration.posterior import Fitting
from btrans_eval.config import PopulationConfig, split_arguments
from btrans_eval.errors import UserError
from btrans_eval.harness.command import begin, one_line
from btrans_eval.harness.flags import add_loading, loading, parse
from btrans_eval.harness.pairs import parse_pairs
from btrans_eval.parser import Parser
from btrans_eval.population import calibrate

_NOISE = ("sigma", "kl", "prior", "norms", "seed")


def main(arguments: Sequence[str]) -> None:
    """Fit, measure on text that was held out, and write the file that ``prior=`` takes."""
    given = parse(make_parser(), arguments)
    asked = {name: getattr(given, name) for name in Fitting.__dataclass_fields__}
    fitting = Fitting(**{name: value for name, value in asked.items() if value is not None})
    if (given.text is None) == (given.task is None):
        raise UserError("text: give either --text FILE or --task NAME")
    own, others = split_arguments({**loading(given), **parse_pairs("model_args", given.model_args)})
    for name in own:
        if name not in _NOISE:
            raise UserError(f"{name}: is no part of what is fitted; leave it out of --model_args")
    config = PopulationConfig(**own)
    output = Path(given.output)
    if output.suffix != ".safetensors":
        raise UserError(f"output: must end in .safetensors, got {output}")
    text = None if given.text is None else sequences.of_file(given.text)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output: {output.parent} cannot be made ({error})") from None
    with one_line():
        begin(None)
        _run(others, config, fitting, text, given, output)


def _run(
    model_args: dict[str, Any],
    config: PopulationConfig,
    fitting: Fitting,
    text: str | None,
    given: argparse.Namespace,
    output: Path,
) -> None:
    from btrans_eval.model_adapters.hf import BTransHF

    text = sequences.of_task(given.task) if text is None else text
    lm = BTransHF(sigma=0.0, **model_args)
    model = lm.model
    to_fit, held = sequences.split(lm.tokenizer, text, fitting.seed)
    prior = calibrate.population_of(model, config, calibrate.resolve(model, lm.tokenizer, config))
    part = output.with_name(f"{output.name}.fit")
    lines: list[dict[str, float]] = []
    with tqdm(total=fitting.steps, unit="step", desc="fit") as bar:

        def tell(line: dict[str, float]) -> None:
            lines.append(line)
            bar.update(int(line["step"]) - bar.n)
            bar.set_postfix(kl=f"{line['kl']:.0f}")

        fitted = fit(model, prior, to_fit, fitting, part, tell)
    found = {
        name: measure(model, population, held)
        for name, population in (
            ("prior", prior), ("fitted", fitted), ("fitted mean alone", mean_alone(fitted)),
        )
    }  # fmt: skip
    fitted.save(output)
    facts = {
        "model": str(lm.pretrained),
        "text": given.text or given.task,
        "prior_sigma": prior.sigma,
        "norms": prior.norms,
        **asdict(fitting),
        "sequences": len(to_fit),
        "tokens": sum(len(each) - 1 for each in to_fit),
        "held_out": {name: asdict(one) for name, one in found.items()},
        "last_steps": lines[-10:],
    }
    beside = output.with_suffix(".json")
    beside.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.unlink(missing_ok=True)
    print(table(found))
    print(
        f"\nwrote {output} (use prior={output}), what it was fitted with beside it ({beside.name})"
    )


def table(found: dict[str, HeldOut]) -> str:
    """Measures of several populations of one model on the same held-out text."""
    first = next(iter(found.values()))
    lines = [
        f"{first.tokens} tokens held out, nats per token; the model itself {first.model:.4f}",
        "",
        f"{'':20}  {'member':>8}  {'all as one':>10}  {'KL':>7}  {'information':>11}",
    ]
    lines += [
        f"{name:20}  {one.member:8.4f}  {one.mixture:10.4f}  {one.kl:7.4f}  {one.information:11.4f}"
        for name, one in found.items()
    ]
    return "\n".join(lines)


def make_parser() -> argparse.ArgumentParser:
    """What reads the command's arguments."""
    parser = Parser(prog="btrans-eval fit", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--model_args", nargs="+", metavar="ARGS",
        help="of btrans-hf: pretrained=…; the noise that it begins at and is drawn to: sigma= or "
             "kl=; default: demo")  # fmt: skip
    add_loading(parser)
    add("--text", metavar="FILE", help="passages separated by lines of ---")
    add("--task", metavar="NAME", help="of the harness: prompts and gold answers of its rows for "
        "training")  # fmt: skip
    add("--output", required=True, metavar="FILE", help="prior.safetensors, for prior=")
    add("--steps", type=int, metavar="N", help="of Adam (300)")
    add("--rows", type=int, metavar="N", help="sequences of a step, each its own member (8)")
    add("--learning_rate", type=float, metavar="X",
        help="in units of the prior's sigma, falling to 0 (0.03)")  # fmt: skip
    add("--beta", type=float, metavar="X", help="weight of the KL to the prior (1)")
    add("--seed", type=int, metavar="N", help="of order, draws and what is held out (0)")
    return parser
