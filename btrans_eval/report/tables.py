"""Tables of a comparison: shown rounded, as CSV whole."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from btrans_eval.report.members import Member
from btrans_eval.report.study import ReportedTask, Study
from btrans_eval.report.text import MISSING, clean, file_name, number, p_value, span

Row = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """What stands in a table: a text, and an interval beneath it."""

    text: str
    below: str = ""


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        name: of its files.
        columns: heads.
        rows: as shown; the first cell of a row names it.
        records: the same, not rounded, for CSV.
    """

    name: str
    columns: tuple[str, ...]
    rows: list[list[Cell]]
    records: list[Row] = field(default_factory=list)

    def markdown(self) -> str:
        """The table as shown."""
        lines = [self.columns, ["---"] + ["---:"] * (len(self.columns) - 1)]
        for row in self.rows:
            lines.append([f"{c.text} [{c.below}]" if c.below else c.text for c in row])
        return "".join("| " + " | ".join(map(_plain, line)) + " |\n" for line in lines)

    def csv(self) -> str:
        """The records; an end that is not bounded is empty."""
        out = io.StringIO()
        names = list(dict.fromkeys(name for record in self.records for name in record))
        writer = csv.DictWriter(out, names, lineterminator="\n")
        writer.writeheader()
        for row in self.records:
            writer.writerow({name: _field(value) for name, value in row.items()})
        return out.getvalue()


def _plain(text: str) -> str:
    line = " ".join(clean(text).split())
    for character in "\\|<":
        line = line.replace(character, "\\" + character)
    return line


def _field(value: Any) -> Any:
    return clean(value) if isinstance(value, str) else value


def measured(
    found: Mapping[str, Any] | None, percent: bool, signed: bool = False, digits: int = 3
) -> Cell:
    """A number with its interval, if it has one; a dash where there is none."""
    if found is None or found["estimate"] is None:
        return Cell(MISSING)
    value = number(found["estimate"], percent, signed, digits)
    if found["low"] is None and found["high"] is None:
        return Cell(value)
    return Cell(value, span(found, percent, signed, digits))


_HEADS = {"mean": "mean@K", "maj": "maj@K", "pass": "pass@K, oracle", "best": "best@K, oracle"}
_DIVERSITY = (
    "distinct_k", "utility_k", "meaning_entropy", "cosine_distance", "vendi", "distinct_1",
    "distinct_2",
)  # fmt: skip
_DIGITS = {"mean_tokens": 1, "mean_words": 1, "vendi": 2, "distinct_k": 2, "utility_k": 2}
_SHARES = ("invalid_rate", "truncated_rate", "tie_rate", "repetition")
_WORDS = {
    "cosine_distance": "cosine distance", "vendi": "Vendi score", "distinct_1": "distinct words",
    "distinct_2": "distinct pairs of words", "answer_entropy": "answer entropy, nats",
    "distinct_answers": "distinct answers", "invalid_rate": "no answer", "tie_rate": "ties",
    "truncated_rate": "cut off", "mean_tokens": "tokens", "mean_words": "words",
    "distinct_k": "distinct meanings", "utility_k": "utility",
    "meaning_entropy": "entropy of meanings, nats", "repetition": "repeated",
}  # fmt: skip
_BESIDE = ("cosine_distance", "answer_entropy", "invalid_rate", "truncated_rate", "mean_tokens")
_BESIDE_UNSCORED = (
    "cosine_distance", "repetition", "truncated_rate", "mean_tokens", "mean_words",
)  # fmt: skip


