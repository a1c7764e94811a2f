"""One published number: what it is called, how it was made, and what it must not be taken for."""

from __future__ import annotations

from dataclasses import dataclass

ESTIMATES = ("mean", "maj", "pass")
CALIBRATION = {"brier": "brier", "ece": "ece_20"}
"""How sure the vote is: by kind, the figure's name in comparison.json."""
CONFIDENCE = "votes of the winning answer over all responses, those without an answer included"


@dataclass(frozen=True)
class Number:
    """One number of one model on one task, with its uncertainty over questions.

    Attributes:
        kind: mean, maj or pass; brier or ece of the vote.
        n: responses per question, K.
        value: in [0, 1].
        low: end of the 95% interval; None where it is not bounded.
        high: other end.
        method: of the interval.
        stderr: over questions; None where there is one question.
        deviation: standard deviation over questions; None where there is one.
        questions: how many.
        bins: of equal width on [0, 1], of a calibration error.
        binary: whether every response is right or wrong; a share of a point is no pass.
    """

    kind: str
    n: int
    value: float
    low: float | None
    high: float | None
    method: str
    stderr: float | None
    deviation: float | None
    questions: int
    bins: int | None = None
    binary: bool = True

    @property
    def lower_is_better(self) -> bool:
        """Whether less is better: of calibration, never of a score."""
        return self.kind in CALIBRATION

    @property
    def k(self) -> int:
        """Responses that stand behind one scored answer: 1 for the mean, else all n."""
        return 1 if self.kind == "mean" else self.n

    @property
    def name(self) -> str:
        """Short name."""
        return f"{self.kind}@{self.n}"

    @property
    def of_one(self) -> str:
        """What the mean over n responses is called."""
        return f"pass@1 (avg of {self.n})" if self.binary else f"mean score (avg of {self.n})"

    @property
    def title(self) -> str:
        """Name for people; it alone says that a vote is a vote and an oracle an oracle."""
        return {
            "mean": f"mean@{self.n} = {self.of_one}",
            "maj": f"maj@{self.n} (vote of {self.n} responses)",
            "pass": f"pass@{self.n} (oracle: any of {self.n} right)",
            "brier": f"Brier score of maj@{self.n} (confidence: share of votes)",
            "ece": f"calibration error of maj@{self.n} (ECE in {self.bins} bins, confidence: share "
            "of votes)",
        }[self.kind]

    @property
    def meaning(self) -> str:
        """What it says, in one sentence."""
        return {
            "mean": f"Mean score of the {self.n} responses to each question: what one response is "
            "worth on average.",
            "maj": f"Score of the answer that most of {self.n} responses give: {self.n} model "
            "calls for one answer; ties share the credit. Not the accuracy of a single response.",
            "pass": f"Share of questions that any of {self.n} responses gets right: an oracle "
            "that knows the gold answer chooses. Not an accuracy.",
            "brier": f"How far the share of votes of the answer that most of {self.n} responses "
            "give is from its being right, squared: 0 is best, and always saying one half has 1/4.",
            "ece": f"How far the share of votes of the answer that most of {self.n} responses give "
            "is from the share of such answers that are right: 0 is best. Few questions make it "
            "too large, so it has no interval.",
        }[self.kind]

    @property
    def estimator(self) -> str:
        """How it was computed."""
        return {
            "mean": "mean over responses, then over questions",
            "maj": "plurality vote of all n responses; ties share the credit equally",
            "pass": "1 - C(n-c, k) / C(n, k) (Chen et al. 2021), c of n right; at k = n whether "
            "any is",
            "brier": "mean over questions of y (1 - c)^2 + (1 - y) c^2 (Brier 1950), c the "
            "confidence, y the credit of the vote",
            "ece": f"mean over questions of |mean c - mean y| of their bin, {self.bins} bins of "
            "equal width with their upper ends (Naeini et al. 2015, Guo et al. 2017), c the "
            "confidence, y the credit of the vote",
        }[self.kind]

    @property
    def is_correct_rule(self) -> str:
        """What a question must show to be called correct under a number that has rows."""
        return {
            "mean": f"all {self.n} responses are right",
            "maj": "the vote is right, and so is every answer that it is tied with",
            "pass": f"all {self.n} responses are right; that some are is the score, but no answer "
            "was chosen",
        }[self.kind]
