"""A response is read once, whoever asks: votes, scores and the members file share what it says."""

from __future__ import annotations

from btrans_eval.harness import response as responses
from btrans_eval.harness.response import Response, answer_in


def test_a_response_is_read_once_for_each_kind(monkeypatch):
    asked = []

    def extract(text, kind):
        asked.append((str(text), kind))
        return f"{kind} of {text}"

    monkeypatch.setattr(responses, "extract", extract)
    response = Response("the answer is 5", 4, False)
    for _ in range(3):
        assert answer_in(response, "number") == "number of the answer is 5"
        assert answer_in(response, "letter") == "letter of the answer is 5"
    assert asked == [("the answer is 5", "number"), ("the answer is 5", "letter")]
    assert answer_in(Response("the answer is 5", 4, False), "number")  # another one
    assert len(asked) == 3