def headline(task: ReportedTask) -> Table:
    """Arms by mean@K, maj@K and pass@K, or by diversity where responses have no score."""
    arms = list(task.numbers["arms"])
    if not task.is_scored:
        shown = _measures(task, file_name("headline", task.name), _DIVERSITY)
        for row, arm in zip(shown.rows, arms, strict=True):
            row.insert(1, Cell(_calls(task, arm)))
        return replace(shown, columns=("arm", "K", *shown.columns[1:]))
    kinds = [kind for kind in _HEADS if any(_at_k(task, arm, kind) for arm in arms)]
    rows = []
    for arm in arms:
        cells = [measured(_at_k(task, arm, kind), task.is_share) for kind in kinds]
        rows.append([Cell(arm), Cell(_calls(task, arm)), *cells])
    columns = ("arm", "K", *(_HEADS[kind] for kind in kinds))
    return Table(file_name("headline", task.name), columns, rows, _records(task))


def _calls(task: ReportedTask, arm: str) -> str:
    calls = task.calls(arm)
    return "1 call" if calls == 1 else str(calls)


def _at_k(task: ReportedTask, arm: str, kind: str) -> Mapping[str, Any] | None:
    """The arm's number at its own K; of one call only the mean means anything."""
    calls = task.calls(arm)
    if kind != "mean" and calls == 1:
        return None
    found: Mapping[str, Any] | None = task.metrics(arm).get(
        "mean" if kind == "mean" else f"{kind}@{calls}"
    )
    return found


def _records(task: ReportedTask) -> list[Row]:
    return [
        {"task": task.name, "arm": arm, "calls": task.calls(arm), "questions": task.questions}
        | {"metric": metric, **interval}
        for arm in task.numbers["arms"]
        for metric, interval in task.metrics(arm).items()
    ]


def beside(task: ReportedTask) -> Table:
    """What stands beside diversity: noise that breaks text looks diverse."""
    names = _BESIDE if task.is_scored else _BESIDE_UNSCORED
    return _measures(task, file_name("diversity", task.name), names)


def _measures(task: ReportedTask, name: str, measures: Sequence[str]) -> Table:
    arms = list(task.numbers["arms"])
    kept = [one for one in measures if any(one in task.metrics(arm) for arm in arms)]
    rows = [
        [Cell(arm)]
        + [
            measured(task.metrics(arm).get(one), one in _SHARES, digits=_DIGITS.get(one, 3))
            for one in kept
        ]
        for arm in arms
    ]
    columns = ("arm", *(_WORDS[one] for one in kept))
    return Table(name, columns, rows, _records(task))


def pairs(task: ReportedTask, primary: bool) -> Table:
    """Differences of two arms; primary tests carry Holm's p."""
    chosen = [pair for pair in task.numbers["pairs"] if bool(pair["primary"]) == primary]
    points = "points" if task.is_share else "score"
    columns = ["difference", "measure", points]
    columns += ["p, Holm"] if primary else []
    columns += ["p"]
    exact = any(pair["mcnemar"] for pair in chosen)
    columns += ["p, McNemar"] if exact else []
    rows = []
    for pair in chosen:
        ends = {"estimate": pair["difference"], "low": pair["low"], "high": pair["high"]}
        cells = [Cell(f"{pair['a']} − {pair['b']}"), Cell(_oracle(pair["metric"]), pair["label"])]
        cells.append(measured(ends, task.is_share, signed=True))
        cells += [Cell(p_value(pair["p_holm"]))] if primary else []
        cells.append(Cell(p_value(pair["p"])))
        cells += [_mcnemar(pair["mcnemar"])] if exact else []
        rows.append(cells)
    name = file_name("primary" if primary else "exploratory", task.name)
    return Table(name, tuple(columns), rows, [{"task": task.name, **_flat(one)} for one in chosen])


def _oracle(metric: str) -> str:
    return f"{metric}, oracle" if metric.startswith(("pass", "best")) else metric


def _mcnemar(found: Mapping[str, Any] | None) -> Cell:
    """The exact test, and the questions that only one of the two has right."""
    if found is None:
        return Cell(MISSING)
    return Cell(p_value(found["p"]), f"{found['only_a']} against {found['only_b']}")


