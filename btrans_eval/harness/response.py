"""A response that remembers how it was generated, and is a plain string to the harness."""

from __future__ import annotations

from btrans_eval.answers.extract import extract


class Response(str):
    """Text of one response.

    The harness may make another one of a plain text (``type(response)(gold)``), so both counts
    can be left out.

    Attributes:
        tokens: generated tokens before a stop string is cut, without end token and padding.
        truncated: whether the limit was reached with neither end token nor stop string.
    """

    tokens: int | None
    truncated: bool | None
    _answers: dict[str, str | None]

    def __new__(
        cls, text: str, tokens: int | None = None, truncated: bool | None = None
    ) -> Response:
        """Make the text with its counts."""
        self = super().__new__(cls, text)
        self.tokens, self.truncated = tokens, truncated
        self._answers = {}
        return self

    def __getnewargs__(self) -> tuple[str, int | None, bool | None]:  # type: ignore[override]  # of str
        return str(self), self.tokens, self.truncated  # ranks send responses to one another


def answer_in(response: str, kind: str) -> str | None:
    """What a response says of a kind; read once, whoever asks first."""
    if not isinstance(response, Response):
        return extract(response, kind)
    if kind not in response._answers:
        response._answers[kind] = extract(response, kind)
    return response._answers[kind]
