"""Sampling from streams: transformers' distribution, whatever else is in the batch."""

from __future__ import annotations

import pytest
import tiny_checkpoint
import torch
import transformers
from engine import SAMPLED, cloned, generation, population_lm
from scipy.stats import chisquare
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
)

from btrans_eval.errors import UserError
from btrans_eval.model_adapters.hf.sampling import Draw, RowByRow
from btrans_eval.population.streams import Stream

DRAWS = 24_000
PROMPT = [5, 6, 7, 6, 5]


class Fixed:
    """A stream that gives what it is told."""

    def __init__(self, *numbers: float) -> None:
        self.numbers = numbers

    def uniform(self, token: int) -> float:
        return self.numbers[token]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    return tiny_checkpoint.save(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def model(checkpoint):
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint)
    model.lm_head.weight.data *= 8  # a trained model's distribution is not flat
    return model


class Seen(LogitsProcessor):
    """Keeps what transformers' own sampling would have drawn from."""

    def __call__(self, input_ids, scores):
        self.probabilities = scores.softmax(-1)
        return scores


def exact(model, prompt, **arguments) -> torch.Tensor:
    """The probabilities that transformers draws the next token from."""
    seen = Seen()

    def look(model, input_ids, logits_processor, **kwargs):
        after = LogitsProcessorList([*logits_processor, seen])
        kwargs["generation_config"].return_dict_in_generate = False
        return model._sample(input_ids, logits_processor=after, **kwargs)

    ids = torch.tensor([prompt])
    model.generate(ids, max_new_tokens=1, do_sample=True, custom_generate=look, **arguments)
    return seen.probabilities[0]


def drawn(model, prompt, **arguments) -> torch.Tensor:
    """How often each token was drawn, over DRAWS streams."""
    counts = torch.zeros(model.config.vocab_size)
    for start in range(0, DRAWS, 2000):
        streams = [Stream(0, "p", "{}", 0, sample) for sample in range(start, start + 2000)]
        ids = torch.tensor([prompt] * len(streams))
        custom = RowByRow([0] * len(streams), streams)
        output = model.generate(
            ids, max_new_tokens=1, do_sample=True, custom_generate=custom, **arguments
        )
        counts += torch.bincount(output[:, -1], minlength=len(counts))
    return counts


@pytest.mark.parametrize(
    "arguments",
    [
        {"temperature": 1.0, "top_k": 0},
        {"temperature": 0.4, "top_k": 0},
        {"temperature": 0.7, "top_k": 5},
        {"temperature": 1.0, "top_k": 0, "top_p": 0.6},
        {"temperature": 1.0, "top_k": 0, "min_p": 0.5},
        {"temperature": 0.5, "top_k": 0, "repetition_penalty": 1.8},
        {"temperature": 1.3, "top_k": 20, "top_p": 0.8, "min_p": 0.05, "repetition_penalty": 1.2},
    ],
    ids=str,
)
def test_the_distribution_is_transformers_own(model, arguments):
    probabilities = exact(model, PROMPT, **arguments)
    counts = drawn(model, PROMPT, **arguments)
    assert counts.sum() == DRAWS
    assert torch.all(counts[probabilities == 0] == 0)
    likely = probabilities * DRAWS >= 5  # what chi-square needs; the rest is pooled
    observed = [*counts[likely].tolist(), counts[~likely].sum().item()]
    expected = [*probabilities[likely].tolist(), probabilities[~likely].sum().item()]
    observed, expected = observed[: len(expected)], torch.tensor(expected, dtype=torch.float64)
    if expected[-1] * DRAWS < 5:
        observed, expected = observed[:-1], expected[:-1]
    expected = expected / expected.sum() * sum(observed)
    assert chisquare(observed, expected.numpy()).pvalue > 1e-3


def test_settings_of_the_distribution_differ(model):
    """The test above would say nothing if the arguments were ignored."""
    plain = exact(model, PROMPT, temperature=1.0, top_k=0)
    assert (exact(model, PROMPT, temperature=0.7, top_k=5) > 0).sum() == 5
    assert (exact(model, PROMPT, temperature=1.0, top_k=0, top_p=0.6) > 0).sum() < len(plain)
    assert (exact(model, PROMPT, temperature=1.0, top_k=0, min_p=0.5) > 0).sum() < len(plain)
    penalized = exact(model, PROMPT, temperature=1.0, top_k=0, repetition_penalty=1.8)
    assert not torch.allclose(plain, penalized)


def test_a_draw_inverts_the_distribution_function():
    scores = torch.tensor([[-torch.inf, 0.25, 0.0, 0.5, 0.25, -torch.inf]]).log()
    scores[0, 0] = scores[0, 5] = -torch.inf
    for number, token in [
        (2.0**-53, 1), (0.2, 1), (0.25, 1), (0.2500001, 3), (0.75, 3), (0.76, 4), (1.0, 4),
    ]:  # fmt: skip
        after = Draw([Fixed(number)], 4)(torch.zeros(1, 4, dtype=torch.long), scores)
        assert after.argmax().item() == token
        assert torch.isfinite(after).sum() == 1


