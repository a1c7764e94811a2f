"""A run that only scores: the generating run's numbers, bit for bit, and no weights in memory."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
import tiny_checkpoint
import torch
import toy_task
import transformers
from engine import GREEDY, SAMPLED, cloned, generation, instance, population_lm
from models import FAMILIES
from real import members, results, samples

from btrans_eval.cli import main
from btrans_eval.errors import UserError
from btrans_eval.harness.answering import Answering
from btrans_eval.model_adapters.hf import BTransHF
from btrans_eval.model_adapters.hf.stored import StoredHF
from btrans_eval.population import fingerprint

TASKS = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
output_type: {kind}
doc_to_text: "{text}"
num_fewshot: 0
"""
GUESS = """
doc_to_choice: [w5, "w6 w7", w8]
doc_to_target: 1
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""
ROLLING = """
doc_to_target: "{{prompt}}"
metric_list: [{metric: word_perplexity}]
"""
MEMBERS, PARTS = 3, 4
TABLE = "toy,greedy,guess,whole"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stored")
    tiny_checkpoint.save(folder / "model")
    prompts = [" ".join(["w5"] * (n + 1)) for n in range(3)]
    sampled = "max_gen_toks: 9, do_sample: true, temperature: 1.0"
    toy_task.write(folder, prompts, "w5", generation=sampled)
    toy_task.write(folder, prompts, "w5", name="greedy")
    rows = folder / "toy.jsonl"
    prompt = "{{prompt}}"
    for name, kind, text, rest in (
        ("guess", "multiple_choice", prompt, GUESS),
        ("whole", "loglikelihood_rolling", "", ROLLING),
    ):
        text = TASKS.format(name=name, kind=kind, text=text, rows=rows) + rest
        (folder / f"{name}.yaml").write_text(text)
    return folder


def run(place: Path, out: Path, store: Path, *flags: str) -> None:
    arguments = {"pretrained": str(place / "model"), "sigma": "0.5", "members": str(MEMBERS)}
    main([
        "run", "--model", "btrans-hf", "--tasks", TABLE, "--include_path", str(place),
        "--model_args", ",".join(f"{name}={value}" for name, value in arguments.items()),
        "--device", "cpu", "--batch_size", "4", "--output_path", str(out), "--log_samples",
        "--store", str(store), *flags,
    ])  # fmt: skip


def numbers(out: Path) -> dict:
    """A run's results and what its members were, without when, where and how it ran."""
    found = results(out)
    kept = {name: found[name] for name in ("results", "n-samples", "versions", "configs")}
    used = found["config"]["btrans"]
    used.pop("store")
    for task in used["tasks"].values():
        task.pop("batching", None)
    model = {name: found["config"][name] for name in ("model_num_parameters", "model_dtype")}
    return {**kept, "used": used, "model": model}


