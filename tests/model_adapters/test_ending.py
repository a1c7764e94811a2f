"""A row is done at the token with which its text first holds a stop string."""

from __future__ import annotations

import random

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from btrans_eval.model_adapters.hf.ending import Ending
from btrans_eval.model_adapters.thoughts import stop_place

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())


def byte_level():
    """One token for each byte, and a few for several: characters are spread over tokens."""
    vocabulary = {text: number for number, text in enumerate([*BYTES, "ab", "abc", "Ġa", "ĊĊ"])}
    merges = [("a", "b"), ("ab", "c"), ("Ġ", "a"), ("Ċ", "Ċ")]
    made = Tokenizer(models.BPE(vocabulary, merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return made


def metaspace():
    """Words that carry the space before them, which is lost where a text begins."""
    words = ["▁", "▁a", "a", "b", "▁b", ".", "▁.", "\n", "Q:", "▁Q", ":", "é", "▁é"]
    made = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="a"))
    made.decoder = decoders.Metaspace()
    return made


def sentencepiece():
    """Words as Llama 2 has them: bytes for what is no word, and a first space that is cut."""
    words = ["▁", "▁▁", "▁a", "a", "b", "▁b", ".", "<0x0A>", "Q:", "▁Q", ":", "<0xC3>", "<0xA9>"]
    made = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="a"))
    made.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
        decoders.Strip(" ", 1, 0),
    ])  # fmt: skip
    return made


def wordpiece():
    """Words between which the decoder puts spaces, but not before what goes on."""
    words = ["a", "##a", "b", "##b", ".", "q", ":", "##\n", "\n"]
    made = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="a"))
    made.decoder = decoders.WordPiece()
    return made


@pytest.mark.parametrize("make", [byte_level, metaspace, sentencepiece, wordpiece])
def test_is_done_where_the_whole_text_first_holds_a_stop_string(make):
    tokenizer, chosen = make(), random.Random(0)
    if make is byte_level:
        pieces = [tokenizer.encode(text).ids for text in "abc| a|\n\n|é|日|Q:|. |.|b|🙂".split("|")]
    else:
        pieces = [[token] for token in range(tokenizer.get_vocab_size())]

    def decode(tokens, clean):
        return tokenizer.decode(tokens, skip_special_tokens=clean)

    stopped = 0
    for _ in range(400):
        tokens = [token for _ in range(12) for token in chosen.choice(pieces)]
        said = decode(tokens, False)
        until = []
        for _ in range(chosen.randint(1, 3)):
            start = chosen.randrange(len(said))
            until.append(said[start : start + chosen.randint(1, 4)])
        if any("\ufffd" in text for text in until):  # broken characters: nobody stops at them
            continue
        ending = Ending(decode, until, len(tokens) + 1, frozenset(), None)
        is_done = ending.watch()
        for count in range(1, len(tokens) + 1):
            expected = stop_place(decode(tokens[:count], False), until) is not None
            assert is_done(tokens[:count]) == expected, (tokens, count, until)
            if expected:
                stopped += 1
                break
    assert stopped > 150
