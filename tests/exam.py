"""What must hold of a population of any model, tried one after another and told in words."""

from __future__ import annotations

import re
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tiny_families
import torch
from engine import cloned, generation
from tiny_families import VOCABULARY
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast
from transformers.activations import ACT2FN

from btrans_eval import Population
from btrans_eval.errors import UserError
from btrans_eval.model_adapters.hf import BTransHF
from btrans_eval.model_adapters.hf.refill import Unfit

SIGMA = 0.1
ROWS, LENGTH, LONG = 3, 6, 140  # some norms come into play after 128 tokens
NEW = 5
SAMPLED = {"until": ["w9"], "max_gen_toks": 24, "do_sample": True, "temperature": 1.0}
PROMPTS = ["w5 w6 w7", "w8", "w10 w11 w12 w13 w14", "w20 w21", "w5 w6 w7 w8 w30 w31 w32"]
REPEATS = 6
_CLOSE = 1e-4  # most norms and rotations compute in float32 whatever they are given


class Wrong(Exception):
    """Something that should hold does not."""


class Stock(Exception):
    """The model fails without any noise."""


@dataclass
class Verdict:
    """What the exam found of one family.

    Attributes:
        family: the model type.
        built: empty, or why there is nothing to examine.
        norms: how many layers carry noise.
        kinds: their classes, and how many of each.
        gated: how many of them have their noise before a gate.
        parts: how many are one of several that a module returns.
        checks: by name: "holds", or how it does not, beginning with refused, wrong, traceback, or
            stock where the model itself is at fault.
        batching: "refilled", or "static" and why.
        notes: what the population says of this model.
    """

    family: str
    built: str = ""
    norms: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    gated: int = 0
    parts: int = 0
    checks: dict[str, str] = field(default_factory=dict)
    batching: str = ""
    notes: list[str] = field(default_factory=list)


def examine(family: str) -> Verdict:
    """Build a tiny model of a family and try everything."""
    verdict = Verdict(family)
    try:
        model = tiny_families.build(family)
        if not torch.isfinite(logits(model, tokens(LENGTH))).all():
            raise Wrong("its output is not finite")
    except Exception as error:
        verdict.built = _line(error)
        return verdict
    try:
        population = Population(model, SIGMA)
    except Exception as error:
        verdict.checks["attaches"] = _told(error)
        return verdict
    verdict.checks["attaches"] = "holds"
    verdict.norms = len(population.layers)
    verdict.kinds = dict(Counter(type(layer.module).__name__ for layer in population.layers))
    verdict.gated = sum(layer.is_gated for layer in population.layers)
    verdict.parts = sum(layer.part is not None for layer in population.layers)
    verdict.notes = population.notes
    for name, check in CHECKS.items():
        try:
            check(model, population)
            verdict.checks[name] = "holds"
        except Exception as error:
            verdict.checks[name] = _told(error)
    try:
        verdict.batching = batching(model)
        verdict.checks["texts of refilling and static batches equal"] = "holds"
    except Exception as error:
        verdict.checks["texts of refilling and static batches equal"] = _told(error)
    return verdict


def _told(error: Exception) -> str:
    if isinstance(error, UserError):
        return f"refused: {_line(error)}"
    if isinstance(error, Wrong):
        return f"wrong: {_line(error)}"
    if isinstance(error, Stock):
        return f"stock: {_line(error)}"
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"traceback: {type(error).__name__}: {_line(error)} ({place.name})"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def tokens(length: int, rows: int = ROWS) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(3, VOCABULARY, (rows, length), generator=generator)


@torch.no_grad()
def logits(model: nn.Module, batch: Tensor) -> Tensor:
    """What the model says, without a cache."""
    return model(batch, use_cache=False).logits


def must(holds: bool, what: str) -> None:
    if not holds:
        raise Wrong(what)


# ----------------------------------------------------------------------------- the checks
def without_noise(model: Any, population: Population) -> None:
    """With sigma = 0 it is the model, bit for bit."""
    batch = tokens(LENGTH)
    stock = logits(model, batch)
    with Population(model, 0.0).members(range(ROWS)):
        must(torch.equal(logits(model, batch), stock), "differs from the model")


