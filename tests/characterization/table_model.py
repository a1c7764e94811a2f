"""A transformers model that reads its responses from a table, and a tokenizer of single bytes.

It is loaded, bound to members and run as any other, so its texts pass through all that a real
model's do; but what it says does not depend on rounding, hence not on the machine.
"""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor, nn
from transformers.modeling_outputs import CausalLMOutputWithPast

SPECIAL = ("<pad>", "<s>", "</s>")
END = SPECIAL.index("</s>")
NEVER = -1e4  # exp of it is 0, so that log probabilities are whole numbers
FIRST, SECOND = 1.0, 0.0  # logits where a table leaves two ways open: 73 % and 27 %
_NAMES = ("cache", "past_key_values")  # from transformers 5.24 on, and before
_CACHE = next(each.name for each in fields(CausalLMOutputWithPast) if each.name in _NAMES)
_QUESTION = re.compile(r"Q(\d+):(?:(?!Q\d+:).)*?A:", re.DOTALL)


def tokenizer() -> transformers.PreTrainedTokenizerFast:
    """Every byte is a token, after the special ones."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet(), key=_byte_of)
    vocabulary = {token: number for number, token in enumerate((*SPECIAL, *letters))}
    found = Tokenizer(models.BPE(vocabulary, []))
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    found.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=found, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )


def _byte_of(letter: str) -> int:
    """The byte that a letter of byte-level vocabularies stands for."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    if ord(letter) in plain:
        return ord(letter)
    return [byte for byte in range(256) if byte not in plain][ord(letter) - 256]


class TableConfig(transformers.PretrainedConfig):
    """Config of `TableModel`.

    Attributes:
        table: by the number of a question, what is said: one entry for each mind, which is a
            text, or two texts of which sampling chooses one.
    """

    model_type = "btrans_test_table"

    def __init__(self, table: dict[str, list[Any]] | None = None, **others: Any) -> None:
        self.table = table or {}
        self.num_hidden_layers = 1
        self.vocab_size = len(SPECIAL) + 256
        self.hidden_size = 8
        self.max_position_embeddings = 1024
        super().__init__(**others)


class TableModel(transformers.PreTrainedModel, transformers.GenerationMixin):
    """Says after ``Q7: ... A:`` what the table has for question 7.

    Which of the entries is told by the noise that reaches its only normalization layer: the signs
    of the first three values. Where there is no question, nothing is likely but the byte that
    comes next in the alphabet of the mind.
    """

    config_class = TableConfig

    def __init__(self, config: TableConfig) -> None:
        super().__init__(config)
        self.norm = nn.LayerNorm(config.hidden_size, bias=False)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        pass

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: Any = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        **_: Any,
    ) -> CausalLMOutputWithPast:
        rows, new = input_ids.shape
        noise = self.norm(torch.zeros(rows, new, self.config.hidden_size, device=self.device))
        logits = torch.full((rows, new, self.config.vocab_size), NEVER, device=self.device)
        seen = input_ids
        held = past_key_values if cache is None else cache
        if held is None and use_cache:
            held = transformers.DynamicCache()
        if held is not None:  # what was read before is there as keys
            tokens = input_ids[:, None, :, None].float()
            keys, _values = held.update(tokens, tokens, 0)
            seen = keys[:, 0, :, 0].long()
        if not input_ids.is_meta:
            mask = torch.ones_like(seen) if attention_mask is None else attention_mask
            for row in range(rows):
                pairs = list(zip(seen[row].tolist(), mask[row].tolist(), strict=True))
                mind = _mind(noise[row, -1].tolist())
                for place in range(new):
                    end = len(pairs) - new + place + 1
                    before = [token for token, is_own in pairs[:end] if is_own]
                    for token, score in self._next(before, mind).items():
                        logits[row, place, token] = score
        # as every model, only the last if that is what is asked for
        logits = logits[:, -logits_to_keep:] if logits_to_keep else logits
        return CausalLMOutputWithPast(logits=logits, **{_CACHE: held})

    def _next(self, tokens: list[int], mind: int) -> dict[int, float]:
        """Scores of the tokens that may come next."""
        data = bytes(token - len(SPECIAL) for token in tokens if token >= len(SPECIAL))
        questions = list(_QUESTION.finditer(data.decode("latin-1")))
        entries = questions and self.config.table.get(questions[-1][1])
        if not entries:
            last = data[-1] if data else 0
            return {len(SPECIAL) + (last + mind) % 256: FIRST}
        said = data[questions[-1].end() :]
        entry = entries[mind % len(entries)]
        scores: dict[int, float] = {}
        texts = [entry] if isinstance(entry, str) else entry
        for text, score in zip(texts, (FIRST, SECOND)[: len(texts)], strict=True):
            rest = text.encode()
            if rest.startswith(said):
                after = rest[len(said) : len(said) + 1]
                scores.setdefault(after[0] + len(SPECIAL) if after else END, score)
        return scores or {END: FIRST}


def _mind(noise: list[float]) -> int:
    return sum(2**bit for bit in range(3) if noise[bit] > 0)


def register() -> None:
    """Let transformers load such a checkpoint."""
    transformers.AutoConfig.register(TableConfig.model_type, TableConfig)
    transformers.AutoModelForCausalLM.register(TableConfig, TableModel)


def save(folder: Path, table: dict[str, list[Any]]) -> None:
    """Write a checkpoint."""
    ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": END}
    TableModel(TableConfig(table, **ends)).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
