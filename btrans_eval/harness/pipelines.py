"""A task's filter pipelines: of the task itself in lm_eval 0.4, of its scorers in 0.5."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lm_eval.api.metrics import mean as harness_mean

Judge = Callable[[Any, Any], dict[str, Any]]


def pipelines_of(task: Any) -> list[Any]:
    """The pipelines, each with a name and the parts ``filters``; none where a task has none."""
    scorers = _scorers(task)
    if scorers is None:
        return list(getattr(task, "_filters", ()))
    return [scorer.filter for scorer in scorers]


def no_means(task: Any) -> list[str]:
    """The task's metrics that give no question a number, such as pooled ones and corpus BLEU."""
    return [name for name, by in task.aggregation().items() if by is not harness_mean]


def put_pipelines(task: Any, pipelines: Sequence[Any]) -> None:
    """Other pipelines of the same names in place of the task's own."""
    scorers = _scorers(task)
    if scorers is None:
        task._filters = list(pipelines)
        return
    for scorer, pipeline in zip(scorers, pipelines, strict=True):
        scorer.filter = pipeline


def kind_of_part(part: Any) -> Any:
    """The class of a pipeline's part; 0.5 has the bare class where it takes no arguments."""
    return getattr(part, "func", part)


def judge_of(task: Any, name: str) -> Judge:
    """What scores a question by what pipeline ``name`` made of its only response.

    Returns:
        A function of the question's instance and of what the pipeline left.
    """
    judge, scorers = task.process_results, _scorers(task)
    if scorers is None:
        return lambda instance, filtered: judge(instance.doc, [filtered])
    scorer = _scorer(scorers, name)

    def score(instance: Any, filtered: Any) -> dict[str, Any]:
        found = judge(instance.doc, list(filtered))
        if found is not None:
            return dict(found)
        scored = scorer.score_instances({instance.doc_id: [instance]})
        return dict(scorer.reduce(scored)[instance.doc_id])

    return score


def only(filtered: Any) -> Any:
    """What a pipeline left of a single response; 0.5 keeps it in a list."""
    is_alone = isinstance(filtered, list) and len(filtered) == 1
    return filtered[0] if is_alone else filtered


def declare_column(task: Any, pipeline: str, name: str, is_up: bool | None) -> None:
    """Tell the harness that a pipeline's column is a mean over questions, and what is better."""
    scorers = _scorers(task)
    if scorers is None:
        task._aggregation_list.setdefault(name, harness_mean)
        task._higher_is_better.setdefault(name, is_up)
        return
    from lm_eval.api.metrics import Metric

    column = Metric(name, harness_mean, aggregation=harness_mean, higher_is_better=is_up)
    scorer = _scorer(scorers, pipeline)  # the others still judge by their own metrics
    if name not in scorer.higher_is_better:
        scorer.metrics.append(column)


def _scorers(task: Any) -> list[Any] | None:
    found: list[Any] | None = getattr(task, "_scorers", None)
    return found


def _scorer(scorers: Sequence[Any], name: str) -> Any:
    return next(one for one in scorers if one.name == name)
