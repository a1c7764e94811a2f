"""A tiny random Llama with a tokenizer of its own, as a folder that the harness can load."""

from __future__ import annotations

from pathlib import Path

from models import BY_NAME, VOCABULARY
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

SPECIAL = ["<pad>", "<s>", "</s>"]
WORDS = [f"w{number}" for number in range(len(SPECIAL), VOCABULARY)]


def tokenizer() -> PreTrainedTokenizerFast:
    """One token for each word."""
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )


def save(folder: Path, family: str = "llama") -> str:
    """Write the checkpoint and return its path; the same bytes every time."""
    BY_NAME[family].build().save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return str(folder)
