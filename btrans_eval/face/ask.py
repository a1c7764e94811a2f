"""Ask a population by hand."""

from __future__ import annotations

import copy
import inspect
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from btrans_eval.answers.equivalence import Judge, classes
from btrans_eval.answers.vote import plurality
from btrans_eval.config import (
    EXTRACTORS,
    OWN_ARGUMENTS,
    PopulationConfig,
    check_choice,
    check_number,
    check_whole,
    refuse_misspelled,
)
from btrans_eval.errors import UserError
from btrans_eval.face.asked import Asked, AskedPrompt

if TYPE_CHECKING:
    from btrans_eval.harness.response import Response
    from btrans_eval.model_adapters.hf import BTransHF

_OF_THE_POPULATION = ("mu", "prior", "noise", "noise_from", "norms")
_ELSEWHERE = {
    "pretrained": "the model is ask's first argument",
    "tokenizer": "give a loaded model with it, as (model, tokenizer)",
    "extractor": "it is called kind here",
    "aggregate": "every member's response is returned",
    "stop": "every member is asked",
    "responses": "every member's response is returned",
    "shard": "all members are asked",
    "max_gen_toks": "it is called max_new_tokens here",
}


def ask(
    model: Any,
    prompts: str | Sequence[str],
    *,
    members: int = 4,
    sigma: float | str | None = None,
    kl: float | None = None,
    max_new_tokens: int = 64,
    temperature: float = 0.0,
    kind: str = "text",
    chat_template: bool | None = None,
    **arguments: Any,
) -> Asked:
    """What members 0, 1, … answer, side by side, and their vote.

    Generates as ``lm_eval --model btrans-hf`` does: member k of a seed says here what it says there
    to the same prompt with the same generation arguments (up to rounding in another batch shape).

    Args:
        model: name or folder of a transformers model; or a loaded one with its tokenizer, as
            ``(model, tokenizer)``, which stays loaded; or None for the demo model.
        prompts: one, or several.
        members: how many answer, at least 1.
        sigma: standard deviation of the noise, at least 0, or ``auto``; None: found from ``kl``
            (of the demo model 0.01).
        kl: what sigma is found from, in nats per token; None: 0.05.
        max_new_tokens: tokens of a response at most.
        temperature: of sampled tokens; 0: greedy, so that the members differ by their noise alone.
        kind: what is voted on: letter, integer, number or latex as a response states it, or text,
            the whole response.
        chat_template: whether a prompt is put to the model as a user's message, as
            ``--apply_chat_template`` does; None: where its tokenizer has a template.
        arguments: others of ``btrans-hf``: prior, noise, norms, seed, dtype, peft, batch_size (16)
            and the like.

    Returns:
        The prompts with every member's response, its answer, and the vote. ``print`` it.

    Raises:
        UserError: on an argument outside its range, or a model that cannot be loaded.

    Example:
        >>> asked = ask((model, tokenizer), "Name a colour.", members=4, sigma=0.01)
        >>> print(asked)
        Name a colour.
        <BLANKLINE>
        member 0 ...
        vote: ...
        (4 members, σ = 0.01, seed 0; greedy, at most 64 tokens...)
        >>> [response.text for response in asked[0].responses]  # of members 0 to 3
        [...]
    """
    texts = _checked(prompts)
    check_whole("members", members, minimum=1)
    check_whole("max_new_tokens", max_new_tokens, minimum=1)
    warm = check_number("temperature", temperature, minimum=0.0)
    check_choice("kind", kind, EXTRACTORS)
    for name, instead in _ELSEWHERE.items():
        if name in arguments:
            raise UserError(f"{name}: is none of ask's arguments; {instead}")
    _refuse_misspelled(arguments)
    own = {"members": members, "batch_size": 16, **arguments}
    own |= {name: value for name, value in (("sigma", sigma), ("kl", kl)) if value is not None}
    decoding: dict[str, Any] = {"until": [], "max_gen_toks": max_new_tokens, "do_sample": warm > 0}
    decoding |= {"temperature": warm} if warm > 0 else {}
    with _loaded(model, own) as lm:
        is_chat = _is_chat(lm, chat_template)
        asked = [_as_message(lm, text) if is_chat else text for text in texts]
        rows = _responses(lm, asked, members, decoding)
        population = lm.runner.population
        noise = "" if population.sigma is None else f", σ = {population.sigma:g}"
        settings = (
            f"{members} member{'' if members == 1 else 's'}{noise}{_unusual(population)}, "
            f"seed {population.seed}; "
            + (f"sampled at temperature {warm:g}" if warm > 0 else "greedy")
            + f", at most {max_new_tokens} tokens"
            + (", as a chat message" if is_chat else ", as plain text")
        )
    with Judge() as judge:
        judged = [_judged(text, row, kind, judge) for text, row in zip(texts, rows, strict=True)]
    return Asked(tuple(judged), kind, settings)


