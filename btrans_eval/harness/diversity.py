"""How different a question's responses are: the columns that need no gold answer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from btrans_eval import novelty
from btrans_eval.embeddings import DEFAULT, describe, embed
from btrans_eval.errors import UserError
from btrans_eval.harness import record
from btrans_eval.harness.response import Response
from btrans_eval.scores.diversity import (
    answer_entropy,
    cosine_distance,
    distinct_n,
    mean_words,
    vendi,
)
from btrans_eval.scores.partition import (
    PATIENCE,
    Pair,
    distinct_k,
    few_words_alike,
    partitions,
    quality,
    utility_k,
)
from btrans_eval.scores.quarters import quarter_columns

logger = logging.getLogger(__name__)

Columns = dict[str, float]


@dataclass(frozen=True)
class Measures:
    """What is measured of responses beside their words.

    Attributes:
        encoder: sentence encoder for the columns that need one; None leaves these out.
        partition: classifier of what means the same, ``novelty-bench`` or one's name or folder.
        reward: reward model of ``utility_k``, ``novelty-bench`` or one's name or folder.
        asked: name of the row's field that the reward model is shown as the prompt.
        by_quarter: whether repetition and distinct words are counted over length.

    Raises:
        UserError: for a reward without a partition or without the prompt's field.
    """

    encoder: str | None = None
    partition: str | None = None
    reward: str | None = None
    asked: str | None = None
    by_quarter: bool = False

    def __post_init__(self) -> None:
        if self.reward is not None and (self.partition is None or self.asked is None):
            raise UserError(
                "reward: goes with partition: and with asked:, the row's field that holds the "
                f"prompt, got partition: {self.partition} and asked: {self.asked}"
            )

    def check(self) -> None:
        """Before anything is generated: what cannot be measured is told now.

        Raises:
            UserError: if the encoder cannot be loaded, or a partition or reward that is not the
                published one is not on this machine.
        """
        if self.encoder is not None:
            describe(encoder_name(self.encoder))
        for name, check in (
            (self.partition, novelty.check_classifier),
            (self.reward, novelty.check_reward),
        ):
            try:
                if name is not None:
                    check(name)
            except novelty.NotAtHand as error:
                if name != novelty.DEFAULT:
                    raise
                logger.warning("%s", error)


def diversity_columns(
    rows: Sequence[Sequence[str]], measures: Measures, prompts: Sequence[str] = ()
) -> list[Columns]:
    """Diversity of each question's responses, those of all questions embedded and judged together.

    ``mean_tokens`` and ``truncated_rate`` only where the engine counted: never guessed.

    Args:
        rows: the responses of each question.
        measures: which columns.
        prompts: of each question; for a reward alone.
    """
    columns: list[Columns] = [
        {"distinct_1": distinct_n(row, 1), "distinct_2": distinct_n(row, 2),
         "mean_words": mean_words(row), **count_columns(row),
         **(quarter_columns(row) if measures.by_quarter else {})}
        for row in rows
    ]  # fmt: skip
    if measures.encoder is not None:
        _add(columns, embedded_columns(rows, encoder_name(measures.encoder)))
    if measures.partition is not None and rows:
        _add(columns, _meanings(rows, measures, prompts))
    return columns


def _add(columns: Sequence[Columns], more: Sequence[Columns]) -> None:
    for of_question, found in zip(columns, more, strict=False):  # none where they are left out
        of_question |= found


def embedded_columns(rows: Sequence[Sequence[str]], encoder: str) -> list[Columns]:
    """``cosine_distance`` and ``vendi`` of each question."""
    record.current().note("encoder", describe(encoder))
    vectors = embed([text for row in rows for text in row], encoder)
    found: list[Columns] = []
    start = 0
    for row in rows:
        own = vectors[start : start + len(row)]
        start += len(row)
        found.append({"cosine_distance": cosine_distance(own), "vendi": vendi(own)})
    return found


def _meanings(
    rows: Sequence[Sequence[str]], measures: Measures, prompts: Sequence[str]
) -> list[Columns]:
    """NoveltyBench's columns; none, with one line, where its classifier is not at hand."""
    name, run = str(measures.partition), record.current()
    try:
        labels = partitions(rows, lambda pairs: _alike(pairs, name))
    except novelty.NotAtHand as error:
        run.note("partition", f"left out: {error}")
        logger.warning("distinct_k, utility_k and meaning_entropy are left out: %s", error)
        return []
    run.note("partition", novelty.describe_classifier(name))
    found: list[Columns] = [
        {"distinct_k": float(distinct_k(each)), "meaning_entropy": answer_entropy(each)}
        for each in labels
    ]
    if measures.reward is not None:
        _add(found, _utilities(rows, labels, measures.reward, prompts))
    return found


def _alike(pairs: Sequence[Pair], name: str) -> list[bool]:
    """Short pairs by their words, the others by the classifier, all at once."""
    verdicts = [few_words_alike(*pair) for pair in pairs]
    long = [pair for pair, verdict in zip(pairs, verdicts, strict=True) if verdict is None]
    judged = iter(novelty.alike(long, name) if long else [])
    return [next(judged) if verdict is None else verdict for verdict in verdicts]


def _utilities(
    rows: Sequence[Sequence[str]],
    labels: Sequence[Sequence[int]],
    name: str,
    prompts: Sequence[str],
) -> list[Columns]:
    """``utility_k``; none, with one line, where the reward model is not at hand."""
    run = record.current()
    found: list[Columns] = []
    try:
        for row, of_question, prompt in zip(rows, labels, prompts, strict=True):
            firsts = [of_question.index(label) for label in sorted(set(of_question))]
            worth = [0] * len(row)  # what is not the first of its class does not count
            of_firsts = novelty.rewards(prompt, [row[place] for place in firsts], name)
            for place, reward in zip(firsts, of_firsts, strict=True):
                worth[place] = quality(reward)
            found.append({"utility_k": utility_k(of_question, worth)})
    except novelty.NotAtHand as error:
        run.note("reward", f"left out: {error}")
        logger.warning("utility_k is left out: %s", error)
        return []
    run.note("reward", {**novelty.describe_reward(name), "patience": PATIENCE})
    return found


def encoder_name(encoder: str) -> str:
    """The encoder that a task file calls ``default``, or the one that it names."""
    return DEFAULT if encoder == "default" else encoder


def count_columns(row: Sequence[str]) -> Columns:
    """Mean number of tokens and share of truncated responses, where the engine counted them."""
    tokens = [text.tokens for text in row if isinstance(text, Response) and text.tokens is not None]
    if len(tokens) < len(row):
        return {}
    return {
        "mean_tokens": sum(tokens) / len(row),
        "truncated_rate": sum(bool(getattr(text, "truncated", False)) for text in row) / len(row),
    }
