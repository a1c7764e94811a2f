"""A stop string in the thoughts ends nothing, however btrans-hf generates."""

from __future__ import annotations

import random

import pytest
import tiny_checkpoint
from engine import PROMPTS, cloned, generation, population_lm
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import postprocess_generated_text
from thinking import CASES, END, LIMIT

from btrans_eval.errors import UserError
from btrans_eval.harness.response import Response
from btrans_eval.model_adapters import thoughts
from btrans_eval.model_adapters.hf.ending import Ending

ENDS = [END, 11]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    return tiny_checkpoint.save(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def tokenizer(checkpoint):
    return population_lm(checkpoint).tokenizer


def ending_of(tokenizer, end, case) -> Ending:
    def decode(tokens, clean):
        return tokenizer.decode(tokens, skip_special_tokens=clean)

    until = [*dict.fromkeys([*case.until, "</s>"])]
    return Ending(decode, until, LIMIT, frozenset({2}), end, "</s>", case.may_think)


# ------------------------------------------------------------------------------ the rule
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_response_of_a_thinking_model(tokenizer, case, end):
    ending = ending_of(tokenizer, end, case)
    tokens = tokenizer.encode(case.said)
    response = ending.response(tokens)
    assert (str(response), response.tokens) == (case.text, case.tokens)
    assert response.truncated == case.truncated
    is_done = ending.watch()
    done = next(n for n in range(1, len(tokens) + 1) if is_done(tokens[:n]) and is_done(tokens[:n]))
    if case.may_think:  # else it is known only at the end that nothing was thought
        by_token = done < LIMIT and tokens[done - 1] == 2
        assert done - by_token == case.tokens


PIECES = [
    "a",
    " ",
    "\n",
    "\n\n",
    "</",
    "think",
    ">",
    "</think>",
    ">\n\n",
    "</s",
    "STOP",
    "ST",
    "OP",
]


@pytest.mark.parametrize(
    "pieces, text, tokens",
    [
        # the white space behind the thoughts is theirs: the harness cuts it away
        (["a", "\n\n", "</think>", "\n\n", "a", "\n\n", "a"], "a", 6),
        (["a", "</think>", "\n", "\n", "a", "a", "\n", "\n"], "aa", 8),
        (["a", "</think>", " ", "\n\n", "\n", "a", "a"], "aa", 7),
        (["</think>", "\n\n", "\n\n"], "", 3),
        # an end of several tokens, with more in the last of them
        (["\n\n", "</", "think", ">", "a", "\n\n"], "a", 6),
        (["\n\n", "</", "think", ">\n\n", "a", "\n\n"], "a", 6),
        (["</", "think", "\n\n", ">", "a", "\n\n"], "</think", 6),  # none
        (["STOP", "</think>", "a", "ST", "OP", "a"], "a", 5),
        (["ST", "</think>", "OP", "a", "ST", "OP", "a"], "OPa", 6),
        (["a", "</think>", "a", "STOP", "</think>", "a"], "a", 4),
        # the end token's text, spelled
        (["a", "\n\n", "a", "</s", ">", "a"], "a", 5),
    ],
    ids=str,
)
def test_text_of_any_pieces(pieces, text, tokens):
    ids = [PIECES.index(piece) for piece in pieces]
    ending = spelled(["\n\n", "STOP", "</s>"])
    response = ending.response(ids)
    assert (str(response), response.tokens, response.truncated) == (text, tokens, False)


def spelled(until, limit=40, end="</think>") -> Ending:
    def decode(tokens, clean):
        return "".join(PIECES[token] for token in tokens)

    return Ending(decode, until, limit, frozenset({99}), end, "</s>")


def has_stopped(text, until, end) -> bool:
    """The rule in as few words as possible."""
    behind = text.split(end, 1)[1].lstrip() if end in text else ""
    return "</s>" in text or any(stop in behind for stop in until)


@pytest.mark.parametrize("end", ["</think>", 7], ids=str)
def test_a_response_is_done_at_the_first_token_that_ends_it(end):
    """Asked token by token, which looks at the last few, and at the whole."""
    chance = random.Random(4)
    seen = set()
    for _ in range(3000):
        until = chance.sample(["\n\n", "STOP", "a\n", "k>"], 2)
        tokens = [chance.randrange(len(PIECES)) for _ in range(24)]
        if isinstance(end, int):  # the whole token, and none of its spellings
            tokens = [0 if PIECES[token] == "think" else token for token in tokens]
        ending = spelled([*until, "</s>"], 24, end)

        def naive(length, tokens=tokens, until=until, ending=ending):
            text = ending.decode(tokens[:length], False)
            return length == 24 or has_stopped(text, until, "</think>")

        slow = next(length for length in range(1, 25) if naive(length))
        is_done = ending.watch()
        assert next(length for length in range(1, 25) if is_done(tokens[:length])) == slow
        response = ending.response(tokens)
        assert response.tokens == slow
        said = ending.decode(tokens[:slow], False)
        assert response == postprocess_generated_text(said, [*until, "</s>"], "</think>")
        assert response.truncated == (not has_stopped(said, until, "</think>"))
        seen.add((slow < 24, "</think>" in said))
    assert seen == {(True, True), (False, True), (False, False), (True, False)}


def test_thoughts_are_not_read_again_for_each_of_their_stop_strings():
    """They may have tens of thousands of tokens, and a line break in every tenth."""
    read = []

    def decode(tokens, clean):
        read.append(len(tokens))
        return "".join(PIECES[token] for token in tokens)

    for end in ("</think>", 7):
        ending = Ending(decode, ["\n\n", "</s>"], 10**6, frozenset({99}), end, "</s>")
        is_done = ending.watch()
        tokens: list = []
        for token in [0, 3] * 500:
            tokens.append(token)
            assert not is_done(tokens)
        assert max(read) < 20
        for token in (7, 3, 0):
            tokens.append(token)
            assert not is_done(tokens)
        assert is_done([*tokens, 3])
        read.clear()


@pytest.mark.parametrize(
    "text, until, end, place",
    [
        ("a STOP b", ["STOP"], None, 6),
        ("a STOP b", ["STOP"], "</t>", None),
        ("a STOP</t> b STOP c", ["STOP"], "</t>", 17),
        ("a </t>\n\nb\n\nc", ["\n\n"], "</t>", 11),
        ("a</t>bcd", ["cd", "bc", ""], "</t>", 7),
        ("a</t>b", [""], "</t>", None),
        ("", ["x"], None, None),
    ],
)
def test_where_the_first_stop_string_that_counts_is_complete(text, until, end, place):
    assert thoughts.stop_place(text, until, end) == place


# ---------------------------------------------------------------------------- generation
GREEDY = {"max_gen_toks": 30, "do_sample": False}
SAMPLED = {"max_gen_toks": 60, "do_sample": True, "temperature": 1.0}
# of what members say greedily, w44 and w62 are the most frequent
REQUESTS = {
    "greedy": ({**GREEDY, "until": ["w6", "w44", "w5 w62"]}, ("w40", 40)),
    "greedy, one": ({**GREEDY, "until": ["w5"]}, ("w62", 62)),
    "greedy, of several words": ({**GREEDY, "until": ["w7 w1", "w62 w5"]}, ("w40", 40)),
    "greedy, an end of several words": ({**GREEDY, "until": ["w5"]}, ("w62 w5",)),
    "sampled": ({**SAMPLED, "until": ["w2", "w31"]}, ("w12", 12, "12")),
    "sampled, across": ({**SAMPLED, "until": ["w4 w", "w13", "w12"]}, ("w12", 12)),
    "sampled, from few": ({**SAMPLED, "until": ["w18", "w3"], "top_k": 4}, ("w44", 44)),
}
ROWS = [(arguments, end) for arguments, ends in REQUESTS.values() for end in ends]
NAMES = [f"{name}, {end!r}" for name, (_, ends) in REQUESTS.items() for end in ends]


def said(lm, arguments, repeats=6) -> list:
    requests = cloned(generation(PROMPTS, arguments, repeats))
    return [(str(text), text.tokens, text.truncated) for text in lm.generate_until(requests)]


def unstopped(checkpoint, monkeypatch, arguments, **own) -> list[list[int]]:
    """All tokens of the same responses, had only the end token and the limit ended them."""
    lm = population_lm(checkpoint, batching="static", **own)
    resolve = lm.engine.generation._resolve
    with monkeypatch.context() as patch:
        patch.setattr(lm.engine.generation, "_resolve", lambda request: ([], *resolve(request)[1:]))
        words = lambda self, tokens, logprobs: Response(" ".join(map(str, tokens)), 0, False)  # noqa: E731
        patch.setattr(Ending, "response", words)
        texts = lm.generate_until(cloned(generation(PROMPTS, arguments, 6)))
    found = [[int(token) for token in text.split()] for text in texts]
    return [each[: each.index(2)] if 2 in each else each for each in found]


def by_the_rule(tokenizer, tokens, arguments, end) -> tuple:
    """Text, tokens and truncation, found by trying every length."""
    word = end if isinstance(end, str) and not end.isdigit() else f"w{end}"
    until, limit = arguments["until"], arguments["max_gen_toks"]

    def is_over(length):
        return has_stopped(tokenizer.decode(tokens[:length]), until, word)

    count = next((n for n in range(1, len(tokens) + 1) if is_over(n)), len(tokens))
    clean = tokenizer.decode(tokens[:count], skip_special_tokens=True)
    text = postprocess_generated_text(clean, until, word)
    return text, count, count == limit and not is_over(count)


@pytest.mark.parametrize("arguments, end", ROWS, ids=NAMES)
def test_every_way_to_generate_follows_the_rule(checkpoint, tokenizer, monkeypatch, arguments, end):
    tokens = unstopped(checkpoint, monkeypatch, arguments, members=6)
    expected = [by_the_rule(tokenizer, each, arguments, end) for each in tokens]
    for batching, size in (("refill", 3), ("static", 8)):
        own = {"batching": batching, "batch_size": size, "think_end_token": end}
        lm = population_lm(checkpoint, members=6, **own)
        assert lm.engine.batching(generation(arguments=arguments)[0]) == batching
        assert said(lm, arguments) == expected
    plain = population_lm(checkpoint, members=6)
    assert said(plain, arguments) != expected, "no stop string stood in the thoughts"


@pytest.mark.parametrize("end", ["w12", 12])
def test_samples_of_the_stock_model_follow_the_rule(checkpoint, tokenizer, monkeypatch, end):
    arguments = REQUESTS["sampled"][0]
    own = {"sigma": 0.0, "members": 6}
    tokens = unstopped(checkpoint, monkeypatch, arguments, **own)
    expected = [by_the_rule(tokenizer, each, arguments, end) for each in tokens]
    for batching in ("refill", "static"):
        lm = population_lm(checkpoint, batching=batching, think_end_token=end, **own)
        assert said(lm, arguments) == expected


def test_a_static_batch_ends_when_all_of_its_rows_are_done(checkpoint):
    """Each by a stop string of its own: not at the limit, as the harness's batches then do."""
    untils = {0.0: ("w44", ["w3", "w6", "w30"]), 0.5: ("w40", ["w62 w5", "w10 w", "w7 w62"])}
    for sigma, (end, until) in untils.items():
        own = {"sigma": sigma, "members": 1, "think_end_token": end}
        lm, passes = population_lm(checkpoint, batching="static", **own), []
        hook = lm.model.register_forward_pre_hook(lambda *_, passes=passes: passes.append(1))
        texts = said(lm, {**GREEDY, "until": until, "max_gen_toks": 90}, 1)
        hook.remove()
        assert len(passes) == max(tokens for _, tokens, _ in texts) < 20
        assert len({tokens for _, tokens, _ in texts}) > 2


# ------------------------------------------------------------------- without noise: stock
def stock_and_ours(checkpoint, arguments, end, prompts=PROMPTS, batch_size=4):
    stock = HFLM(checkpoint, device="cpu", batch_size=batch_size, think_end_token=end)
    ours = population_lm(checkpoint, sigma=0.0, batch_size=batch_size, think_end_token=end)
    requests = generation(prompts, arguments)
    return stock.generate_until(requests), [str(text) for text in ours.generate_until(requests)]


# what the model says greedily to PROMPTS begins with
#   w5 w62 w5 w40 w8 w47 w44 w3 w19 w3 w19 …
#   w47 w44 w3 w19 w18 w18 …
#   w63 w6 w42 w15 w62 w4 w44 w6 w42 w40 w22 w35 …
#   w29 w51 w30 w4 w56 w6 w42 w40 w8 w47 w44 w30 w4 w44 w30 w19 w3 w19 …
@pytest.mark.parametrize("end", ["w44", 44])
@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize(
    "until", [["w19"], ["w3 w19", "w40 w22"], ["w19 w3", "w35", "w18 w18"], ["w99"]], ids=str
)
def test_without_a_stop_string_in_the_thoughts_it_is_the_stock_model(
    checkpoint, until, batch_size, end
):
    stock, ours = stock_and_ours(checkpoint, {**GREEDY, "until": until}, end, PROMPTS, batch_size)
    assert ours == stock and not any("w44" in text for text in ours)


@pytest.mark.parametrize("end", ["w44", 44])
@pytest.mark.parametrize(
    "prompt, until, stock_says, says",
    [
        (PROMPTS[0], ["w40", "w19"], "w5 w62 w5 ", "w3 "),
        (PROMPTS[0], ["w62 w5", "w19 w3"], "w5 ", "w3 "),
        (PROMPTS[1], ["w47", "w18 w18"], "", "w3 w19 "),
        (PROMPTS[2], ["w42"], "w63 w6 ", "w6 "),
        (PROMPTS[3], ["w56 w6", "w30"], "w29 w51 ", ""),
    ],
    ids=str,
)
def test_a_stop_string_in_the_thoughts_is_where_it_departs_from_the_stock_model(
    checkpoint, prompt, until, stock_says, says, end
):
    stock, ours = stock_and_ours(checkpoint, {**GREEDY, "until": until}, end, [prompt])
    assert (stock, ours) == ([stock_says], [says])


def test_a_penalty_is_the_stock_models(checkpoint):
    """Which counts padding, too, as what was said; members do not."""
    until = ["w19 w3", "w22"]
    arguments = {**GREEDY, "until": until, "repetition_penalty": 1.05, "max_gen_toks": 13}
    for end in ("w44", None):
        stock, ours = stock_and_ours(checkpoint, arguments, end)
        assert ours == stock and len(set(ours)) == 4


@pytest.mark.parametrize(
    "end, until", [("w44", []), (44, ["</s>"]), (None, ["w19"]), ("", ["w19"])], ids=str
)
def test_without_thoughts_or_stop_strings_it_is_the_harnesss_own_way(
    checkpoint, monkeypatch, end, until
):
    lm = population_lm(checkpoint, sigma=0.0, think_end_token=end)
    given = []
    generate = lm.model.generate
    monkeypatch.setattr(lm.model, "generate", lambda **own: given.append(own) or generate(**own))
    stock = HFLM(checkpoint, device="cpu", batch_size=4, think_end_token=end)
    requests = generation(arguments={**GREEDY, "until": until})
    assert lm.generate_until(requests) == stock.generate_until(requests)
    assert given and not any("custom_generate" in own for own in given)
    assert {len(own["stopping_criteria"]) for own in given} == {len({*until, "</s>"})}


def test_a_checkpoint_that_searches_with_beams_is_refused_where_it_cannot_wait(checkpoint):
    lm = population_lm(checkpoint, sigma=0.0, think_end_token="w44")
    lm.model.generation_config.num_beams = 2
    with pytest.raises(UserError, match="think_end_token: .* config asks for beam_search"):
        lm.generate_until(generation(arguments={**GREEDY, "until": ["w19"]}))
    lm.generate_until(generation(arguments={**GREEDY, "until": []}))


# --------------------------------------------------------------------------- the end token
@pytest.mark.parametrize("end", ["<s>", "w5 <s>", "<pad>"])
def test_an_end_that_texts_leave_out_is_refused(checkpoint, end):
    number = {"<s>": 1, "<pad>": 0}[end.split()[-1]]
    with pytest.raises(UserError, match=f"think_end_token: .*think_end_token={number}"):
        population_lm(checkpoint, think_end_token=end)
    population_lm(checkpoint, think_end_token=number)


# ------------------------------------------------------------------------------- the store
def test_what_was_stored_by_the_old_rule_is_generated_anew(checkpoint, tmp_path, monkeypatch):
    path = str(tmp_path / "s.sqlite")
    arguments = REQUESTS["greedy"][0]
    for end, again in (("w40", 12), (40, 12), (None, 0), ("", 0)):
        own = {"members": 3, "store": path, "think_end_token": end}
        with monkeypatch.context() as patch:
            patch.setattr(thoughts, "fact", lambda end, may_think: end)
            said(population_lm(checkpoint, **own), arguments, 3)
        lm, rows = population_lm(checkpoint, **own), []
        flow = lm.engine.generation.flow
        monkeypatch.setattr(
            lm.engine.generation,
            "flow",
            lambda new, order, rows=rows, flow=flow: rows.extend(new) or flow(new, order),
        )
        texts = said(lm, arguments, 3)
        assert len(rows) == again
        assert said(lm, arguments, 3) == texts and len(rows) == again


def test_whether_thinking_is_on_is_part_of_the_key(checkpoint):
    facts = [
        population_lm(checkpoint, think_end_token="w40", enable_thinking=on).engine.facts()
        for on in (None, True, False)
    ]
    assert facts[0] == facts[1] != facts[2]
    assert (
        population_lm(checkpoint, enable_thinking=False).engine.facts()["think_end_token"] is None
    )
