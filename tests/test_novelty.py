"""NoveltyBench's models, with tiny ones in their place, against one pair and one text at a time."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

from btrans_eval import novelty
from btrans_eval.errors import UserError

SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
WORDS = [f"w{number}" for number in range(60)]
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }} {{ message['content'] }} {% endfor %}"
)


def tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: n for n, word in enumerate([*SPECIAL, *WORDS, "user", "assistant"])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        unk_token="[UNK]", chat_template=TEMPLATE,
    )  # fmt: skip


def classifier(folder: Path, labels: int = 2, types: int = 0) -> str:
    torch.manual_seed(3)
    config = DebertaV2Config(
        vocab_size=70, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=24, max_position_embeddings=300, relative_attention=True,
        position_buckets=8, pos_att_type=["p2c", "c2p"], type_vocab_size=types,
        num_labels=labels, pad_token_id=0, position_biased_input=False,
        initializer_range=0.3,
    )  # fmt: skip
    model = DebertaV2ForSequenceClassification(config)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return str(folder)


def reward_model(folder: Path) -> str:
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=70, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=24, num_labels=1, pad_token_id=0,
    )  # fmt: skip
    LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return str(folder)


def text(draw: random.Random, most: int = 200) -> str:
    return " ".join(draw.choices(WORDS, k=draw.randint(0, most)))


@pytest.mark.parametrize("types", [0, 2])
def test_verdicts_are_those_of_one_pair_at_a_time(tmp_path: Path, types: int) -> None:
    name = classifier(tmp_path / "model", types=types)
    draw = random.Random(1)
    pairs = [(text(draw), text(draw)) for _ in range(70)]
    reader = AutoTokenizer.from_pretrained(name)
    model = AutoModelForSequenceClassification.from_pretrained(name, dtype=torch.float32).eval()
    margins = []
    for one, other in pairs:
        first, second = (
            reader.encode(each, add_special_tokens=False)[:128] for each in (one, other)
        )
        ids = [1, *first, 2, *second, 2]
        kinds = [0] * (len(first) + 2) + [1] * (len(second) + 1)
        with torch.no_grad():
            given = {"input_ids": torch.tensor([ids]), "token_type_ids": torch.tensor([kinds])}
            unlike, like = model(**given).logits[0].tolist()
        margins.append(like - unlike)
    ranked = sorted(margins)[20:50]  # the widest gap, so that no rounding could turn a verdict
    width, low = max((b - a, a) for a, b in zip(ranked, ranked[1:], strict=False))
    middle = low + width / 2
    with torch.no_grad():  # a third of the pairs or more on each side of the threshold
        model.classifier.bias[1] += math.log(0.102 / 0.898) - middle
    model.save_pretrained(name)
    assert width > 1e-4
    expected = [margin > middle for margin in margins]
    assert 20 <= sum(expected) <= 50
    assert novelty.alike(pairs, name) == expected
    assert novelty.alike(pairs[::-1], name) == expected[::-1]


def test_rewards_are_those_of_one_conversation_at_a_time(tmp_path: Path) -> None:
    name = reward_model(tmp_path / "model")
    draw = random.Random(2)
    texts = [text(draw, 20) for _ in range(5)]
    reader = AutoTokenizer.from_pretrained(name)
    model = AutoModelForSequenceClassification.from_pretrained(name, dtype=torch.bfloat16).eval()
    for said, found in zip(texts, novelty.rewards("w1 w2", texts, name), strict=True):
        ids = reader.encode(f"user w1 w2 assistant {said}", return_tensors="pt")
        with torch.no_grad():
            expected = float(model(input_ids=ids).logits[0, 0])
        assert found == pytest.approx(expected, abs=0.02)  # bfloat16
    assert len(set(novelty.rewards("w1 w2", texts, name))) > 1


def test_a_model_of_other_labels_is_refused(tmp_path: Path) -> None:
    name = classifier(tmp_path / "three", labels=3)
    with pytest.raises(UserError, match="partition: needs a model of 2 labels, but .* has 3"):
        novelty.alike([("w1", "w2")], name)


def test_a_tokenizer_that_lost_its_words_is_not_used(tmp_path: Path) -> None:
    """As transformers reads DeBERTa-v3's where sentencepiece is not installed."""
    name = classifier(tmp_path / "model")
    made = Tokenizer(models.WordLevel({word: n for n, word in enumerate(SPECIAL)}, "[UNK]"))
    PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(name)
    with pytest.raises(novelty.NotAtHand, match="read as 4 tokens.*70.*pip install sentencepiece"):
        novelty.alike([("w1", "w2")], name)


def test_what_is_missing_is_named_with_the_way_to_get_it(monkeypatch) -> None:
    monkeypatch.setattr(novelty, "CLASSIFIER", "nobody/classifier")
    monkeypatch.setattr(novelty, "TOKENIZER", "nobody/tokenizer")
    monkeypatch.setattr(novelty, "REWARD", "nobody/reward")
    expected = (
        "partition: nobody/classifier is not on this machine; to have it: "
        "hf download nobody/classifier && hf download nobody/tokenizer"
    )
    for call in (
        lambda: novelty.check_classifier("novelty-bench"),
        lambda: novelty.alike([("a", "b")]),
    ):
        with pytest.raises(novelty.NotAtHand) as caught:
            call()
        assert str(caught.value) == expected
    with pytest.raises(novelty.NotAtHand, match="reward: nobody/reward .* hf download nobody/rew"):
        novelty.rewards("a", ["b"])


def test_the_published_names_and_numbers() -> None:
    assert novelty.describe_classifier("novelty-bench") == {
        "classifier": "yimingzhang/deberta-v3-large-generation-similarity",
        "tokenizer": "microsoft/deberta-v3-large",
        "threshold": 0.102,
        "max_length": 128,
    }
    described = novelty.describe_reward("novelty-bench")
    assert described["reward_model"] == "Skywork/Skywork-Reward-Gemma-2-27B-v0.2"
    assert novelty.describe_classifier("mine")["tokenizer"] == "mine"
