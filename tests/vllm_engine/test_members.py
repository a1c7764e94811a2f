"""btrans-vllm on a small model: the members of btrans-hf, each in a cache of its own."""

from __future__ import annotations

import random
import types

import pytest
import small_checkpoints
import transformers
from engine import PROMPTS, cloned, generation, instance, population_lm
from likelihoods import teacher_forced
from thinking import CASES, END, LIMIT
from vllm_lm import become, close, said, vllm_lm, words

from btrans_eval.config import PopulationConfig
from btrans_eval.errors import UserError
from btrans_eval.model_adapters.vllm.stock import StockVLLM

GREEDY = {"until": ["w9", "w13 w56"], "max_gen_toks": 16, "do_sample": False}
SAMPLED = {"until": [], "max_gen_toks": 8, "do_sample": True, "temperature": 1.0}
# none is fed as another is: the harness's `hf` reads those at the places of the longest of them
PAIRS = [("w5 w6", " w7 w8"), ("w5 w6 w8", " w9"), ("w11", " w12 w13 w14"), ("w5 w6", " w40")]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    return small_checkpoints.save(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def engine(checkpoint):
    lm = vllm_lm(checkpoint)
    yield lm
    close(lm)


@pytest.fixture
def lm(engine):
    become(engine)
    return engine


def hf_of(lm, checkpoint, **arguments):
    """btrans-hf with the same population."""
    other = population_lm(checkpoint, **{"dtype": "float32", "max_length": 256, **arguments})
    other.become(lm.population_config, None)
    return other


def scored(kind, texts):
    return [instance(kind, text, place) for place, text in enumerate(texts)]


@pytest.mark.parametrize(
    "own",
    [
        {},
        {"prior": "scaled", "sigma": 0.3, "seed": 4},
        {"norms": "residual", "mu": 0.05},
        {"norms": r"layers\.1\.post", "sigma": 0.5},
    ],
)
def test_members_are_those_of_btrans_hf(lm, checkpoint, own):
    become(lm, **own)
    other = hf_of(lm, checkpoint)
    assert lm.runner.population.digest() == other.runner.population.digest()
    assert said(lm, PROMPTS, GREEDY) == said(other, PROMPTS, GREEDY)
    requests = scored("loglikelihood", PAIRS)
    for (value, greedy), (expected, other_greedy) in zip(
        lm.loglikelihood(requests), other.loglikelihood(requests), strict=True
    ):
        assert value == pytest.approx(expected, abs=1e-4) and greedy == other_greedy
    documents = scored("loglikelihood_rolling", [(" ".join(PROMPTS),), ("w3 " * 300,)])
    ours = lm.loglikelihood_rolling(documents)
    # of what does not fit, the harness's vLLM makes windows that are two tokens shorter
    shorter = hf_of(lm, checkpoint, max_length=254)
    assert ours == pytest.approx(shorter.loglikelihood_rolling(documents), rel=1e-5)
    assert ours[:1] == pytest.approx(other.loglikelihood_rolling(documents[:1]), rel=1e-5)


def test_members_differ_and_end_in_different_ways(lm):
    """Else the test above would compare little."""
    texts = said(lm, PROMPTS, GREEDY)
    assert len({text for text, _, _ in texts}) > 8
    assert {truncated for _, _, truncated in texts} == {True, False}


@pytest.mark.parametrize("end", [None, "w44"], ids=str)
def test_log_probabilities_are_those_of_btrans_hf(lm, checkpoint, monkeypatch, end):
    """With end tokens, stop strings and limits; the stop strings of a thinking model wait."""
    monkeypatch.setattr(lm, "think_end_token", end)
    other = hf_of(lm, checkpoint, **({"think_end_token": end} if end else {}))
    requests = generation(PROMPTS, GREEDY, 3)
    texts, expected = (each.generate_until(cloned(requests)) for each in (lm, other))
    assert [text.tokens for text in texts] == [text.tokens for text in expected]
    for text, same in zip(texts, expected, strict=True):
        assert (text.mean_logprob is None) == (same.mean_logprob is None) == (text.tokens == 0)
        if text.tokens:
            assert text.mean_logprob == pytest.approx(same.mean_logprob, abs=1e-4)
    assert len({text.mean_logprob for text in texts}) > 6


@pytest.mark.parametrize(
    "own",
    [{}, {"temperature": 0.5, "top_k": 7}, {"top_p": 0.6}, {"repetition_penalty": 1.5}],
    ids=str,
)
def test_log_probabilities_are_of_what_the_member_says_and_not_of_what_is_drawn_from(
    lm, checkpoint, monkeypatch, own
):
    """Temperature 1, before penalties, top-k and top-p, as one pass of btrans-hf has it."""
    other, tokens_of = hf_of(lm, checkpoint), {}
    make = lm.engine.generation._response

    def noted(output, until):
        response = make(output, until)
        tokens_of[id(response)] = list(output.token_ids)[: response.tokens]
        return response

    monkeypatch.setattr(lm.engine.generation, "_response", noted)
    texts = lm.generate_until(cloned(generation(PROMPTS, {**SAMPLED, **own}, 3)))
    draws = [(prompt, member) for prompt in PROMPTS for member in range(3)]
    for (prompt, member), text in zip(draws, texts, strict=True):
        tokens = tokens_of[id(text)]
        expected = teacher_forced(other, prompt, member, tokens)
        if tokens:
            mean = sum(expected) / len(expected)
            assert text.mean_logprob == pytest.approx(mean, abs=1e-4)
        else:
            assert text.mean_logprob is None


def test_log_probabilities_are_stored(lm, tmp_path):
    values = []
    for _ in range(2):
        become(lm, store=str(tmp_path / "responses.sqlite"))
        texts = lm.generate_until(cloned(generation(PROMPTS, SAMPLED, 3)))
        values.append([text.mean_logprob for text in texts])
    assert values[0] == values[1] and any(values[0])


def test_a_bias_is_added_once(lm, checkpoint):
    """A bias in the last layer alone: what it does to loglikelihoods, against twice of it."""
    requests = scored("loglikelihood", PAIRS)
    values = {}
    for mu in (0.4, 0.8):
        become(lm, sigma=0.0, mu=mu, norms=r"^model\.norm$", members=1)
        values[mu] = [value for value, _ in lm.loglikelihood(requests)]
        expected = hf_of(lm, checkpoint).loglikelihood(requests)
        assert values[mu] == pytest.approx([value for value, _ in expected], abs=1e-4)
    assert values[0.4] != pytest.approx(values[0.8], abs=1e-2)


def test_the_vote_of_a_task_that_wants_one_response(lm, checkpoint, tmp_path):
    other = hf_of(lm, checkpoint)
    requests = generation(PROMPTS, GREEDY)
    ours = [words(text) for text in lm.generate_until(requests)]
    assert ours == [words(text) for text in other.generate_until(requests)]


# ------------------------------------------------------------------------- caches
LONG = [" ".join(f"w{3 + (5 * place + turn) % 60}" for place in range(200)) for turn in range(4)]


def test_no_response_comes_from_another_members_cache(lm, checkpoint, monkeypatch):
    """What separates members is taken away, and must then be missed; either half suffices.

    Of members in turns; of those that share batches, in `test_mixed`.
    """
    become(lm, scheduling="member")
    arguments = {**GREEDY, "max_gen_toks": 8}
    expected = said(hf_of(lm, checkpoint), LONG, arguments)
    assert said(lm, LONG, arguments) == expected
    engines, hold = lm.engine._engines, lm._noise.hold

    def unsalted(population, member):
        hold(population, member)
        return "the same for all"

    with monkeypatch.context() as patch:
        patch.setattr(engines, "forget", lambda: None)
        become(lm, scheduling="member")
        assert said(lm, LONG, arguments) == expected, "salts alone"
    with monkeypatch.context() as patch:
        patch.setattr(lm._noise, "hold", unsalted)
        become(lm, scheduling="member")
        assert said(lm, LONG, arguments) == expected, "emptied caches alone"
        patch.setattr(engines, "forget", lambda: None)
        assert said(lm, LONG, arguments) != expected, "this test sees no cache at all"
    engines.forget()


def test_members_are_not_changed_while_a_request_runs(lm):
    from vllm import SamplingParams, TokensPrompt

    prompt = TokensPrompt(prompt_token_ids=[5] * 200)
    lm.model.enqueue([prompt], SamplingParams(max_tokens=50, ignore_eos=True), use_tqdm=False)
    lm.model.llm_engine.step()
    try:
        with pytest.raises(RuntimeError, match="did not empty its prefix cache"):
            lm._noise.hold(lm.runner.population, 2)
    finally:
        lm.model.wait_for_completion(use_tqdm=False)
    assert lm._noise.hold(lm.runner.population, 2).endswith(":0:2")


# ------------------------------------------------------------------------ sampling
def test_a_sample_depends_on_nothing_around_it(lm, monkeypatch):
    def by_draw(requests):
        found: dict = {}
        for request, text in zip(requests, lm.generate_until(requests), strict=True):
            found.setdefault(request.args[0], []).append(str(text))
        return found

    requests = cloned(generation(PROMPTS, SAMPLED, 6))  # 3 members, 2 samples each
    together = by_draw(requests)
    assert len({text for texts in together.values() for text in texts}) > 20
    shuffled = list(generation(PROMPTS, SAMPLED, 6))
    random.Random(1).shuffle(shuffled)
    assert by_draw(cloned(shuffled)) == together
    assert by_draw(cloned(generation(PROMPTS[1:2], SAMPLED, 6)))["w8"] == together["w8"]
    monkeypatch.setattr(lm.engine.generation, "_rows_at_once", 1)
    assert by_draw(requests) == together
    become(lm, seed=1)
    assert by_draw(requests) != together
    become(lm)
    other = {**SAMPLED, "seed": 5}
    assert by_draw(cloned(generation(PROMPTS, other, 6))) != together


def test_more_prompts_are_sampled_than_vllm_reads_at_once(lm):
    """On CPUs vLLM fails on a seeded response whose prompt it reads in pieces."""
    become(lm, members=1)
    prompts = [
        " ".join(f"w{3 + (place * step) % 60}" for step in range(180)) for place in range(90)
    ]
    texts = lm.generate_until(generation(prompts, {**SAMPLED, "max_gen_toks": 2}))
    assert len(texts) == 90


def test_members_without_temperature_are_greedy(lm):
    """The harness leaves the temperature out where a task does not sample; vLLM's own is 1."""
    silent = {"until": [], "max_gen_toks": 8}
    assert said(lm, PROMPTS, silent) == said(lm, PROMPTS, {**silent, "do_sample": False})


# --------------------------------------------------------------------------- store
class Stop(Exception):
    pass


@pytest.mark.parametrize("arguments", [GREEDY, SAMPLED])
def test_a_killed_run_generates_what_is_missing_and_says_the_same(
    lm, tmp_path, monkeypatch, arguments
):
    whole = said(lm, PROMPTS, arguments)
    become(lm, store=str(tmp_path / "responses.sqlite"))
    monkeypatch.setattr(lm.engine.generation, "_rows_at_once", 2)
    generate, generated = lm.engine._engines.generate, []

    def stops(prompts, parameters, adapter):
        if len(generated) >= 6:
            raise Stop
        generated.extend(prompts)
        return generate(prompts, parameters, adapter)

    monkeypatch.setattr(lm.engine._engines, "generate", stops)
    with pytest.raises(Stop):
        said(lm, PROMPTS, arguments)
    monkeypatch.setattr(
        lm.engine._engines, "generate", lambda *each: generated.extend(each[0]) or generate(*each)
    )
    assert said(lm, PROMPTS, arguments) == whole
    assert len(generated) == 12
    assert said(lm, PROMPTS, arguments) == whole and len(generated) == 12


def test_members_loglikelihoods_are_stored(lm, tmp_path, monkeypatch):
    become(lm, store=str(tmp_path / "scores.sqlite"))
    first = lm.loglikelihood(scored("loglikelihood", PAIRS))
    monkeypatch.setattr(lm.engine._engines, "generate", lambda *each: pytest.fail("scored again"))
    assert lm.loglikelihood(scored("loglikelihood", PAIRS)) == first


def test_what_is_stored_names_the_engine_and_its_weights(lm):
    facts = lm.engine.facts()
    assert facts["engine"].startswith("vllm 0.32.") and len(facts["model"]) == 2
    assert facts["dtype"] == "torch.float32" and facts["seeds"] == 1


@pytest.mark.parametrize(
    "name, change",
    [
        ("transformers", lambda lm, patch, _: patch.setattr(transformers, "__version__", "9.9.1")),
        ("switches", lambda lm, patch, _: patch.setenv("VLLM_USE_V2_MODEL_RUNNER", "0")),
        ("adapter", lambda lm, patch, folder: patch.setattr(lm.engine, "_adapter", folder)),
        ("think_end_token", lambda lm, patch, _: patch.setattr(lm, "think_end_token", "w9")),
        ("max_length", lambda lm, patch, _: patch.setattr(lm, "_max_length", 99)),
        ("arguments", lambda lm, patch, _: patch.setitem(lm.model_args, "block_size", 8)),
        ("truncation_side", lambda lm, patch, _: patch.setattr(lm, "truncation_side", "right")),
    ],
)
def test_what_responses_depend_on_is_part_of_their_key(lm, monkeypatch, tmp_path, name, change):
    before = lm.engine.facts()
    change(lm, monkeypatch, str(tmp_path))
    after = lm.engine.facts()
    assert [key for key in before if before[key] != after[key]] == [name]


def test_a_response_cut_while_thinking_is_truncated(lm, monkeypatch):
    """Whatever stop strings the thoughts hold."""
    monkeypatch.setattr(lm, "think_end_token", "</think>")
    for text, reason, truncated in [
        ("thought\n\nmore", "length", True),
        ("thought\n\nmore</think>said\n\nmore", "length", False),  # ended by its stop string
        ("thought</think>said", "length", True),
        ("thought</think>said", "stop", False),
    ]:
        output = types.SimpleNamespace(
            text=text, token_ids=[5, 6], finish_reason=reason, stop_reason="x", logprobs=None
        )
        assert lm.engine.generation._response(output, ["\n\n"]).truncated == truncated


@pytest.mark.parametrize("reason", ["abort", "error", None])
def test_what_vllm_gave_up_is_no_response(lm, reason):
    output = types.SimpleNamespace(
        text="half a", token_ids=[5, 6], finish_reason=reason, stop_reason=None, logprobs=None
    )
    with pytest.raises(UserError, match=f"vllm: a response ended by {reason!r}"):
        lm.engine.generation._response(output, [])


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_response_of_a_thinking_model_is_btrans_hfs(lm, monkeypatch, case):
    """What vLLM says goes on to the end token or the limit."""
    monkeypatch.setattr(lm, "think_end_token", END)
    monkeypatch.setattr(lm, "enable_thinking", None if case.may_think else False)
    words = [*case.said.split(), *["w5"] * LIMIT][:LIMIT]
    ended = "</s>" in words
    words = words[: words.index("</s>") + 1] if ended else words
    output = types.SimpleNamespace(
        text=" ".join(words[: len(words) - ended]),
        token_ids=lm.tokenizer.convert_tokens_to_ids(words),
        finish_reason="stop" if ended else "length",
        stop_reason=None,
        logprobs=[
            {token: types.SimpleNamespace(logprob=-float(place))}
            for place, token in enumerate(lm.tokenizer.convert_tokens_to_ids(words))
        ],
    )
    response = lm.engine.generation._response(output, [*dict.fromkeys([*case.until, "</s>"])])
    assert (str(response), response.tokens) == (case.text, case.tokens)
    assert response.truncated == case.truncated
    # 0, 1, 2 ... of as many tokens as count
    assert response.mean_logprob == (-(case.tokens - 1) / 2 + 0.0 if case.tokens else None)


@pytest.mark.parametrize(
    "end, until",
    [("w44", ["w13", "w56", "w3"]), ("w13", ["w44 w", "w5", "w20"]), ("w5 w", ["w9", "w1"])],
    ids=str,
)
def test_thinking_members_are_those_of_btrans_hf(lm, checkpoint, monkeypatch, end, until):
    arguments = {**GREEDY, "until": until, "max_gen_toks": 40}
    monkeypatch.setattr(lm, "think_end_token", end)
    other = hf_of(lm, checkpoint, think_end_token=end)
    ours = said(lm, PROMPTS, arguments)
    assert ours == said(other, PROMPTS, arguments)
    assert ours != said(hf_of(lm, checkpoint), PROMPTS, arguments)
    assert {truncated for _, _, truncated in ours} == {True, False}


def test_a_continuation_longer_than_the_context_is_refused_and_not_scored_in_part(lm, checkpoint):
    long = instance("loglikelihood", ("w5", " w6" * 255), 0)
    with pytest.raises(UserError, match="max_model_len: must leave room .* has 255 tokens"):
        lm.loglikelihood([long])
    whole = instance("loglikelihood", ("w5", " w6" * 254), 0)
    (found,), (expected,) = (each.loglikelihood([whole]) for each in (lm, hf_of(lm, checkpoint)))
    assert found[0] == pytest.approx(expected[0], rel=1e-5)


# ----------------------------------------------------------------------- arguments
@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"n": 2}, "n: is set for each response; use the task's repeats"),
        ({"stop": ["x"]}, "stop: is set for each response; use until"),
        ({"top_p": 3.0}, "gen_kwargs: vLLM refuses those of toy .*top_p"),
        ({"temperatur": 0.5}, "temperatur: no such generation argument; did you mean temperature"),
        ({"num_beams": 2}, "num_beams: "),
        ({"max_gen_toks": 256}, "max_gen_toks: .* context of 256 tokens, but toy asks for 256"),
    ],
)
def test_bad_generation_arguments_are_told(lm, arguments, text):
    with pytest.raises(UserError, match=text):
        lm.generate_until(generation(arguments={**GREEDY, **arguments}))