def with_noise(model: Any, population: Population) -> None:
    """Every member differs from the model, which is as it was after leaving."""
    batch = tokens(LENGTH)
    stock, names = logits(model, batch), list(model.state_dict())
    hooks = [len(module._forward_hooks) for module in model.modules()]
    with population.members(range(ROWS)):
        noisy = logits(model, batch)
    different = (noisy - stock).abs().amax(dim=tuple(range(1, stock.ndim)))
    must(bool((different > 1e-6).all()), "a member says what the model says")
    must(torch.equal(logits(model, batch), stock), "the model is not as it was")
    must(list(model.state_dict()) == names, "names in the state dict changed")
    must(hooks == [len(m._forward_hooks) for m in model.modules()], "hooks stayed")


def mixed_rows(model: Any, population: Population) -> None:
    """A row of a mixed batch is the same row where all are its member, and its member alone."""
    batch, members = tokens(LENGTH), [5, 0, 3]
    with population.members(members):
        mixed = logits(model, batch)
    stock = logits(model, batch)
    # some experts sum over tokens of all rows, whose rounding depends on how many there are
    of_neighbours = not torch.equal(stock[0], logits(model, batch[[0, 0, 0]])[0])
    for row, member in enumerate(members):
        with population.members([member] * ROWS):
            uniform = logits(model, batch)
        if of_neighbours:
            must(torch.allclose(mixed[row], uniform[row], atol=1e-9), "neighbours change a row")
        else:
            must(torch.equal(mixed[row], uniform[row]), "neighbours' members change a row")
        one = batch[row : row + 1]
        own = (logits(model, one)[0] - stock[row]).abs().max()  # batch shapes alone do that
        with population.members([member]):
            alone = (logits(model, one)[0] - mixed[row]).abs().max()
        must(bool(alone <= _CLOSE + 10 * own), f"a row alone differs by {alone:.2g}")


def frozen(model: Any, population: Population, first: list[int] | None = None) -> None:
    """Tokens are generated with a cache as they are read again without one."""
    own = _stock_steps(model)
    with population.members(range(ROWS), first):
        off = _steps(model)
    must(off <= _CLOSE + 30 * own, f"decoding and reading differ by {off:.2g} (stock {own:.2g})")


def _stock_steps(model: Any) -> float:
    try:
        own = _steps(model)
    except Exception as error:
        raise Stock(f"it does not generate: {_line(error)}") from error
    if own != own:
        raise Stock("its own decoding gives no numbers")
    return own


@torch.no_grad()
def _steps(model: Any) -> float:
    batch = tokens(LENGTH)
    generated = model.generate(
        input_ids=batch,
        attention_mask=torch.ones_like(batch),
        max_new_tokens=NEW,
        min_new_tokens=NEW,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
    )
    whole = logits(model, generated.sequences)[:, LENGTH - 1 : -1].double()
    steps = torch.stack(generated.logits, dim=1).double()
    return float((whole - steps).abs().max())


def token_noise(model: Any, population: Population) -> None:
    """Noise that is new at every token is the same when the tokens are read again."""
    frozen(model, Population(model, SIGMA, noise="token"))


def from_generation(model: Any, population: Population) -> None:
    """Noise begins at the last token of the prompt, and decoding keeps it."""
    other = Population(model, SIGMA, noise_from="generation")
    frozen(model, other, [LENGTH - 1] * ROWS)
    batch = tokens(LENGTH)
    stock = logits(model, batch)
    with other.members(range(ROWS), [LENGTH - 1] * ROWS):
        noisy = logits(model, batch)
    other_end = torch.cat([batch[:, :-1], batch[:, -1:] - 1], dim=1)
    # some look at the whole prompt from each of its tokens
    is_causal = torch.equal(stock[:, :-1], logits(model, other_end)[:, :-1])
    if is_causal:
        must(torch.equal(noisy[:, :-1], stock[:, :-1]), "noise before the last token of the prompt")
    must(not torch.equal(noisy[:, -1], stock[:, -1]), "no noise at the last token of the prompt")


def scaled(model: Any, population: Population) -> None:
    """The gain of every norm is found."""
    sigmas = Population(model, SIGMA, prior="scaled").sigmas
    must(bool(np.isfinite(sigmas).all() and (sigmas > 0).any()), "no sigma")


def formula(model: Any, population: Population) -> None:
    """Every norm that is called returns what it would, plus z, before any gate."""
    batch = tokens(LONG, rows=2)
    seen: dict[str, tuple[Any, ...]] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(module: Any, args: Any, given: Any, output: Any) -> None:
            seen.setdefault(name, (module, args, given, output))

        return hook

    with ExitStack() as stack, population.members([2, 7]):
        for name, module in model.named_modules():
            if _looks_like_norm(module):
                hook = module.register_forward_hook(note(name), with_kwargs=True)
                stack.callback(hook.remove)
        logits(model, batch)
    shifts: dict[tuple[str, int], Tensor] = {}
    for index, layer in enumerate(population.layers):
        z = np.stack([population.shift(member, index) for member in (2, 7)])
        part = layer.part or 0
        shifts[_module_name(model, layer), part] = torch.from_numpy(z)
    for name, (module, args, given, output) in seen.items():
        _compare(name, module, args, given, output, shifts)