def no_weights(monkeypatch) -> list[StoredHF]:
    """Every model of the runs from now on, none of which may load or run."""
    made: list[StoredHF] = []
    init = StoredHF.__init__

    def watched(self, *args, **kwargs):
        init(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(StoredHF, "__init__", watched)
    monkeypatch.setattr(fingerprint, "of_model", lambda *a: pytest.fail("read a loaded model"))
    return made


def devices(lm: StoredHF) -> set[str]:
    return {each.device.type for each in [*lm.model.parameters(), *lm.model.buffers()]}


def refused(capsys, call, *args, **kwargs) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        call(*args, **kwargs)
    assert ended.value.code == 2
    (line,) = [each for each in capsys.readouterr().err.splitlines() if "btrans-eval: " in each]
    return line


def test_parts_are_scored_without_the_weights(place, tmp_path, monkeypatch):
    parts = [tmp_path / f"{part}.db" for part in range(1, PARTS + 1)]
    for part, path in enumerate(parts, 1):
        run(place, tmp_path / "parts", path, "--shard", f"{part}/{PARTS}")
    main(["store", "merge", str(tmp_path / "all.db"), *map(str, parts)])
    loaded = tmp_path / "loaded"
    run(place, loaded, tmp_path / "all.db")
    made = no_weights(monkeypatch)
    scored = tmp_path / "scored"
    run(place, scored, tmp_path / "all.db", "--from_store")
    (lm,) = made
    assert devices(lm) == {"meta"}
    assert numbers(scored) == numbers(loaded)
    assert samples(scored) == samples(loaded) and set(samples(loaded)) == set(TABLE.split(","))

    def by_request(folder):
        return sorted(json.dumps(line, sort_keys=True) for line in members(folder))

    assert by_request(scored) == by_request(loaded)
    used = results(scored)["config"]["btrans"]["tasks"]["toy"]
    assert used["batching"] == "none: from the store"


def answers(lm: BTransHF) -> dict:
    """What a model says to every kind of request, and how it describes itself."""
    pairs = [(context, rest) for context in ("w5", "w6 w7") for rest in (" w7", " w8 w9")]
    said = {
        "greedy": lm.generate_until(generation()),
        "sampled": lm.generate_until(cloned(generation(arguments=SAMPLED, repeats=3))),
        "pairs": lm.loglikelihood([instance("loglikelihood", pair) for pair in pairs]),
        "whole": lm.loglikelihood_rolling(
            [instance("loglikelihood_rolling", (" ".join(["w5"] * n),)) for n in (1, 3, 200)]
        ),
    }
    counts = [(each.tokens, each.truncated) for each in said["greedy"] + said["sampled"]]
    described = lm.get_model_info()
    for task in described["btrans"]["tasks"].values():
        task.pop("batching", None)
    return {**said, "counts": counts, "described": described}


@pytest.mark.parametrize(
    "own",
    [
        {},
        {"dtype": "bfloat16"},
        {"prior": "scaled"},
        {"sigma": "auto"},
        {"sigma": "auto", "prior": "balanced", "norms": "residual"},
        {"prior": "scaled", "dtype": "bfloat16", "sigma": "auto"},
        {"noise": "token"},
        {"noise_from": "generation", "mu": 0.01},
        {"sigma": 0.0},
        {"batching": "static", "seed": 3, "aggregate": "first"},
        {"attn_implementation": "eager", "max_length": 64, "think_end_token": "w9"},
        {"mixed_precision_dtype": "bfloat16", "softmax_dtype": "float32", "add_bos_token": True},
        {"batch_size": "auto", "logits_cache": False},
    ],
    ids=str,
)
def test_whatever_was_asked_is_found_again(place, tmp_path, monkeypatch, own):
    monkeypatch.setenv("BTRANS_EVAL_CACHE", str(tmp_path / "cache"))
    path, store = str(place / "model"), str(tmp_path / "s.db")
    own = {"members": 3, "store": store, **own}
    expected = answers(population_lm(path, **own))
    no_weights(monkeypatch)
    lm = population_lm(path, **own, from_store=True)
    assert devices(lm) == {"meta"}
    assert answers(lm) == expected


@pytest.mark.parametrize("family", [each.name for each in FAMILIES if not each.lora])
def test_facts_are_those_of_the_loaded_model(tmp_path, family):
    path = tiny_checkpoint.save(tmp_path / "model", family)
    store = str(tmp_path / "s.db")
    for own in ({}, {"dtype": "bfloat16"}, {"prior": "scaled"}):
        loaded = population_lm(path, store=store, **own)
        try:
            lm = population_lm(path, store=store, from_store=True, **own)
        except UserError as error:  # a head that is renamed, experts that are joined
            assert family in ("gpt-neox", "qwen3-moe") and "renamed or joined" in str(error)
            continue
        assert lm.engine.facts() == loaded.engine.facts()
        assert lm.runner.population.digest() == loaded.runner.population.digest()
        (request,) = generation(["w5"])
        assert lm.engine.asked(request) == loaded.engine.asked(request)


def test_the_checkpoint_adds_its_generation_config(place, tmp_path):
    path = tiny_checkpoint.save(tmp_path / "model")
    config = transformers.GenerationConfig(top_k=3, eos_token_id=[2, 9], do_sample=True)
    config.save_pretrained(path)
    store = str(tmp_path / "s.db")
    texts = population_lm(path, store=store).generate_until(generation())
    assert population_lm(path, store=store, from_store=True).generate_until(generation()) == texts


def test_files_without_the_prefix_of_the_head_are_read(tmp_path):
    """As the hub's gpt2 has them."""
    path = tiny_checkpoint.save(tmp_path / "model", "gpt2")
    model = transformers.AutoModelForCausalLM.from_pretrained(path)
    model.transformer.save_pretrained(path)
    store = str(tmp_path / "s.db")
    texts = population_lm(path, store=store).generate_until(generation())
    assert population_lm(path, store=store, from_store=True).generate_until(generation()) == texts


def test_a_checkpoint_in_a_subfolder_is_read_there(tmp_path):
    tiny_checkpoint.save(tmp_path / "repo" / "inner")
    where = {"pretrained": str(tmp_path / "repo"), "subfolder": "inner"}
    store = str(tmp_path / "s.db")
    own = {"device": "cpu", "sigma": 0.5, "store": store, **where}
    texts = BTransHF(**own).generate_until(generation())
    assert BTransHF(**own, from_store=True).generate_until(generation()) == texts


# ------------------------------------------------------------------ what is not there
def test_responses_are_not_compared_with_loglikelihoods(place, tmp_path):
    path, store = str(place / "model"), str(tmp_path / "s.db")
    population_lm(path, members=3, store=store).generate_until(generation())
    lm = population_lm(path, members=3, store=store, from_store=True)
    with pytest.raises(UserError, match="lacks 3 of 3 loglikelihoods of toy; the same command"):
        lm.loglikelihood([instance("loglikelihood", ("w5", " w7"))])


def other_weights(place: Path, folder: Path) -> str:
    path = tiny_checkpoint.save(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(path)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 4] += 1e-3
    model.save_pretrained(path)
    return str(folder)


@pytest.mark.parametrize(
    "own, differs",
    [
        ({"pretrained": "other"}, "model"),
        ({"dtype": "bfloat16"}, "dtype"),
        ({"sigma": 0.25}, "noise"),
        ({"prior": "scaled"}, "noise"),
        ({"norms": "residual$|input"}, "noise"),
        ({"seed": 1}, "seed"),
        ({"max_length": 64}, "max_length"),
        ({"attn_implementation": "eager"}, "attention"),
        ({"think_end_token": "w9"}, "think_end_token"),
        ({"mixed_precision_dtype": "bfloat16"}, "autocast"),
    ],
    ids=str,
)
def test_nothing_of_another_model_is_taken(place, tmp_path, own, differs):
    path, store = str(place / "model"), str(tmp_path / "s.db")
    whole = {"members": 3, "store": store}
    answers(population_lm(path, **whole))
    if "pretrained" in own:
        own, path = {}, other_weights(place, tmp_path / "other")
    lm = population_lm(path, **whole, **own, from_store=True)
    why = rf"\(what it has differs in {differs}\); the same command without from_store generates"
    with pytest.raises(UserError, match=f"s.db lacks 12 of 12 responses of toy {why}"):
        lm.generate_until(generation())
    with pytest.raises(UserError, match=f"s.db lacks 3 of 3 loglikelihoods of toy {why}"):
        lm.loglikelihood([instance("loglikelihood", ("w5", " w7"))])


def test_other_generation_arguments_are_named(place, tmp_path):
    path, store = str(place / "model"), str(tmp_path / "s.db")
    answers(population_lm(path, members=3, store=store))
    lm = population_lm(path, members=3, store=store, from_store=True)
    with pytest.raises(UserError, match=r"\(what it has differs in max_gen_toks\)"):
        lm.generate_until(generation(arguments={**GREEDY, "max_gen_toks": 7}))
    with pytest.raises(UserError, match="lacks 4 of 16 responses of toy; the same"):
        population_lm(path, members=4, store=store, from_store=True).generate_until(generation())


@pytest.mark.parametrize(
    "table, missing",
    [
        ("responses", "1 of 12 responses of toy; the same"),
        ("likelihoods", "1 of 12 loglikelihoods of toy; the same"),
    ],
)
def test_one_missing_is_told_and_nothing_is_lost(place, tmp_path, table, missing):
    path, own = str(place / "model"), {"members": 3, "store": str(tmp_path / "s.db")}
    expected = answers(population_lm(path, **own))
    before = rows(tmp_path / "s.db")
    remove_one(tmp_path / "s.db", table)
    with pytest.raises(UserError, match=f"lacks {missing}"):
        answers(population_lm(path, **own, from_store=True))
    assert len(rows(tmp_path / "s.db")) == len(before) - 1
    population_lm(path, **own).generate_until(cloned(generation(arguments=SAMPLED, repeats=3)))
    answers(population_lm(path, **own))
    assert rows(tmp_path / "s.db") == before
    assert answers(population_lm(path, **own, from_store=True)) == expected


def test_what_is_missing_ends_the_command_with_one_line(place, tmp_path, capsys):
    """Every task is counted, and no result is written."""
    lm = population_lm(str(place / "model"), store=str(tmp_path / "s.db"))
    lm.generate_until(generation(["w5 w5"], {"until": [], "max_gen_toks": 5, "do_sample": False}))
    line = refused(capsys, run, place, tmp_path / "scored", tmp_path / "s.db", "--from_store")
    assert f"btrans-eval: from_store: {tmp_path / 's.db'} lacks" in line
    assert "6 of 9 responses of greedy, 9 of 9 responses of toy" in line
    assert not list((tmp_path / "scored").rglob("results_*"))


def rows(path: Path) -> set:
    with sqlite3.connect(path) as connection:
        texts = connection.execute("SELECT key, text FROM responses").fetchall()
        values = connection.execute("SELECT key, value FROM likelihoods").fetchall()
    return {*texts, *values}


def remove_one(path: Path, table: str) -> None:
    with sqlite3.connect(path) as connection:
        (first,) = connection.execute(f"SELECT min(id) FROM {table}").fetchone()
        connection.execute(f"DELETE FROM {table} WHERE id = ?", (first,))


def test_a_response_that_leaves_the_store_meanwhile_is_not_made_up(place, tmp_path, monkeypatch):
    path = str(tmp_path / "s.db")
    population_lm(str(place / "model"), store=path).generate_until(generation())
    lm = population_lm(str(place / "model"), store=path, from_store=True)
    check = Answering._check_complete

    def checked(*given):
        check(*given)
        remove_one(Path(path), "responses")

    monkeypatch.setattr(Answering, "_check_complete", checked)
    with pytest.raises(UserError, match=r"from_store: .* lacks 1 of 32 responses of toy"):
        lm.generate_until(generation())


# ------------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    "own, text",
    [
        ({"store": None}, "from_store: goes with store=FILE"),
        ({"from_store": "yes"}, "from_store: must be true or false, got 'yes'"),
        ({"shard": "1/2"}, "from_store: scores what is there, and shard generates a part"),
        ({"store": "nowhere.db"}, "store: must be there with from_store, but nowhere.db is not"),
        ({"pretrained": None}, "from_store: the demo model"),
        ({"peft": "adapter"}, "peft: may change the weights, got 'adapter'"),
        ({"delta": "delta"}, "delta: may change the weights"),
        ({"gguf_file": "a.gguf"}, "gguf_file: may change the weights"),
        ({"autogptq": True}, "autogptq: may change the weights"),
        ({"gptqmodel": True}, "gptqmodel: may change the weights"),
        ({"tp_plan": "auto"}, "tp_plan: may change the weights"),
        ({"load_in_4bit": True}, "load_in_4bit: may change the weights"),
        ({"variant": "fp16"}, "variant: may change the weights"),
        ({"from_stor": True}, "from_stor: no such model argument; did you mean from_store?"),
    ],
    ids=str,
)
def test_what_cannot_be_known_is_refused_before_anything_is_read(
    place, tmp_path, monkeypatch, own, text
):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "s.db"
    path.touch()
    given = {"pretrained": str(place / "model"), "store": str(path), "from_store": True, **own}
    with pytest.raises(UserError, match=text.replace("?", r"\?")) as told:
        BTransHF(sigma=0.5, device="cpu", **{k: v for k, v in given.items() if v is not None})
    assert "\n" not in str(told.value)
    assert not Path("nowhere.db").exists()