def test_left_truncation_and_the_empty_prompt_are_btrans_hfs(lm, checkpoint):
    other = hf_of(lm, checkpoint)
    prompts = ["w5 w6 " * 150, ""]
    assert said(lm, prompts, GREEDY) == said(other, prompts, GREEDY)


def test_noise_that_came_later_is_refused_where_it_cannot_be(lm):
    for own in ({"noise": "token"}, {"noise_from": "generation"}, {"batching": "static"}):
        with pytest.raises(UserError, match=f"{next(iter(own))}: "):
            become(lm, **own)
    with pytest.raises(UserError, match="norms: .*'head' matches none of"):
        become(lm, norms="head")


def test_what_was_used_stands_in_the_results(lm):
    lm.generate_until(generation(PROMPTS[:1], GREEDY))
    info = lm.get_model_info()
    assert info["vllm"].startswith("0.32.")
    assert (info["btrans"]["sigma"], info["btrans"]["norms_matched"]) == (0.1, 5)
    assert info["btrans"]["tasks"]["toy"]["batching"] == "vllm, mixed"


# ---------------------------------------------------------------------- without noise
# the model itself says to PROMPTS
#   w56 w48 w35 w61 w18 w48 w52 w53 w19 w12
#   w61 w19 w9 w61 w27 w30 w52 w28 w48 w5 w40 w7 w52 w25 w18 w44 w54 w19 w25 w48 w27 w22 w42 w47
#   w21 w58 w38 w3 w20 w42 w27 w34 w40 w9 w16 w63 w31 w31 w40 w5 w18 w60 w52 w5 w18 w9 w20 …
#   w63 w32 w32 w32 w32 w32
STOPS_INSIDE = {"until": ["w19", "w18"], "max_gen_toks": 40, "do_sample": False}
STOP_BETWEEN = {**STOPS_INSIDE, "until": ["w48"]}
"""In the thoughts, in the answer, and after that it thinks again: the harness's takes the last."""