def _module_name(model: Any, layer: Any) -> str:
    return next(name for name, module in model.named_modules() if module is layer.module)


def _looks_like_norm(module: nn.Module) -> bool:
    """By eyes other than the library's."""
    name = type(module).__name__.lower()
    return not any(module.children()) and re.search("norm($|[^ae])|rms", name) is not None


@torch.no_grad()
def _compare(name: str, module: Any, args: Any, given: Any, output: Any, shifts: Any) -> None:
    clean = module.forward(*args, **given)
    pairs = zip(output, clean, strict=True) if isinstance(output, tuple) else [(output, clean)]
    inputs = [each for each in (*args, *given.values()) if isinstance(each, Tensor)]
    gate = 1.0
    if len(inputs) > 1 and hasattr(module, "activation"):
        gate = ACT2FN[module.activation](inputs[1].float())
    for part, (noisy, pure) in enumerate(pairs):
        z = shifts.get((name, part))
        is_vector = noisy.numel() in [each.numel() for each in inputs]
        must(is_vector == (z is not None), f"{name} carries {'no ' * is_vector}noise")
        if z is None:
            continue
        rows = z.view(2, *[1] * (noisy.ndim - 2), -1) if noisy.shape[0] == 2 else (
            z.repeat_interleave(noisy.shape[0] // 2, dim=0)
        )  # fmt: skip
        off = (noisy.double() - pure.double() - rows.double() * gate).abs().max()
        must(bool(off < 2e-6 * (1 + pure.abs().max())), f"{name} is off by {off:.2g}")


CHECKS: dict[str, Callable[[Any, Population], None]] = {
    "without noise the model": without_noise,
    "with noise another, then restored": with_noise,
    "a mixed row is its member": mixed_rows,
    "noise frozen over decoding": frozen,
    "every norm as in the formula": formula,
    "prior=scaled": scaled,
    "noise=token": token_noise,
    "noise_from=generation": from_generation,
}


# ---------------------------------------------------------------------------- generation
def batching(model: Any) -> str:
    """How responses are generated; refilled ones are compared with static ones."""
    _stock_steps(model)
    (request, *_) = generation(PROMPTS, SAMPLED, REPEATS)
    refilled = _lm(model)
    if refilled.engine.batching(request) == "static":
        found = refilled.engine.generation._prepare(request)
        return f"static: {found}" if isinstance(found, Unfit) else "static"
    static = _said(_lm(model, batching="static"))
    if _said(refilled) != static:
        if _padding_matters(model):
            raise Stock("with a cache and padding it says something else than alone")
        raise Wrong("texts differ")
    must(len({text for text, _ in static}) > 1, "all texts are one")
    return "refilled"


@torch.no_grad()
def _padding_matters(model: Any) -> bool:
    """Whether the model itself decodes a padded row otherwise than the row alone."""
    batch = tokens(LENGTH)
    padded = torch.cat([torch.zeros_like(batch), batch], dim=1)
    mask = (torch.arange(2 * LENGTH) >= LENGTH).long().expand(ROWS, -1)
    settings = {"max_new_tokens": NEW, "min_new_tokens": NEW, "do_sample": False}
    said = [
        model.generate(input_ids=rows, attention_mask=kept, **settings)[:, -NEW:]
        for rows, kept in ((batch, torch.ones_like(batch)), (padded, mask))
    ]
    return not torch.equal(*said)


def _lm(model: Any, **own: Any) -> BTransHF:
    return BTransHF(
        model, tokenizer=tokenizer(), device="cpu", sigma=SIGMA, members=3, batch_size=4, **own
    )


def _said(lm: BTransHF) -> list[tuple[str, int]]:
    texts = lm.generate_until(cloned(generation(PROMPTS, SAMPLED, REPEATS)), disable_tqdm=True)
    return [(str(text), text.tokens) for text in texts]


def tokenizer() -> PreTrainedTokenizerFast:
    """Of words, as many as the model knows."""
    special = ["<pad>", "<s>", "</s>"]
    words = [*special, *(f"w{number}" for number in range(len(special), VOCABULARY))]
    vocabulary = {word: number for number, word in enumerate(words)}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