def _refuse_misspelled(arguments: Iterable[str]) -> None:
    """Refuse what is nearly an argument of ours, before a model is loaded."""
    from lm_eval.models.huggingface import HFLM

    others = [name for name in arguments if name not in inspect.signature(HFLM).parameters]
    refuse_misspelled(others, [*inspect.signature(ask).parameters, *OWN_ARGUMENTS], "argument")


def _checked(prompts: str | Sequence[str]) -> list[str]:
    texts = [prompts] if isinstance(prompts, str) else list(prompts)
    if not texts or not all(isinstance(text, str) for text in texts):
        raise UserError(
            f'prompts: must be a text or several, got {prompts!r}; for example ["Name a colour."]'
        )
    return texts


@contextmanager
def _loaded(model: Any, arguments: dict[str, Any]) -> Iterator[BTransHF]:
    """The harness's model type with this model, which is left as it was."""
    from btrans_eval.harness.quiet import hushed
    from btrans_eval.model_adapters.hf import BTransHF

    if model is None or isinstance(model, (str, os.PathLike)):
        with hushed():
            lm = BTransHF(None if model is None else os.fspath(model), **arguments)
            yield lm
            lm.runner.close()
        return
    if not (isinstance(model, tuple) and len(model) == 2 and callable(model[1])):
        raise UserError(
            "model: must be a name, a folder, None, or a loaded model with its tokenizer, as "
            f"(model, tokenizer); got a {type(model).__name__}"
        )
    modes = {module: module.training for module in model[0].modules()}
    try:
        with hushed((), arguments):  # the harness gives a tokenizer without a padding token one
            lm = BTransHF(model[0], tokenizer=copy.deepcopy(model[1]), **arguments)
            yield lm
            lm.runner.close()
    finally:
        for module, was_training in modes.items():
            module.training = was_training


def _is_chat(lm: BTransHF, asked: bool | None) -> bool:
    """Whether prompts are put as a user's message."""
    has_template = getattr(lm.tokenizer, "chat_template", None) is not None
    if asked and not has_template:
        raise UserError("chat_template: the tokenizer has none, got true; leave chat_template out")
    return has_template if asked is None else bool(asked)


def _as_message(lm: BTransHF, prompt: str) -> str:
    return str(lm.apply_chat_template([{"role": "user", "content": prompt}]))


def _responses(
    lm: BTransHF, prompts: Sequence[str], members: int, decoding: dict[str, Any]
) -> list[list[Response]]:
    """Of each prompt the members' responses, in order of members."""
    from lm_eval.api.instance import Instance

    requests = [
        Instance("generate_until", {}, (prompt, dict(decoding)), 0, ("ask", number, members))
        for number, prompt in enumerate(prompts)
    ]
    copies = [request for request in requests for _ in range(members)]
    said = lm.generate_until(copies, disable_tqdm=True)
    return [said[start : start + members] for start in range(0, len(said), members)]


def _unusual(population: Any) -> str:
    """What of a population is not as it is by default, beside sigma and seed, as it is given."""
    usual = {each.name: each.default for each in fields(PopulationConfig)}
    said = ((name, getattr(population, name)) for name in _OF_THE_POPULATION)
    return "".join(
        f", {name}={f'{value:g}' if isinstance(value, float) else value}"
        for name, value in said
        if value != usual[name]
    )


def _judged(prompt: str, row: Sequence[Response], kind: str, judge: Judge) -> AskedPrompt:
    from btrans_eval.harness.response import answer_in
    from btrans_eval.harness.scoring import judged

    answers = [answer_in(text, kind) for text in row]
    labels = classes(answers, kind, judge).labels
    return AskedPrompt(prompt, tuple(judged(row, answers, labels)), plurality(labels))