def test_without_noise_every_request_is_stock_vllms(engine, checkpoint):
    close(engine)  # the last test of this engine: two of them need twice the memory
    quiet = vllm_lm(checkpoint, sigma=0.0)
    try:
        texts = quiet.generate_until(generation(PROMPTS, GREEDY))
        repeated = quiet.generate_until(cloned(generation(PROMPTS, GREEDY, 2)))
        values = quiet.loglikelihood(scored("loglikelihood", PAIRS))
        documents = scored("loglikelihood_rolling", [(" ".join(PROMPTS),)])
        rolling = quiet.loglikelihood_rolling(documents)
        quiet.think_end_token = "w52"
        thought = quiet.generate_until(generation(PROMPTS, STOPS_INSIDE))
        (twice,) = quiet.generate_until(generation(PROMPTS[1:2], STOP_BETWEEN))
        with pytest.raises(UserError, match="sigma: vLLM was started without noise"):
            quiet.become(PopulationConfig(sigma=0.1), None)
    finally:
        close(quiet)
    from vllm_lm import SHARE, SMALL

    stock = StockVLLM(checkpoint, batch_size="auto", **SMALL, **SHARE)
    try:
        assert texts == stock.generate_until(generation(PROMPTS, GREEDY))
        assert repeated == [text for text in texts for _ in range(2)]
        assert values == stock.loglikelihood(scored("loglikelihood", PAIRS))
        assert rolling == stock.loglikelihood_rolling(documents)
        stock.think_end_token = "w52"
        assert thought == stock.generate_until(generation(PROMPTS, STOPS_INSIDE))
        (other,) = stock.generate_until(generation(PROMPTS[1:2], STOP_BETWEEN))
        assert (words(twice), words(other)) == ("w28", "w25 w18 w44 w54 w19 w25")
    finally:
        close(stock)
