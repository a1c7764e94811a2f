"""What is held back while a population runs, and that nothing else is."""

from __future__ import annotations

import logging
import re
import subprocess

import pytest

from btrans_eval.errors import UserError
from btrans_eval.harness import bridge, command, record
from btrans_eval.harness.quiet import _NOT_ACTIONABLE, hushed

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
    import lm_eval

    for model in ("btrans-hf", type("Ours", (), {"runner": None})()):
        with pytest.raises(UserError, match="cache_requests: the harness's cache of requests"):
            lm_eval.simple_evaluate(model=model, tasks=["btrans_demo"], cache_requests=True)
    assert "btrans-hf" in bridge.MODELS
