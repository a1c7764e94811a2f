"""What members answered, side by side."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from btrans_eval.answers.vote import Vote
from btrans_eval.face.layout import html_table, printable, side_by_side
from btrans_eval.judged import JudgedResponse

_SHOWN = 60


@dataclass(frozen=True)
class AskedPrompt:
    """One prompt, and what each member answered.

    Attributes:
        prompt: as it was given.
        responses: of members 0, 1, …, with their answers and the classes of equal ones.
        vote: over the answers.
    """

    prompt: str
    responses: tuple[JudgedResponse, ...]
    vote: Vote

    @property
    def winner(self) -> JudgedResponse:
        """The response that the vote returns; member 0's where none states an answer."""
        return self.responses[self.vote.chosen]

    def vote_line(self) -> str:
        """The vote in one line."""
        if not self.vote.counts:
            return "vote: no member states an answer; member 0's response stands"
        most, members = max(self.vote.counts.values()), len(self.responses)
        said = " ".join(printable(str(self.winner.answer)).split())
        said = said if len(said) <= _SHOWN else said[: _SHOWN - 1] + "…"
        if most == 1 and members > 1 and len(self.vote.counts) > 1:
            return f"vote: no two members agree; member {self.vote.chosen}'s response stands"
        if self.vote.tied:
            tied = list(self.vote.counts.values()).count(most)
            return (
                f"vote: {tied} answers are tied at {most} of {members}; member "
                f"{self.vote.chosen}'s, the lowest of theirs, stands: {said}"
            )
        return f"vote: {most} of {members} for {said}"


@dataclass(frozen=True)
class Asked:
    """Prompts with the members' responses; ``print`` shows them side by side, a notebook as tables.

    Behaves as a sequence of its prompts.

    Attributes:
        prompts: in the order in which they were given.
        kind: what counts as an answer: letter, integer, number, latex or text.
        settings: who answered and how, in words.
    """

    prompts: tuple[AskedPrompt, ...]
    kind: str
    settings: str

    def __len__(self) -> int:
        return len(self.prompts)

    def __iter__(self) -> Iterator[AskedPrompt]:
        return iter(self.prompts)

    def __getitem__(self, place: int) -> AskedPrompt:
        return self.prompts[place]

    def __str__(self) -> str:
        return self.text(shutil.get_terminal_size((100, 24)).columns)

    def text(self, width: int = 100) -> str:
        """All prompts with the members' responses in columns.

        Args:
            width: characters of a line; members for which it has no room stand below.
        """
        blocks = [
            "\n\n".join((printable(one.prompt), side_by_side(self._shown(one), width),
                         one.vote_line()))
            for one in self.prompts
        ]  # fmt: skip
        return "\n\n\n".join([*blocks, f"({self.settings})"])

    def _shown(self, asked: AskedPrompt) -> list[tuple[str, str]]:
        return [(f"member {member}", self._said(one)) for member, one in enumerate(asked.responses)]

    def _said(self, one: JudgedResponse) -> str:
        text = one.text.strip() or "(empty)"
        text += " … (cut off at the limit)" if one.truncated else ""
        if self.kind == "text":  # the text is the answer
            return text
        return f"{text}\n→ {'no answer' if one.answer is None else one.answer}"

    def _repr_html_(self) -> str:
        parts = []
        for one in self.prompts:
            heads, texts = zip(*self._shown(one), strict=True)
            bold = one.vote.chosen if one.vote.counts else None
            parts.append(
                f'<p style="white-space:pre-wrap"><b>{escape(printable(one.prompt))}</b></p>'
                f"{html_table(heads, [texts], bold)}<p>{escape(one.vote_line())}</p>"
            )
        return "".join([*parts, f"<p><small>{escape(self.settings)}</small></p>"])
