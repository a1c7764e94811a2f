"""Every number of a comparison, as one JSON document that the report and exporters read."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from btrans_eval import __version__
from btrans_eval.compare import confidence, selection, similarity, weighted
from btrans_eval.compare.columns import are_shares, arm_on_task, have_votes, table_of
from btrans_eval.compare.join import Arm, JoinedTask
from btrans_eval.compare.pairs import ordered, pairs_of
from btrans_eval.scores import stats

SCHEME = 1
FEW = 10
"""Right or wrong answers expected below which t intervals of shares cover less than they say
(benchmarks/coverage.py)."""


def compare(
    arms: Sequence[Arm], tasks: Sequence[JoinedTask], insisted: bool = False
) -> dict[str, Any]:
    """All numbers of a comparison; see docs/comparison.md for the document."""
    analysed = [_task(task, arms) for task in tasks]
    _correct(analysed, {arm.name: _family(arm) for arm in arms})
    order = [arm.name for arm in sorted(arms, key=lambda arm: arm.kind != "population")]
    for task in analysed:
        task["sentence"] = sentence(task, order)
    return {
        "scheme": SCHEME,
        "version": __version__,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "insisted": insisted,
        "arms": [_facts(arm) for arm in arms],
        "tasks": analysed,
        "seeds": _seeds(arms, analysed),
    }


def _facts(arm: Arm) -> dict[str, Any]:
    used = arm.run.population or {}
    results = arm.run.results
    return {
        "name": arm.name,
        "family": _family(arm),
        "folder": str(arm.run.path),
        "kind": arm.kind,
        "is_reference": arm.is_reference,
        "is_sampled": arm.is_sampled,
        "temperature": arm.temperature,
        "model_type": arm.run.config.get("model"),
        "model": results.get("model_name"),
        "population": dict(used),
        "failed_questions": dict(arm.run.failed_questions),
        "gen_kwargs": arm.run.config.get("gen_kwargs"),
        "model_args": arm.run.config.get("model_args"),
        "date": results.get("date"),
        "lm_eval_version": results.get("lm_eval_version"),
        "transformers_version": results.get("transformers_version"),
        "chat_template_sha": results.get("chat_template_sha"),
        "task_hashes": results.get("task_hashes"),
    }


def _family(arm: Arm) -> str:
    """The name without its seed: arms that differ in it alone are one family."""
    seed = (arm.run.population or {}).get("seed")
    return arm.name.removesuffix(f" seed {seed}")


def _task(task: JoinedTask, arms: Sequence[Arm]) -> dict[str, Any]:
    everything = [question for of_arm in task.arms.values() for question in of_arm]
    up = task.higher_is_better
    scores = {one.score for each in everything for one in each.responses}
    binary = up and scores <= {0, 1, None}  # pass@k is about being right
    votes = have_votes(everything, up)
    values = {name: table_of(questions, votes, binary, up) for name, questions in task.arms.items()}
    calls = {name: len(questions[0].responses) for name, questions in task.arms.items()}
    on_task = {
        arm.name: arm_on_task(task.arms[arm.name], values[arm.name], arm.has_members)
        for arm in arms
    }
    voted = {
        name: confidence.votes_of(questions)
        for name, questions in task.arms.items()
        if votes and calls[name] > 1
    }
    for name, found in voted.items():
        on_task[name]["confidence"] = confidence.of_arm(found)
        if (plain := values[name].get(f"maj@{calls[name]}")) is not None:
            on_task[name]["weighted_vote"] = weighted.of_arm(task.arms[name], plain)
    for arm in arms:
        if arm.name in voted and arm.has_members:
            chosen = selection.of_arm(task.documents, task.arms[arm.name])
            on_task[arm.name]["selection"] = chosen
    return {
        "name": task.name,
        "parts": list(task.parts),
        "metric": task.metric,
        "binary": binary,
        "shares": are_shares(everything),
        "higher_is_better": up,
        "questions": len(task.documents),
        "warnings": list(task.warnings),
        "statements": [*task.statements, *_narrow(on_task, len(task.documents))],
        "arms": on_task,
        "pairs": [
            pair
            for one, other in combinations(arms, 2)
            for pair in pairs_of(task, *ordered(one, other), values, calls)
        ],
        "confidence_pairs": [
            {"a": a.name, "b": b.name, **difference}
            for a, b in (ordered(one, other) for one, other in combinations(arms, 2))
            if a.name in voted and b.name in voted and calls[a.name] == calls[b.name]
            for difference in confidence.of_pair(voted[a.name], voted[b.name])
        ],
        **similarity.of_task(task, arms),
    }  # fmt: skip


def _narrow(arms: Mapping[str, Mapping[str, Any]], questions: int) -> list[str]:
    """Says so where t intervals of shares are too narrow: close to 0 or 1 on few questions."""
    shares = [
        interval["estimate"]
        for arm in arms.values()
        for name, interval in arm["metrics"].items()
        if interval["method"] == "t" and (name == "mean" or name.startswith(("maj@", "pass@")))
    ]
    if all(questions * min(share, 1 - share) >= FEW for share in shares if 0 <= share <= 1):
        return []
    edge = round(100 * FEW / questions)
    which = "" if edge >= 50 else f" nearer than {edge} points to 0 or 100%"
    return [
        f"intervals of shares{which} may be narrow at {questions} questions: in simulations they "
        "held the truth 86 to 92 times in 100, not 95 (benchmarks/coverage.py)"
    ]


def _correct(tasks: Sequence[dict[str, Any]], families: Mapping[str, str]) -> None:
    """Holm's correction over the primary tests of all tasks; of several seeds the first's."""
    for task in tasks:
        first = {families[pair["a"]]: pair["a"] for pair in reversed(task["pairs"])}
        for pair in task["pairs"]:
            pair["primary"] &= first[families[pair["a"]]] == pair["a"]
    primary = [pair for task in tasks for pair in task["pairs"] if pair["primary"]]
    if primary:
        adjusted = stats.holm([pair["p"] for pair in primary])
        for pair, p in zip(primary, adjusted, strict=True):
            pair["p_holm"] = float(p)


def _seeds(arms: Sequence[Arm], tasks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Spread of every metric over the arms of a family, which differ in the seed alone."""
    families: dict[str, list[str]] = {}
    for arm in arms:
        families.setdefault(_family(arm), []).append(arm.name)
    found = []
    for family, names in families.items():
        for task in tasks if len(names) > 1 else ():
            tables = [task["arms"][name]["metrics"] for name in names]
            for metric in [one for one in tables[0] if all(one in other for other in tables)]:
                values = [task["arms"][name]["metrics"][metric]["estimate"] for name in names]
                spread = stats.seed_spread(values)._asdict()
                found.append({"family": family, "task": task["name"], "metric": metric, **spread})
    return found


