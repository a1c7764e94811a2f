"""Runs of canned responses leave the files that they left when the fixtures were recorded.

Where a difference is wanted (`record.py` says when it may be):
``python tests/characterization/record.py``. What holds floats of a model is compared by
``benchmarks/characterize.py``, which runs old and new code on one machine.
"""

from __future__ import annotations

import pytest
from record import CHECKOUT, FIXTURES, differences, perform
from runs import CANNED


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    folder = tmp_path_factory.mktemp("characterization") / "runs"
    perform(CHECKOUT, folder, list(CANNED))
    return folder


@pytest.mark.parametrize("name", CANNED)
def test_a_run_leaves_the_same_files(left, name):
    found = differences(FIXTURES / name, left / name)
    assert not found, "\n".join([*found, "", __doc__])


def test_every_fixture_is_of_a_run():
    assert {path.name for path in FIXTURES.iterdir()} == set(CANNED)


def test_what_differs_is_shown(tmp_path):
    for side, text in (("old", "a\nb\nc\n"), ("new", "a\nB\nc\n")):
        (tmp_path / side / "in").mkdir(parents=True)
        (tmp_path / side / "in" / "both").write_text(text)
        (tmp_path / side / f"only_{side}").write_text("")
    one, two, three = differences(tmp_path / "old", tmp_path / "new")
    assert one.startswith("in/both differs") and "-b\n" in one and "+B\n" in one
    assert (two, three) == ("only_new is new", "only_old is missing")
    assert not differences(tmp_path / "old", tmp_path / "old")
    assert differences(tmp_path / "none", tmp_path / "old")[0] == "in/both is new"
