"""Arguments on the command line: one parser, the harness's own, and one line for what is none."""

from __future__ import annotations

import pytest

from btrans_eval import cli
from btrans_eval.errors import UserError
from btrans_eval.harness.arguments import check_given
from btrans_eval.harness.pairs import parse_pairs


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, {}),
        ("", {}),
        ([], {}),
        ("a=1,b=x", {"a": 1, "b": "x"}),
        (["a=1", "b=x"], {"a": 1, "b": "x"}),
        (["a=1,b=0.5", "c=True"], {"a": 1, "b": 0.5, "c": True}),
        ('{"a": 1, "b": {"c": "x"}}', {"a": 1, "b": {"c": "x"}}),
        (r"norms=[01]\.input_layernorm", {"norms": r"[01]\.input_layernorm"}),
        ("revision=2024-01-01", {"revision": "2024-01-01"}),
        ("revision=no", {"revision": "no"}),
        ("revision=on,name=yes", {"revision": "on", "name": "yes"}),
        ("revision=1e", {"revision": "1e"}),
        ("name=12:30:45", {"name": "12:30:45"}),
        ("sigma=1e-2", {"sigma": 0.01}),
        ("sigma=auto", {"sigma": "auto"}),
        ('until=["a", "b"]', {"until": ["a", "b"]}),
        ("name=#1", {"name": "#1"}),
        ("name=@x", {"name": "@x"}),
        ("name=a: b", {"name": "a: b"}),
    ],
    ids=str,
)
def test_arguments_are_read_as_the_harness_reads_them(given, expected):
    assert parse_pairs("model_args", given) == expected


@pytest.mark.parametrize("given", ["x", "a=1,x", ["a=1", "x"], "{x"])
def test_what_is_no_pair_is_one_line(given):
    with pytest.raises(UserError, match="model_args: must be name=value,name=value or a JSON"):
        parse_pairs("model_args", given)


COMPARE = ["compare", "--tasks", "t", "--output_path", "o"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([*COMPARE, "--seed", "3"], "seed: --seed is none of btrans-eval compare: populations"),
        ([*COMPARE, "--seed=3"], "seed: --seed is none of btrans-eval compare"),
        ([*COMPARE, "--use_cache", "x"], "use_cache: .* responses are kept in the store"),
        ([*COMPARE, "--log_samples"], "log_samples: .* samples are always written"),
        ([*COMPARE, "--samples", "{}"], "samples: .* use --limit N"),
        ([*COMPARE, "--verbosity", "DEBUG"], "verbosity: .* LMEVAL_LOG_LEVEL"),
        ([*COMPARE, "--model", "hf"], "model: must be btrans-hf, got hf"),
        ([*COMPARE, "--frobnicate", "1"], "frobnicate: .* takes no such flag"),
        (["p.yaml", *COMPARE[3:], "--device", "cpu"], "no such command"),
        (["compare", "p.yaml", "--output_path", "o", "--device", "cpu"], "device: --device is not"),
        (["calibrate", "--seed", "3"], "seed: --seed is none of btrans-eval calibrate"),
        (["calibrate", "--limit", "3"], "limit: .* nothing is asked; give --text"),
        (["calibrate", "--model", "vllm"], "model: must be btrans-hf, got vllm"),
        (["calibrate", "--model_args", "x"], "model_args: must be name=value"),
        (["run", "--repeats", "eight"],
         r"^btrans-eval: repeats: must be a whole number, got 'eight'; for example --repeats 8$"),
        ([*COMPARE, "--repeats", "eight"], "repeats: must be a whole number, got 'eight'; for exa"),
        ([*COMPARE, "--repeats"], "repeats: expected one argument; btrans-eval compare --help"),
        (["run", "--repeats"], "repeats: expected one argument; btrans-eval --help"),
        (["compare", "--tasks", "t"], "compare: needs --output_path; btrans-eval compare --help"),
        (["abstain", "o", "--coverage", "most"], "coverage: must be a number, got 'most'; for"),
        (["report"], "report: needs OUT; btrans-eval report --help"),
        (["report", "o", "p"], "report: unrecognized arguments: p; btrans-eval report --help"),
        (["store"], "store: needs FILE; btrans-eval store --help"),
        (["store", "f", "remove"], "remove: needs one of --model, --older-than; btrans-eval sto"),
        (["store", "f", "remove", "--older-than", "x"], "older-than: must be a number, got 'x'"),
        (["store", "f", "rewind"], "action: invalid choice: 'rewind' "),
        (["train", "--steps", "1.5", "--output_path", "o"], "steps: must be a whole number, got"),
    ],
    ids=str,
)  # fmt: skip
def test_flags_that_are_none_or_wrong_are_one_line(capsys, arguments, line):
    import re

    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.startswith("btrans-eval: ") and len(said.splitlines()) == 1
    assert re.search(line, said)


def test_flags_of_loading_go_to_the_model(monkeypatch):
    from btrans_eval.compare import command

    parser = command.make_parser()
    given = command.parse(
        parser,
        ["--tasks", "t", "--output_path", "o", "--device", "cpu", "--max_batch_size", "4",
         "--trust_remote_code", "--model_args", "pretrained=m", "sigma=0.1"],
    )  # fmt: skip
    assert command._plan(given).model_args == {
        "device": "cpu", "max_batch_size": 4, "trust_remote_code": True,
        "pretrained": "m", "sigma": 0.1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"max_gen_toks": 6, "max_new_tokens": 3}, "max_new_tokens: toy has max_gen_toks=6"),
        ({"max_gen_toks": 6, "max_tokens": 3}, "max_tokens: toy has max_gen_toks=6 already"),
        ({"max_new_tokens": 6, "max_completion_tokens": 3}, "max_completion_tokens: toy has"),
        ({"until": None}, "until: must be texts that end a response, but toy has None"),
        ({"until": 5}, "until: must be texts"),
        ({"until": ["a", None]}, "until: must be texts"),
        ({"until": [["a"]]}, "until: must be texts"),
        ({"until": True}, "until: must be texts"),
    ],
    ids=str,
)
def test_generation_arguments_that_would_be_ignored_are_refused(given, line):
    with pytest.raises(UserError, match=line):
        check_given("toy", given)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"until": []},
        {"until": "a"},
        {"until": ["a", ""]},
        {"max_gen_toks": 6},
        {"max_new_tokens": 6},
        {"max_gen_toks": 6, "max_new_tokens": 6},
        {"max_gen_toks": 6, "max_new_tokens": None},
    ],
    ids=str,
)
def test_generation_arguments_that_mean_one_thing_are_taken(given):
    check_given("toy", given)