def test_a_model_that_is_loaded_is_refused(place, tmp_path):
    (tmp_path / "s.db").touch()
    model = transformers.AutoModelForCausalLM.from_pretrained(place / "model")
    with pytest.raises(UserError, match="pretrained must be a name or a folder, got a LlamaFor"):
        BTransHF(model, sigma=0.5, store=str(tmp_path / "s.db"), from_store=True)


def test_weights_that_cannot_be_known_are_refused(place, tmp_path):
    (tmp_path / "s.db").touch()
    own = {"store": str(tmp_path / "s.db"), "from_store": True}
    path = tiny_checkpoint.save(tmp_path / "quantized")
    config = json.loads((tmp_path / "quantized" / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (tmp_path / "quantized" / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="quantized is quantized, so whose responses"):
        population_lm(path, **own)
    path = tiny_checkpoint.save(tmp_path / "pickled")
    model = transformers.AutoModelForCausalLM.from_pretrained(path)
    torch.save(model.state_dict(), tmp_path / "pickled" / "pytorch_model.bin")
    (tmp_path / "pickled" / "model.safetensors").unlink()
    with pytest.raises(UserError, match="has no safetensors files with the names"):
        population_lm(path, **own)
    (tmp_path / "pickled" / "pytorch_model.bin").unlink()
    with pytest.raises(UserError, match="cannot be laid out here") as told:
        population_lm(path, **own)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "own, text",
    [
        ({"sigma": "auto"}, "sigma: auto was not measured on this machine.*give sigma=NUMBER"),
        ({"prior": "balanced"}, "prior: balanced was not measured.*set BTRANS_EVAL_CACHE"),
    ],
)
def test_what_was_not_measured_here_is_refused(place, tmp_path, monkeypatch, own, text):
    monkeypatch.setenv("BTRANS_EVAL_CACHE", str(tmp_path / "empty"))
    (tmp_path / "s.db").touch()
    with pytest.raises(UserError, match=text):
        population_lm(str(place / "model"), store=str(tmp_path / "s.db"), from_store=True, **own)


def test_the_sigma_that_was_found_may_be_typed(place, tmp_path, monkeypatch):
    """As the refusal says: where the measurement is not at hand, its sigma is."""
    monkeypatch.setenv("BTRANS_EVAL_CACHE", str(tmp_path / "cache"))
    store = str(tmp_path / "s.db")
    first = population_lm(str(place / "model"), store=store, sigma="auto")
    texts = first.generate_until(generation())
    monkeypatch.setenv("BTRANS_EVAL_CACHE", str(tmp_path / "empty"))
    sigma = float(f"{first.runner.population.sigma:g}")  # as the store lists it
    lm = population_lm(str(place / "model"), store=store, sigma=sigma, from_store=True)
    assert lm.generate_until(generation()) == texts


def test_several_processes_are_refused(place, tmp_path, monkeypatch):
    (tmp_path / "s.db").touch()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="from_store: scores in one process, got 2"):
        population_lm(str(place / "model"), store=str(tmp_path / "s.db"), from_store=True)


