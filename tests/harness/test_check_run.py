"""What a run is refused for before its model is loaded."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from btrans_eval.errors import UserError
from btrans_eval.harness import bridge, command
from btrans_eval.store.store import Store


def run(**changes) -> SimpleNamespace:
    settings = {
        "model_args": {"sigma": 0.1}, "use_cache": None, "cache_requests": {}, "gen_kwargs": None,
        "log_samples": False, "output_path": None,
    }  # fmt: skip
    return SimpleNamespace(**{**settings, **changes})


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"use_cache": "cache.db"}, "use_cache: the harness's cache cannot tell"),
        ({"cache_requests": {"cache_requests": True}}, "cache_requests: .* drop --cache_requests"),
        ({"model_args": {"sigma": -1}}, "sigma: must be"),
    ],
)
def test_what_is_refused(monkeypatch, changes, text):
    monkeypatch.setattr(command, "begin", lambda store, given: pytest.fail("the run has begun"))
    with pytest.raises(UserError, match=text):
        bridge.check_run(run(**changes))


def test_a_file_that_is_no_store_is_told_before_the_model_is_loaded(monkeypatch, tmp_path):
    monkeypatch.setattr(command, "begin", lambda store, given: pytest.fail("the run has begun"))
    file = tmp_path / "store.db"
    for content in (b"", b"results\n", b"SQLite format 3\0" + bytes(4096)):
        file.write_bytes(content)
        with pytest.raises(UserError, match="^store: .*store.db"):
            bridge.check_run(run(model_args={"store": str(file)}))
        assert file.read_bytes() == content


def test_a_store_is_made_when_the_run_needs_it_and_looked_at_before(monkeypatch, tmp_path):
    begun = []
    monkeypatch.setattr(command, "begin", lambda store, given: begun.append(store))
    file = tmp_path / "store.db"
    asked = run(model_args={"store": str(file)})
    bridge.check_run(asked)
    assert not file.exists()
    Store(file).close()
    bridge.check_run(asked)
    assert begun == [str(file)] * 2 and file.exists()


def test_two_runs_begun_in_one_second_log_to_different_files(monkeypatch, tmp_path):
    monkeypatch.setattr(command, "begin", lambda store, given: None)
    paths = set()
    for process in (1, 2):
        monkeypatch.setattr(bridge.os, "getpid", lambda process=process: process)
        monkeypatch.setattr(bridge.time, "strftime", lambda form: "now")
        one = run(log_samples=True, output_path=str(tmp_path))
        bridge.check_run(one)
        paths.add(one.model_args["responses"])
    assert len(paths) == 2
