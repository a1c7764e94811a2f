"""A response that remembers how it was generated, and is a plain string to the harness."""

from __future__ import annotations


class Response(str):
    """Text of one response.

    Attributes:
        tokens: generated tokens before a stop string is cut, without end token and padding.
        truncated: whether the limit was reached with neither end token nor stop string.
    """

    tokens: int
    truncated: bool

    def __new__(cls, text: str, tokens: int, truncated: bool) -> Response:
        """Make the text with its counts."""
        self = super().__new__(cls, text)
        self.tokens, self.truncated = tokens, truncated
        return self

    def __getnewargs__(self) -> tuple[str, int, bool]:  # type: ignore[override]
        return str(self), self.tokens, self.truncated  # ranks send responses to one another
