"""Asking by hand: the same responses as under the harness, the vote, and what is refused."""

from __future__ import annotations

import re

import lm_eval
import pytest
import tiny_checkpoint
import torch
import toy_task
from lm_eval.tasks import TaskManager
from transformers import AutoModelForCausalLM, AutoTokenizer

from btrans_eval import Population, ask
from btrans_eval.answers.vote import plurality
from btrans_eval.errors import UserError
from btrans_eval.face.asked import Asked, AskedPrompt
from btrans_eval.judged import JudgedResponse

PROMPTS = [" ".join(["w5"] * (n + 1)) for n in range(3)]
SIGMA = 0.5


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ask")
    tiny_checkpoint.save(folder / "model")
    return folder


@pytest.fixture
def loaded(place):
    model = AutoModelForCausalLM.from_pretrained(place / "model")
    return model, AutoTokenizer.from_pretrained(place / "model")


def texts(asked: Asked) -> list[list[str]]:
    return [[response.text for response in one.responses] for one in asked]


def under_the_harness(place, generation: str) -> list[list[str]]:
    """What members 0 to 3 say to the prompts as a task of 4 repeats."""
    toy_task.write(
        place, PROMPTS, "w5", "repeated", generation, f"repeats: 4\n{toy_task.EXACT_MATCH}"
    )
    results = lm_eval.simple_evaluate(
        model="btrans-hf",
        model_args={"pretrained": str(place / "model"), "sigma": SIGMA, "device": "cpu"},
        tasks=["repeated"],
        task_manager=TaskManager(include_path=str(place), include_defaults=False),
        bootstrap_iters=0,
    )
    assert results["config"]["btrans"]["tasks"]["repeated"]["members"] == 4
    rows = sorted(results["samples"]["repeated"], key=lambda row: row["doc_id"])
    return [[str(text) for text in row["resps"][0]] for row in rows]


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_members_say_what_they_say_under_the_harness(place, temperature):
    warm = f"max_gen_toks: 6, do_sample: {str(temperature > 0).lower()}"
    warm += f", temperature: {temperature}" if temperature else ""
    wanted = under_the_harness(place, warm)
    found = ask(place / "model", PROMPTS, sigma=SIGMA, max_new_tokens=6, temperature=temperature)
    assert texts(found) == wanted
    assert any(len(set(row)) > 1 for row in wanted)  # members differ


def test_a_loaded_model_says_the_same_and_stays_as_it_was(place, loaded):
    model, tokenizer = loaded
    model.train()
    model.model.layers[0].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    hooks = sum(len(module._forward_hooks) for module in model.modules())
    wanted = ask(place / "model", PROMPTS, sigma=SIGMA, max_new_tokens=6)
    found = ask(loaded, PROMPTS, sigma=SIGMA, max_new_tokens=6)
    assert texts(found) == texts(wanted)
    assert model.training and not model.model.layers[0].training
    assert sum(len(module._forward_hooks) for module in model.modules()) == hooks
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert tokenizer.chat_template is None


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_how_likely_each_response_was_is_told(loaded, temperature):
    (one,) = ask(loaded, PROMPTS[0], sigma=SIGMA, max_new_tokens=6, temperature=temperature)
    for response in one.responses:
        assert isinstance(response.mean_logprob, float) and -20 < response.mean_logprob <= 0
        assert response.tokens and response.truncated is not None


def test_without_noise_greedy_members_are_one(loaded):
    (one,) = ask(loaded, PROMPTS[0], members=3, sigma=0, max_new_tokens=6)
    assert len({response.text for response in one.responses}) == 1
    assert len(one.responses) == 3 and one.vote.counts in ({0: 3}, {})


def test_one_member_is_member_0(loaded):
    (alone,) = ask(loaded, PROMPTS[0], members=1, sigma=SIGMA, max_new_tokens=6)
    (four,) = ask(loaded, PROMPTS[0], members=4, sigma=SIGMA, max_new_tokens=6)
    assert [one.text for one in alone.responses] == [four.responses[0].text]


def test_a_template_is_used_where_there_is_one_unless_refused(loaded):
    model, tokenizer = loaded
    with pytest.raises(UserError, match="chat_template: the tokenizer has none"):
        ask(loaded, "w5", sigma=SIGMA, chat_template=True)
    tokenizer.chat_template = "{% for m in messages %}w9 {{ m['content'] }} w11{% endfor %}"
    kinds = {"sigma": SIGMA, "max_new_tokens": 6}
    message = ask(loaded, "w5 w6", **kinds)
    assert "chat message" in message.settings
    assert message[0].prompt == "w5 w6"
    plain = ask(loaded, "w9 w5 w6 w11", chat_template=False, **kinds)
    assert "plain text" in plain.settings
    assert texts(message) == texts(plain)


@pytest.mark.parametrize(
    "given, said",
    [
        ({"sigma": 0.5}, "2 members, σ = 0.5, seed 0; greedy"),
        ({"sigma": 0.5, "prior": "isotropic", "mu": 0.0}, "2 members, σ = 0.5, seed 0; greedy"),
        ({"sigma": 0.5, "prior": "scaled", "norms": "residual", "seed": 7},
         "2 members, σ = 0.5, prior=scaled, norms=residual, seed 7; greedy"),
        ({"sigma": 0.5, "mu": 0.25, "noise": "token", "noise_from": "generation"},
         "2 members, σ = 0.5, mu=0.25, noise=token, noise_from=generation, seed 0; greedy"),
    ],
)  # fmt: skip
def test_the_last_line_tells_what_is_not_by_default(loaded, given, said):
    assert ask(loaded, "w5", members=2, max_new_tokens=2, **given).settings.startswith(said)