def sentence(task: Mapping[str, Any], order: Sequence[str]) -> str:
    """The comparison that matters most on a task, in plain words.

    Args:
        task: with its pairs.
        order: the arms' names; without a primary test, pairs of the first come first, and of these
            those at equal K.
    """
    pairs = [pair for pair in task["pairs"] if pair["primary"]] or sorted(
        task["pairs"],
        key=lambda pair: (order.index(pair["a"]), pair["label"].endswith("calls against 1")),
    )
    chosen = next((pair for pair in pairs if pair["metric"].startswith("maj")), None)
    chosen = chosen or next(iter(pairs), None)
    questions = f"{task['questions']} question{'s' if task['questions'] != 1 else ''}"
    if chosen is None and task["metric"] is None:
        return f"Responses to this task have no score; its numbers are diversity; {questions}."
    if chosen is None:
        calls = " and ".join(str(arm["calls"]) for arm in task["arms"].values())
        return f"The arms gave {calls} responses a question, so they are not compared; {questions}."
    what, _, k = chosen["metric"].partition("@")
    nouns = {"maj": "vote", "mean": "mean score", "pass": "Pass@K (any right)"}
    scale, unit = (100, "points ") if task["shares"] else (1, "")
    gap, low, high = chosen["difference"], chosen["low"], chosen["high"]
    side = "above" if gap > 0 else "below"
    size = f"{scale * abs(gap):.1f} {unit}{side}" if gap else "level with"
    single = chosen["label"].endswith("calls against 1")
    rival = f"the one call of {chosen['b']}" if single else f"that of {chosen['b']}"
    said = f"At K = {k} the {nouns.get(what, what)} of {chosen['a']} is {size} {rival}"
    if low is None or high is None:
        return f"{said} ({chosen['label']}); {questions}, which bounds nothing."
    ends = f"95% interval {_signed(scale * low)} to {_signed(scale * high)}"
    clear = "" if low > 0 or high < 0 else "; this is no evidence of a difference"
    return f"{said} ({chosen['label']}), {ends}; {questions}{clear}."


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")
