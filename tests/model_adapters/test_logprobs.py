"""How likely a response is: as one forward pass over prompt and response says, member by member."""

from __future__ import annotations

import math

import pytest
import tiny_checkpoint
import torch
from engine import GREEDY, PROMPTS, SAMPLED, cloned, generation, population_lm
from likelihoods import teacher_forced

from btrans_eval.harness.response import Response, mean_logprob
from btrans_eval.model_adapters.hf import prefixes
from btrans_eval.model_adapters.hf.ending import Ending
from btrans_eval.model_adapters.hf.sampling import choose, log_probabilities

REPEATS = 6
MANY = {"until": [], "max_gen_toks": 40, "do_sample": True, "temperature": 1.0}
ARGUMENTS = [
    {**GREEDY, "max_gen_toks": 30},
    {**GREEDY, "max_gen_toks": 30, "repetition_penalty": 1.6, "until": []},
    MANY,
    {**MANY, "temperature": 0.6, "top_k": 5, "repetition_penalty": 1.3},
    {**MANY, "top_p": 0.7, "until": ["w9 w1", "w2"]},
    {**MANY, "min_p": 0.2, "max_gen_toks": 1},
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    return tiny_checkpoint.save(tmp_path_factory.mktemp("llama"))


def generated(lm, monkeypatch, arguments) -> list[tuple[str, int, list[int], Response]]:
    """Prompt, member, tokens and response of each draw."""
    tokens_of: dict[int, list[int]] = {}
    make = Ending.response

    def noted(self, tokens, logprobs=None):
        response = make(self, tokens, logprobs)
        tokens_of[id(response)] = tokens[: response.tokens]
        return response

    with monkeypatch.context() as patched:
        patched.setattr(Ending, "response", noted)
        repeats = REPEATS if arguments["do_sample"] else lm.population_config.members
        requests = generation(arguments=arguments, repeats=repeats)
        texts = lm.generate_until(cloned(requests))
    draws = [(request.args[0], copy) for request in requests for copy in range(repeats)]
    members = lm.population_config.members
    return [
        (prompt, copy % members, tokens_of[id(text)], text)
        for (prompt, copy), text in zip(draws, texts, strict=True)
    ]


@pytest.mark.parametrize("batching", ["refill", "static"])
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_it_is_that_of_the_members_own_distribution(checkpoint, monkeypatch, batching, arguments):
    lm = population_lm(checkpoint, members=3, batching=batching)
    for request in generation(arguments=arguments):
        assert lm.engine.batching(request) == batching
    found = generated(lm, monkeypatch, arguments)
    for prompt, member, tokens, response in found:
        expected = teacher_forced(lm, prompt, member, tokens)
        if not tokens:
            assert response.mean_logprob is None
        else:
            mean = sum(expected) / len(expected)
            assert response.mean_logprob == pytest.approx(mean, abs=2e-5)
            assert response.mean_logprob <= 0
    assert len({response.mean_logprob for *_, response in found}) > 5


@pytest.mark.parametrize("own", [{"noise": "token"}, {"noise_from": "generation"}], ids=str)
def test_batchings_agree_where_noise_follows_tokens(checkpoint, monkeypatch, own):
    values = {}
    for batching in ("refill", "static"):
        lm = population_lm(checkpoint, members=3, batching=batching, **own)
        values[batching] = [each[-1].mean_logprob for each in generated(lm, monkeypatch, MANY)]
    assert values["refill"] == pytest.approx(values["static"], abs=2e-5)
    lm = population_lm(checkpoint, members=3)
    plain = [each[-1].mean_logprob for each in generated(lm, monkeypatch, MANY)]
    assert plain != pytest.approx(values["static"], abs=1e-2)


def test_prompts_that_share_a_beginning(checkpoint, monkeypatch):
    """The first token of a prompt whose beginning was read once counts, too."""
    monkeypatch.setattr(prefixes, "LEAST", 4)  # tokens that are worth it
    beginning = "w5 w6 w7 w8 w10 w11 " * 6
    prompts = [beginning + word for word in ("w12", "w13 w14", "w15")]
    lm = population_lm(checkpoint, members=3)
    texts = lm.generate_until(cloned(generation(prompts, MANY, 3)))
    assert lm.engine.generation.shares
    alone = population_lm(checkpoint, members=3, batching="static")
    expected = alone.generate_until(cloned(generation(prompts, MANY, 3)))
    assert texts == expected
    assert [text.mean_logprob for text in texts] == pytest.approx(
        [text.mean_logprob for text in expected], abs=2e-5
    )


@pytest.mark.parametrize("batching", ["refill", "static"])
def test_the_stock_model_has_it_where_it_samples(checkpoint, monkeypatch, batching):
    lm = population_lm(checkpoint, sigma=0.0, members=1, batching=batching)
    for prompt, member, tokens, response in generated(lm, monkeypatch, MANY):
        expected = teacher_forced(lm, prompt, member, tokens)
        assert response.mean_logprob == pytest.approx(sum(expected) / len(expected), abs=2e-5)
    greedy = lm.generate_until(generation(arguments=GREEDY))
    assert [text.mean_logprob for text in greedy] == [None] * len(PROMPTS)  # stock, bit for bit


def test_what_a_batch_writes_after_an_end_does_not_count(checkpoint):
    ending = population_lm(checkpoint).engine.generation.ending(generation()[0])
    logprobs = [-0.5, -1.5, -4.0, -8.0, -16.0, -32.0]
    for tokens, mean in [
        ([5, 9, 0, 0, 0, 0], -1.0),  # stopped by w9, which belongs to it
        ([5, 6, 2, 0, 0, 0], -1.0),  # the end token does not
        ([5, 6, 7, 9, 6, 8], -3.5),  # stopped, while another row went on
        ([5, 6, 7, 8, 10, 11], -62 / 6),
        ([2, 0, 0, 0, 0, 0], None),
    ]:
        found = ending.response(tokens, logprobs).mean_logprob
        assert found == (mean if mean is None else round(mean, 6))
        assert ending.response(tokens).mean_logprob is None


def test_the_mean():
    assert mean_logprob([-0.1] * 10, 10) == -0.1
    assert mean_logprob([-1.0, -2.0, -99.0], 2) == -1.5
    assert mean_logprob([-1.0], 0) is None and mean_logprob(None, 3) is None
    assert mean_logprob([-1.0, -math.inf], 2) is None  # a token that the model excludes
    assert mean_logprob([-1.0, math.nan], 2) is None
    assert math.copysign(1, mean_logprob([-1e-9], 1)) == 1  # no negative zero
    with pytest.raises(ValueError, match="3 tokens have but 2"):
        mean_logprob([-1.0, -1.0], 3)


def test_what_is_chosen_does_not_depend_on_what_is_noted():
    torch.manual_seed(0)
    said = 30 * torch.randn(7, 50_000)
    tokens, logprobs = choose(said / 0.3, said, [None] * 7, [0] * 7)
    assert tokens == said.argmax(-1).tolist()
    expected = said.double().log_softmax(-1)
    expected = [expected[row, token].item() for row, token in enumerate(tokens)]
    assert logprobs == pytest.approx(expected, abs=1e-5)


def test_a_token_of_a_large_vocabulary_survives_the_way_to_the_host():
    for token in (2**24 - 1, 2**24 - 2, 2**23 + 1):
        scores = torch.zeros(1, 2**24)
        scores[0, token] = 50.0
        assert choose(scores, scores, [None], [0])[0] == [token]


def test_log_probabilities_are_at_most_0():
    said = torch.tensor([[1e4, 0.0, -1e4], [40.0, 39.9999, -3.0], [0.0, 0.0, 0.0]])
    found = log_probabilities(said, said.argmax(-1, keepdim=True))
    assert (found <= 0).all() and found[0] == 0
    assert found[2].item() == pytest.approx(-math.log(3))


def test_it_is_stored_and_comes_back(checkpoint, tmp_path):
    path = str(tmp_path / "responses.sqlite")
    own = {"members": 3, "store": path}
    first = population_lm(checkpoint, **own).generate_until(
        cloned(generation(arguments=SAMPLED, repeats=3))
    )
    again = population_lm(checkpoint, **own)
    again.engine.generation.generate = lambda *_: pytest.fail("generated again")
    second = again.generate_until(cloned(generation(arguments=SAMPLED, repeats=3)))
    assert [text.mean_logprob for text in second] == [text.mean_logprob for text in first]
    assert any(text.mean_logprob for text in first)


def test_other_processes_get_it():
    import pickle

    again = pickle.loads(pickle.dumps(Response("abc", 3, True, -0.25)))
    assert (again, again.mean_logprob) == ("abc", -0.25)
    assert type(again)("gold").mean_logprob is None