def test_the_last_line_tells_a_file_of_noise(loaded, tmp_path):
    file = str(tmp_path / "mine.safetensors")
    Population(loaded[0], sigma=0.1).save(file)
    asked = ask(loaded, "w5", members=2, max_new_tokens=2, prior=file)
    assert asked.settings.startswith(f"2 members, prior={file}, seed 0; greedy")


def made(answers: list[str | None], kind: str = "integer") -> Asked:
    labels = [None if answer is None else sorted(set(answers) - {None}).index(answer)
              for answer in answers]  # fmt: skip
    responses = tuple(
        JudgedResponse(f"I say {answer}", answer, label, {}, 3, answer is None)
        for answer, label in zip(answers, labels, strict=True)
    )
    return Asked((AskedPrompt("How many?", responses, plurality(labels)),), kind, "as told")


@pytest.mark.parametrize(
    "answers, said",
    [
        (["7", "8", "8", None], "vote: 2 of 4 for 8"),
        (["7", "8", "8", "7"], "vote: 2 answers are tied at 2 of 4; member 0's, the lowest of "
                               "theirs, stands: 7"),
        ([None, "8", "7"], "vote: no two members agree; member 1's response stands"),
        (["7", None], "vote: 1 of 2 for 7"),
        ([None, None], "vote: no member states an answer; member 0's response stands"),
    ],
)  # fmt: skip
def test_the_vote_is_told(answers, said):
    asked = made(answers)
    shown = asked.text(120)
    assert said in shown and said.replace("'", "&#x27;") in asked._repr_html_()
    assert shown.splitlines()[0] == "How many?" and shown.endswith("(as told)")
    heads = shown.splitlines()[2]
    assert re.findall(r"member \d", heads) == [f"member {n}" for n in range(len(answers))]
    none = answers.count(None)
    assert shown.count("→ no answer") == none
    assert shown.count("(cut off") == asked._repr_html_().count("(cut off at the limit)") == none
    assert len(asked) == 1 and list(asked) == [asked[0]]


def test_a_whole_text_is_its_own_answer():
    shown = made(["red", "blue"], "text").text()
    assert "→" not in shown and "I say red" in shown


def test_texts_stay_in_their_cells():
    bad = JudgedResponse("</td><script>x</script>\x1b[2J", "<b>", 0, {}, 1, False)
    asked = Asked((AskedPrompt("<i>?", (bad,), plurality([0])),), "text", "<u>")
    page = asked._repr_html_()
    assert not re.search(r"<(script|b>\W*<|i>|u>)", page.replace("<b>&lt;", ""))
    assert "\x1b" not in str(asked) + page


@pytest.mark.parametrize(
    "given, said",
    [
        ({"prompts": []}, "prompts: must be a text or several, got"),
        ({"prompts": [3]}, "prompts: must be a text or several, got"),
        ({"members": 0}, "members: must be a whole number of at least 1, got 0"),
        ({"max_new_tokens": 0}, "max_new_tokens: must be a whole number of at least 1"),
        ({"temperature": -1}, "temperature: must be a finite number of at least 0"),
        ({"kind": "colour"}, "kind: must be one of letter, integer"),
        ({"aggregate": "vote"}, "aggregate: is none of ask's arguments; every member"),
        ({"extractor": "number"}, "extractor: is none of ask's arguments; it is called kind"),
        ({"sigma": -0.1}, "sigma: must be a finite number"),
        ({"sigma": 0.1, "kl": 0.05}, "kl: is what sigma=auto is found from"),
        ({"sigm": 0.1}, "sigm: no such argument; did you mean sigma?"),
        ({"temprature": 0.7}, "temprature: no such argument; did you mean temperature?"),
        ({"max_tokens": 8}, "max_tokens: no such argument; did you mean max_new_tokens?"),
        ({"max_gen_toks": 8}, "max_gen_toks: is none of ask's arguments; it is called max_new_"),
        ({"norm": "all"}, "norm: no such argument; did you mean norms?"),
        ({"model": 7}, "model: must be a name, a folder, None, or a loaded model"),
        (
            {"model": "/no/such/folder"},
            "pretrained: must be a model on the hub or in a folder, "
            "but there is no folder /no/such/folder",
        ),
    ],
)
def test_mistakes_are_one_line(loaded, given, said):
    arguments = {"model": loaded, "prompts": "w5", "sigma": 0.1, **given}
    if "kl" not in given and "sigm" in given:
        del arguments["sigma"]
    with pytest.raises(UserError, match=re.escape(said)) as found:
        ask(**arguments)
    assert "\n" not in str(found.value)


def test_arguments_of_the_harness_are_none_that_are_misspelled(loaded):
    asked = ask(loaded, "w5", members=1, sigma=0.1, max_new_tokens=2, chat_template_args={})
    assert len(asked) == 1