def test_padding_is_not_taken_for_a_token_that_was_said():
    penalty = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(2.0)])
    seen = []

    class Model:
        def _sample(self, input_ids, logits_processor, **others):
            seen.append(logits_processor(input_ids, torch.ones(2, 4)))

    rows = torch.tensor([[0, 0, 3], [1, 0, 2]])  # padded with token 0, which row 1 also says
    RowByRow([2, 0], None)(Model(), rows, penalty, None, None)
    assert seen[0].tolist() == [[1, 1, 1, 0.5], [0.5, 0.5, 0.5, 1]]


def test_the_number_follows_the_place_of_the_token():
    scores = torch.log(torch.tensor([[0.5, 0.5], [0.5, 0.5]]))
    draw = Draw([Fixed(0.1, 0.9), Fixed(0.9, 0.1)], 3)
    tokens = [draw(torch.zeros(2, length, dtype=torch.long), scores) for length in (3, 4)]
    assert [each.argmax(-1).tolist() for each in tokens] == [[0, 1], [1, 0]]


def test_a_model_whose_output_is_not_finite_is_told():
    with pytest.raises(UserError, match="sigma: the model's output is not finite"):
        Draw([Fixed(0.5)], 1)(torch.zeros(1, 1, dtype=torch.long), torch.full((1, 4), torch.nan))


# ------------------------------------------------------------------ through the harness
def by_draw(lm, requests) -> dict:
    """Text of each (prompt, copy)."""
    texts = lm.generate_until(cloned(requests))
    names = [(r.args[0], copy) for r in requests for copy in range(r.repeats)]
    return dict(zip(names, texts, strict=True))


@pytest.fixture(scope="module")
def reference(checkpoint):
    return by_draw(population_lm(checkpoint, members=2), generation(arguments=SAMPLED, repeats=4))


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_samples_do_not_depend_on_the_batch(checkpoint, reference, batch_size):
    lm = population_lm(checkpoint, members=2, batch_size=batch_size)
    assert by_draw(lm, generation(arguments=SAMPLED, repeats=4)) == reference


def test_samples_do_not_depend_on_order_or_on_what_else_is_asked(checkpoint, reference):
    lm = population_lm(checkpoint, members=2)
    requests = generation(arguments=SAMPLED, repeats=4)
    assert by_draw(lm, requests[::-1]) == reference
    more = generation(["w30 w31", "w33"], SAMPLED, repeats=4)
    found = by_draw(lm, more + requests)
    assert {name: found[name] for name in reference} == reference
    assert by_draw(lm, requests[:1]) == {n: t for n, t in reference.items() if n[0] == "w5 w6 w7"}


def test_samples_do_not_depend_on_the_global_generator(checkpoint, reference):
    torch.manual_seed(99)
    lm = population_lm(checkpoint, members=2)
    assert by_draw(lm, generation(arguments=SAMPLED, repeats=4)) == reference


def test_members_samples_and_seeds_differ(checkpoint, reference):
    texts = [reference["w8", copy] for copy in range(4)]
    assert len(set(texts)) == 4
    other = population_lm(checkpoint, members=2, seed=1)
    assert by_draw(other, generation(arguments=SAMPLED, repeats=4)) != reference
    hotter = {**SAMPLED, "temperature": 1.1}
    lm = population_lm(checkpoint, members=2)
    again = by_draw(lm, generation(arguments=hotter, repeats=4))
    assert all(again[name] != text for name, text in reference.items() if text)


def test_without_noise_members_are_samples_of_the_stock_model(checkpoint):
    lm = population_lm(checkpoint, sigma=0.0)
    texts = by_draw(lm, generation(["w8"], SAMPLED, repeats=16)).values()
    assert len(set(texts)) > 12


@pytest.mark.parametrize("batching", ["refill", "static"])
def test_two_shares_give_what_one_process_gives(checkpoint, reference, batching):
    from btrans_eval.harness.ranks import Ranks

    class Alone(Ranks):
        """One of two processes, without the other."""

        def union(self, part):
            return part

        def wait(self):
            pass

        def from_first(self, value):
            return value

    found, sizes = {}, []
    for rank in (0, 1):
        lm = population_lm(checkpoint, members=2, batching=batching)
        lm._ranks = Alone(rank, 2)
        lm.become(lm.population_config, None)
        parts = {}
        lm.runner._close_together = lambda questions, finished, parts=parts: (
            parts.update(
                {
                    (question.request.args[0], draw): text
                    for question in questions
                    for draw, text in finished[id(question)].items()
                }
            )
            or dict.fromkeys(range(16), "")
        )
        lm.generate_until(cloned(generation(arguments=SAMPLED, repeats=4)))
        sizes.append(len(parts))
        found.update(parts)
    assert sizes == [8, 8] and found == reference


def test_top_k_changes_what_a_stream_gives(checkpoint):
    lm = population_lm(checkpoint, members=1)
    one = by_draw(lm, generation(["w8"], {**SAMPLED, "top_k": 1}, repeats=3))
    assert len(set(one.values())) == 1  # only the best token is left: greedy
    greedy = generation(["w8"], {**SAMPLED, "do_sample": False, "temperature": 0.0}, repeats=1)
    assert lm.generate_until(greedy)[0] in one.values()
