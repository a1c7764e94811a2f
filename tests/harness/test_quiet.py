"""What is held back while a population runs, and that nothing else is."""

from __future__ import annotations

import inspect
import logging
import re
import subprocess

import lm_eval
import pytest
import tiny_checkpoint
import toy_task
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import AutoModelForCausalLM, AutoTokenizer

from btrans_eval import ask
from btrans_eval.errors import UserError
from btrans_eval.harness import bridge, command, record
from btrans_eval.harness.quiet import _NOT_ACTIONABLE, _OF_LOADED, hushed

CUSTOM = "btrans_demo: Custom kwargs can be passed to `--metadata` in console (as json string)"


def test_only_known_messages_are_held_back_and_only_within(caplog):
    logger, other = logging.getLogger("lm_eval.api.task"), logging.getLogger("lm_eval.api.model")
    with hushed():
        logger.warning(CUSTOM)
        logger.warning("btrans_demo: the rows are damaged; see `--metadata`")
        other.warning(CUSTOM)
    logger.warning(CUSTOM)
    said = [(each.name, each.getMessage()) for each in caplog.records]
    assert said == [
        (logger.name, "btrans_demo: the rows are damaged; see `--metadata`"),
        (other.name, CUSTOM),
        (logger.name, CUSTOM),
    ]


IGNORED = "The following generation flags are not valid and may be ignored: "


@pytest.mark.parametrize(
    "flags, given, is_said",
    [
        (["top_k"], (), False),
        (["temperature", "top_p", "top_k"], ("max_gen_toks",), False),
        (["temperature", "top_p"], ("top_p",), True),
        (["num_beams"], (), True),
        (["top_k", "cache_implementation"], (), True),
    ],
)
def test_ignored_flags_are_told_where_the_user_gave_them(caplog, flags, given, is_said):
    with hushed(given):
        logging.getLogger("transformers.generation.configuration_utils").warning(
            f"{IGNORED}{flags}. Set `TRANSFORMERS_VERBOSITY=info` for more details."
        )
    assert bool(caplog.records) is is_said


LOADED = "`pretrained` model kwarg is not of type `str`. Many other model arguments may be ignored."


@pytest.mark.parametrize(
    "model_arguments, is_said",
    [
        ((), False),
        (("pretrained", "tokenizer", "sigma", "members", "batch_size", "think_end_token"), False),
        (("pretrained", "tokenizer", "sigma", "dtype"), True),
        (("peft",), True),
        (("device_map",), True),  # of transformers, through the harness
    ],
)
def test_what_a_loaded_model_passes_over_is_told_where_it_was_given(
    caplog, model_arguments, is_said
):
    with hushed((), model_arguments):
        logging.getLogger("lm_eval.models.huggingface").warning(LOADED)
        logging.getLogger("lm_eval.api.task").warning(CUSTOM)  # the others stay held back
    assert [each.getMessage() for each in caplog.records] == ([LOADED] if is_said else [])


def test_only_arguments_that_the_harness_reads_of_a_loaded_model_count_as_read():
    """HFLM has no other argument that it reads of one; see its ``__init__``."""
    named = set(inspect.signature(HFLM.__init__).parameters)
    passed_over = {
        "self", "kwargs", "revision", "subfolder", "device", "dtype", "trust_remote_code",
        "use_fast_tokenizer", "parallelize", "max_memory_per_gpu", "max_cpu_memory",
        "offload_folder", "tp_plan", "peft", "delta", "autogptq", "gptqmodel", "gguf_file",
    }  # fmt: skip
    assert named - passed_over == _OF_LOADED


@pytest.mark.parametrize("more", [{}, {"dtype": "float16"}])
@pytest.mark.parametrize("by", ["ask", "lm_eval"])
def test_a_loaded_model_is_told_of_what_it_passes_over(tmp_path, caplog, by, more):
    tiny_checkpoint.save(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    if by == "ask":
        ask((model, tokenizer), "w5", members=2, sigma=0.5, max_new_tokens=2, **more)
    else:
        toy_task.write(tmp_path, ["w5"], "w5")
        lm_eval.simple_evaluate(
            model="btrans-hf",
            model_args={"pretrained": model, "tokenizer": tokenizer, "sigma": 0.5, **more},
            tasks=["toy"],
            task_manager=TaskManager(include_path=str(tmp_path), include_defaults=False),
            bootstrap_iters=0,
        )
    assert bool([one for one in caplog.records if "is not of type" in one.getMessage()]) is bool(
        more
    )


def test_git_says_nothing_where_there_is_no_repository(tmp_path, monkeypatch, capfd):
    from lm_eval import evaluator

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert evaluator.get_git_commit_hash() is None
    assert capfd.readouterr().err == ""
    for command_line in (["init", "-q"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit",
                                          "-q", "--allow-empty", "-m", "a"]):  # fmt: skip
        subprocess.run(["git", *command_line], check=True)
    assert re.fullmatch(r"[0-9a-f]{7,}", evaluator.get_git_commit_hash())


def test_no_filter_stays_when_the_block_fails():
    before = {name: list(logging.getLogger(name).filters) for name in _NOT_ACTIONABLE}
    with pytest.raises(KeyError), hushed():
        raise KeyError
    with record.begun(), command.one_line():
        command.begin(None)
        command.begin("store.sqlite")
        changed = {name: list(logging.getLogger(name).filters) for name in _NOT_ACTIONABLE}
        assert all(len(changed[name]) == len(before[name]) + 1 for name in before)
    assert {name: list(logging.getLogger(name).filters) for name in _NOT_ACTIONABLE} == before


def test_cached_requests_are_refused_from_python_too():
    for model in ("btrans-hf", type("Ours", (), {"runner": None})()):
        with pytest.raises(UserError, match="cache_requests: the harness's cache of requests"):
            lm_eval.simple_evaluate(model=model, tasks=["btrans_demo"], cache_requests=True)
    assert "btrans-hf" in bridge.MODELS
