"""A response without its thoughts and special tokens, whatever tags the model was taught."""

from __future__ import annotations

import re

_NAMES = (
    r"(?:seed:|longcat_)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|scratchpad|reflection|analysis"
    r"|inner_(?:thoughts?|monologue)|cot)"
)
# (what opens thoughts, what ends them); models whose prompt opens them write only the second
_TAGS = (
    (rf"<{_NAMES}(?:\s[^<>]*)?>", rf"</{_NAMES}\s*>"),
    (r"\[THINK\]", r"\[/THINK\]"),  # Magistral
    (r"◁think▷", r"◁/think▷"),  # Kimi
    # gpt-oss; the second is what is left of it without special tokens
    (
        r"<\|channel\|>\s*(?:analysis|commentary)\b[^<]*<\|message\|>",
        r"<\|end\|>(?:\s*<\|start\|>\s*assistant)?(?:\s*<\|channel\|>\s*final\s*<\|message\|>)?"
        r"|<\|channel\|>\s*final\s*<\|message\|>",
    ),
    (r"\A\s*analysis(?=[A-Z])", r"assistantfinal"),
    (r"<\|channel>\s*thought\b", r"<channel\|>"),  # Gemma
    (r"<\|start_thinking\|>", r"<\|end_thinking\|>"),  # Command A
    (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),  # OpenThinker
    (r"<\|inner_prefix\|>", r"<\|inner_suffix\|>"),  # Apertus
    (r"<unused94>\s*thought\b", r"<unused95>"),  # MedGemma
)
_TAG = re.compile(
    "|".join(
        f"(?P<open{number}>{opening})|(?P<close{number}>{closing})"
        for number, (opening, closing) in enumerate(_TAGS)
    ),
    re.I,
)
# Granite's words are those of other models too: thoughts only where both are there
_GRANITE = re.compile(
    r"\A\s*here(?: is|'s) my thought process:.*?\n\s*\W*here(?: is|'s) my response:", re.I | re.S
)
_BOX = re.compile(r"<\|begin_of_box\|>(.*?)<\|end_of_box\|>", re.S)  # GLM
_END = re.compile(
    r"<\|(?:[^<>|\s]*(?:end|eot|eos|eom|stop)[^<>|\s]*|return|call)\|>"
    r"|</s>|<end_of_turn>|<eos>|<turn\|>|<eod>|<\|(?:im_start|start_header_id)\|>\s*user",
    re.I,
)
_SPECIAL = re.compile(
    r"<\|[^<>|\s]{1,40}\|>|<s>|<bos>|<pad>|<unk>|\[/?INST\]|<start_of_turn>(?:model|user)?", re.I
)


def visible(text: str) -> str:
    """What a model shows of its response: no thoughts, closed or open, and no special tokens.

    What stands before tags that only close is thought, too, since the prompt may have opened it.
    The first token that ends a turn ends the response.
    """
    text = _BOX.sub(r"\\boxed{\1}", _without_thoughts(_GRANITE.sub("", text)))
    shown = ""
    for part in _END.split(text):
        shown = _SPECIAL.sub(" ", part)
        if shown.strip():
            break
    return shown


def _kind(tag: re.Match[str]) -> str:
    """What a tag and its partner have in common."""
    number = re.sub("open|close", "", str(tag.lastgroup))
    return re.sub(r"\s.*|\W", "", tag[0].lower()) if number == "0" else number


def _without_thoughts(text: str) -> str:
    shown: list[str] = []
    thinks: str | None = None  # kind of the tag that opened thoughts
    start = 0
    for tag in _TAG.finditer(text):
        if str(tag.lastgroup).startswith("open"):
            if thinks is None:
                shown.append(text[start : tag.start()])
                thinks = _kind(tag)
        elif thinks is None:
            if tag[0].lower() == "<|end|>":  # of a turn, as other models write it
                continue
            shown.clear()
        elif _kind(tag) != thinks:
            continue
        else:
            thinks = None
        start = tag.end()
    return "".join(shown) + (text[start:] if thinks is None else "")
