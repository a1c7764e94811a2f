"""NoveltyBench's two models: which responses mean the same, and how good a response is.

Both are used only where they are on this machine; nothing is fetched. Facts of the published code
(github.com/novelty-bench/novelty-bench at 5b22b53, src/partition.py and src/score.py).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from btrans_eval.errors import UserError

DEFAULT = "novelty-bench"
"""What a task file calls the published models."""
CLASSIFIER = "yimingzhang/deberta-v3-large-generation-similarity"
TOKENIZER = "microsoft/deberta-v3-large"
THRESHOLD = 0.102
MAX_LENGTH = 128
REWARD = "Skywork/Skywork-Reward-Gemma-2-27B-v0.2"
_BATCH = 32


class NotAtHand(UserError):
    """A model of the benchmark that this machine lacks, or cannot hold."""


def describe_classifier(name: str) -> dict[str, Any]:
    """What stands in results of a classifier: its name and how its verdicts are made."""
    model, tokenizer = _classifier(name)
    return {
        "classifier": model, "tokenizer": tokenizer, "threshold": THRESHOLD,
        "max_length": MAX_LENGTH,
    }  # fmt: skip


def describe_reward(name: str) -> dict[str, Any]:
    """What stands in results of a reward model."""
    return {"reward_model": _reward(name), "dtype": "bfloat16", "attention": "eager"}


def check_classifier(name: str) -> None:
    """Before anything is generated. NotAtHand unless the classifier and its tokenizer are here."""
    _check("partition", _classifier(name))


def check_reward(name: str) -> None:
    """Before anything is generated. NotAtHand unless the reward model is here."""
    _check("reward", (_reward(name),))


def alike(pairs: Sequence[tuple[str, str]], name: str = DEFAULT) -> list[bool]:
    """Whether the two responses of each pair mean the same to the classifier.

    Its probability of the label 1 for ``[CLS] a [SEP] b [SEP]``, each text cut after 128 tokens,
    is above 0.102; float32, in batches of pairs of like length. The prompt is not shown to it.

    Args:
        pairs: texts, in the order that they are shown in.
        name: ``novelty-bench``, or a name or folder of a classifier with a tokenizer of its own.

    Raises:
        NotAtHand: if it is not on this machine, or does not fit.
        UserError: if it has other than two labels.
    """
    import torch

    tokenizer, model = _load("partition", *_classifier(name), 2)
    rows = [_ids(tokenizer, one, other) for one, other in pairs]
    verdicts = [False] * len(rows)
    order = sorted(range(len(rows)), key=lambda place: len(rows[place]), reverse=True)
    for start in range(0, len(order), _BATCH):
        places = order[start : start + _BATCH]
        width = len(rows[places[0]])
        fill = [[tokenizer.pad_token_id] * (width - len(rows[place])) for place in places]
        ids = torch.tensor([rows[p] + f for p, f in zip(places, fill, strict=True)])
        mask = torch.tensor([[1] * (width - len(f)) + [0] * len(f) for f in fill])
        inputs = {"input_ids": ids, "attention_mask": mask}
        if getattr(model.config, "type_vocab_size", 0):
            ends = (ids == tokenizer.sep_token_id).long()
            inputs["token_type_ids"] = (ends.cumsum(1) > ends).long() * mask
        logits = _forward("partition", model, inputs)
        for place, share in zip(places, logits.float().softmax(-1)[:, 1].tolist(), strict=True):
            verdicts[place] = share > THRESHOLD
    return verdicts


def rewards(prompt: str, texts: Sequence[str], name: str = DEFAULT) -> list[float]:
    """The reward model's number for each response to a prompt, one response at a time.

    The chat template of the reward model, bfloat16, ``eager`` attention (its card names that or
    flash attention, which the published code takes and few machines have).

    Args:
        prompt: what the user asked.
        texts: the responses.
        name: ``novelty-bench``, or a name or folder of a reward model.

    Raises:
        NotAtHand: if it is not on this machine, or does not fit.
        UserError: if it has other than one label.
    """
    model_name = _reward(name)
    tokenizer, model = _load("reward", model_name, model_name, 1)
    found = []
    for text in texts:
        said = [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]
        inputs = tokenizer.apply_chat_template(
            said, tokenize=True, return_dict=True, return_tensors="pt"
        )
        found.append(float(_forward("reward", model, dict(inputs))[0, 0]))
    return found


def _classifier(name: str) -> tuple[str, str]:
    return (CLASSIFIER, TOKENIZER) if name == DEFAULT else (name, name)


def _reward(name: str) -> str:
    return REWARD if name == DEFAULT else name


def _ids(tokenizer: Any, one: str, other: str) -> list[int]:
    ids = [tokenizer.cls_token_id]
    for text in (one, other):
        ids += tokenizer.encode(
            text, truncation=True, max_length=MAX_LENGTH, add_special_tokens=False
        )
        ids.append(tokenizer.sep_token_id)
    return ids


def _check(argument: str, names: Sequence[str]) -> None:
    from transformers.utils.hub import cached_file

    for name in dict.fromkeys(names):
        try:
            cached_file(name, "config.json", local_files_only=True)
        except (OSError, ValueError):
            raise NotAtHand(_lacks(argument, names, f"{name} is not on this machine")) from None


def _lacks(argument: str, names: Sequence[str], why: str) -> str:
    fetched = [name for name in dict.fromkeys(names) if not Path(name).exists()]
    how = f"; to have it: {' && '.join(f'hf download {name}' for name in fetched)}"
    return f"{argument}: {why}{how if fetched else ''}"


@functools.lru_cache(maxsize=2)
def _load(argument: str, name: str, tokenizer: str, labels: int) -> tuple[Any, Any]:
    """Tokenizer and model, from this machine alone."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    own: dict[str, Any] = {"dtype": torch.float32}
    if argument == "reward":
        own = {"dtype": torch.bfloat16, "attn_implementation": "eager", "device_map": "auto"}
    _check(argument, (name, tokenizer))
    try:
        reader = AutoTokenizer.from_pretrained(tokenizer, local_files_only=True)
        model = AutoModelForSequenceClassification.from_pretrained(
            name, local_files_only=True, **own
        )
        model = model.eval() if "device_map" in own else model.to(device).eval()
    except (OSError, ValueError, ImportError, torch.OutOfMemoryError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        why = f"{name} cannot be loaded ({reason})"
        raise NotAtHand(_lacks(argument, (name, tokenizer), why)) from error
    if model.config.num_labels != labels:
        raise UserError(
            f"{argument}: needs a model of {labels} label{'' if labels == 1 else 's'}, but {name} "
            f"has {model.config.num_labels}; name another, or {DEFAULT}"
        )
    if len(reader) < 0.9 * model.config.vocab_size:  # transformers may go on with an empty one
        why = (
            f"{tokenizer} was read as {len(reader)} tokens, but {name} knows "
            f"{model.config.vocab_size}; its file may need: pip install sentencepiece protobuf"
        )
        raise NotAtHand(_lacks(argument, (), why))
    return reader, model


def _forward(argument: str, model: Any, inputs: dict[str, Any]) -> Any:
    """Logits, on the CPU; NotAtHand where memory does not suffice."""
    import torch

    try:
        with torch.inference_mode():
            given = {name: value.to(model.device) for name, value in inputs.items()}
            return model(**given).logits.cpu()
    except torch.OutOfMemoryError:
        raise NotAtHand(
            f"{argument}: there is no memory for it beside the model; with a store, run again with "
            "--from_store, which loads no model"
        ) from None