def _flat(pair: Mapping[str, Any]) -> Row:
    """A pair in one line of CSV."""
    flat: Row = {}
    for name, value in pair.items():
        if name in ("mcnemar", "two_way"):
            flat |= {f"{name}_{key}": inner for key, inner in (value or {}).items()}
        else:
            flat[name] = value
    return flat


def members(task: ReportedTask, arm: str, found: Sequence[Member]) -> Table:
    """Members with their score and their part in the vote."""
    columns = ["member", "responses", "right" if task.is_share else "mean score"]
    voted = any(one.in_winner is not None for one in found)
    columns += ["part of the winning answer"] if voted else []
    rows, records = [], []
    for one in found:
        cells = [Cell(str(one.member)), Cell(str(one.responses))]
        cells += [measured(one.score, task.is_share)]
        cells += [Cell(number(one.in_winner, percent=True))] if voted else []
        rows.append(cells)
        record = {"task": task.name, "arm": arm, "member": one.member, "responses": one.responses}
        records.append({**record, **one.score, "in_winner": one.in_winner})
    return Table(file_name("members", task.name, arm), tuple(columns), rows, records)


def depth(task: ReportedTask) -> Table:
    """Intervals that hold for fresh members too, and where the variance is."""
    columns = (
        "arm", "mean, over questions", "mean, over questions and members", "variance within",
        "variance between", "vote decided by two or more",
    )  # fmt: skip
    rows, records = [], []
    for arm, numbers in task.numbers["arms"].items():
        split, agreed = numbers["variance"], numbers["agreed"]
        within = number(split["within"]) if split else MISSING
        between = number(split["between"]) + (", cut at 0" if split["cut"] else "") if split else ""
        cells = [Cell(arm), measured(numbers["metrics"].get("mean"), task.is_share)]
        cells += [measured(numbers["two_way"], task.is_share), Cell(within)]
        cells += [Cell(between or MISSING)]
        cells += [Cell(MISSING if agreed is None else number(agreed, percent=True))]
        rows.append(cells)
        two_way = {f"two_way_{key}": value for key, value in (numbers["two_way"] or {}).items()}
        records.append({"task": task.name, "arm": arm, "agreed": agreed, **two_way}
                       | dict(split or {}))  # fmt: skip
    return Table(file_name("variance", task.name), columns, rows, records)


def planning(task: ReportedTask) -> Table:
    """Differences of means for fresh members too, and questions to see each difference."""
    rows, records = [], []
    points = "points" if task.is_share else "score"
    for pair in task.numbers["pairs"]:
        needed = pair["questions_needed"]
        cells = [Cell(f"{pair['a']} − {pair['b']}"), Cell(_oracle(pair["metric"]))]
        cells += [measured(pair["two_way"], task.is_share, signed=True)]
        cells += [Cell(MISSING if needed is None else f"{needed:,}")]
        rows.append(cells)
        records.append({"task": task.name, **_flat(pair)})
    columns = (
        "difference", "measure", f"{points}, over questions and members",
        "questions needed (planning only)",
    )  # fmt: skip
    return Table(file_name("planning", task.name), columns, rows, records)


def seeds(study: Study) -> Table:
    """Spread over fresh populations."""
    shares = {task.name: task.is_share for task in study.tasks}
    rows = []
    for one in study.comparison["seeds"]:
        of_scores = one["metric"] == "mean" or one["metric"].startswith(("maj@", "pass@"))
        percent = shares[one["task"]] and of_scores
        sd = MISSING if one["sd"] is None else number(one["sd"], percent)
        cells = [Cell(one[key]) for key in ("family", "task", "metric")]
        cells += [Cell(str(one["seeds"])), Cell(number(one["mean"], percent)), Cell(sd)]
        rows.append([*cells, Cell(span(one, percent))])
    columns = ("family", "task", "measure", "seeds", "mean", "sd", "lowest to highest")
    return Table("seeds", columns, rows, [dict(one) for one in study.comparison["seeds"]])
