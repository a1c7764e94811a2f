"""Thoughts are not answers, whatever the tag; each expected value was decided before running it."""

from __future__ import annotations

import pytest

from btrans_eval.answers.extract import extract
from btrans_eval.answers.thoughts import visible
from btrans_eval.config import EXTRACTORS

# as today's open models write them: what opens, what ends
TAGS = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<scratchpad>", "</scratchpad>"),
    ("<seed:think>", "</seed:think>"),
    ("<longcat_think>", "</longcat_think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("<|channel|>commentary to=user<|message|>", "<|channel|>final<|message|>"),
    ("<|channel>thought\n", "<channel|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<unused94>thought\n", "<unused95>"),
]
STATES = {
    "letter": ("The answer is (A).", "The answer is (B).", "B"),
    "integer": ("\\boxed{7}", "\\boxed{8}", "8"),
    "number": ("The answer is 7.", "The answer is 8.", "8"),
    "latex": ("\\boxed{x}", "\\boxed{y}", "y"),
    "text": ("Rome", "Paris", "paris"),
}


@pytest.mark.parametrize("kind", EXTRACTORS)
@pytest.mark.parametrize(("opening", "ending"), TAGS, ids=[tag for tag, _ in TAGS])
def test_what_is_thought_is_no_answer(opening: str, ending: str, kind: str) -> None:
    thought, said, answer = STATES[kind]
    for tag, end in ((opening, ending), (opening.upper(), ending.upper())):
        assert extract(f"{tag}{thought}{end}{said}", kind) == answer
        assert extract(f"{tag}\n{thought}\n{end}\n\n{said}", kind) == answer
        assert extract(f"{thought}{end}{said}", kind) == answer  # the prompt opened it
        assert extract(f"{tag}{thought}{end}{tag}{thought}{end}{said}", kind) == answer
        assert extract(f"{tag}{said}", kind) is None
        assert extract(f"{tag}{said}{tag}{said}", kind) is None
        assert extract(f"{tag}{said}{end}", kind) is None
    assert extract(f"{said}\n{opening}{thought}", kind) == answer


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<think>a<think>7</think>b</think>8", "8"),
        ("<think>use <thinking>x</thinking> tags: 7", ""),
        ("<think>use [THINK]x[/THINK] 7</think>8", "8"),
        ("a <think>b</think> c", "a  c"),
        ("analysisWe need 7assistantfinalIt is 8", "It is 8"),
        ("analysisWe need 7", ""),
        ("analysis of 7 cases", "analysis of 7 cases"),
        ("Here is my thought process: 7\n\nHere is my response: 8", " 8"),
        ("Here is my thought process: it is 8", "Here is my thought process: it is 8"),
        ("<|begin_of_box|>5<|end_of_box|>", "\\boxed{5}"),
        ("think of 7", "think of 7"),
        ("if x < think > y", "if x < think > y"),
        ("", ""),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


END_TOKENS = [
    *("<|im_end|>", "</s>", "<|eot_id|>", "<|end_of_text|>", "<|endoftext|>", "<end_of_turn>"),
    *(
        "<|end|>",
        "<|return|>",
        "<|eom_id|>",
        "<|END_OF_TURN_TOKEN|>",
        "<eos>",
        "<|eos|>",
        "<turn|>",
    ),
    "<｜end▁of▁sentence｜>",
]


@pytest.mark.parametrize("token", END_TOKENS)
def test_special_tokens_are_no_part_and_end_the_response(token: str) -> None:
    for kind, (other, said, answer) in STATES.items():
        assert extract(said + token, kind) == answer
        assert extract(f"{said}{token}\n{token}", kind) == answer
        assert extract(f"{token}{said}", kind) == answer
        assert extract(f"{said}{token}\nuser\n{other}", kind) == answer
        assert extract(f"<s>{said}{token}<pad><pad>", kind) == answer