def test_other_engines_and_comparisons_are_refused(place, tmp_path, capsys):
    (tmp_path / "s.db").touch()
    line = refused(
        capsys, main,
        ["run", "--model", "hf", "--tasks", "toy", "--model_args", f"pretrained={place / 'model'}",
         "--from_store", "--store", str(tmp_path / "s.db")],
    )  # fmt: skip
    assert "needs --model btrans-hf" in line
    for argument in ("from_store=true", "shard=1/2"):
        line = refused(
            capsys, main,
            ["compare", "--tasks", "toy", "--output_path", str(tmp_path / "out"),
             "--model_args", f"pretrained={place / 'model'},{argument}"],
        )  # fmt: skip
        assert "goes with btrans-eval run, got compare; leave it out" in line


def test_loglikelihoods_that_are_stored_are_said_again(place, tmp_path):
    asked = [instance("loglikelihood", (p, c), 0) for p in ("w5", "w6") for c in (" w7", " w8 w9")]
    path, store = str(place / "model"), str(tmp_path / "s.db")
    scores = population_lm(path, store=store).loglikelihood(asked)
    lm = population_lm(path, store=store, from_store=True)
    assert lm.loglikelihood(asked) == scores
    with pytest.raises(UserError, match="lacks 8 of 8 loglikelihoods of toy"):
        lm.loglikelihood([instance("loglikelihood", ("w5 w5", " w9"), 0)])
    with pytest.raises(UserError, match="lacks 32 of 32 responses of toy"):
        lm.generate_until(generation(arguments=GREEDY))
