"""Bring runs together on the questions that they share, or say why they cannot be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

from btrans_eval.errors import UserError
from btrans_eval.results import AnsweredQuestion, Run, TaskRun


@dataclass(frozen=True)
class Arm:
    """One configuration under comparison.

    Attributes:
        name: of the arm.
        run: where its responses come from.
        kind: population, stock (our model type without noise) or other (another model type).
        is_sampled: whether its tokens are sampled.
        temperature: of the sampling; None where it is greedy or unknown.
        is_reference: whether one call answers a question: a greedy model without noise, or of
            another type one that said the same whenever it was asked.
    """

    name: str
    run: Run
    kind: str
    is_sampled: bool
    temperature: float | None
    is_reference: bool

    @property
    def has_members(self) -> bool:
        """Whether response j to every question comes from the same member."""
        return self.kind == "population"


@dataclass(frozen=True)
class JoinedTask:
    """One task (or pooled group) with the questions that all arms have answered.

    Attributes:
        name: of the task or group.
        parts: the tasks that are pooled.
        metric: what scores single responses; None where nothing does.
        higher_is_better: whether a higher score is better.
        documents: the shared questions, sorted.
        arms: by arm, its questions in the order of ``documents``.
        mixed: by arm, how many members' likelihoods each answer is the mean of; else 1.
        warnings: why the arms are not really comparable (only where the user insisted).
        statements: what differs and may.
    """

    name: str
    parts: tuple[str, ...]
    metric: str | None
    higher_is_better: bool
    documents: tuple[str, ...]
    arms: Mapping[str, tuple[AnsweredQuestion, ...]]
    mixed: Mapping[str, int]
    warnings: tuple[str, ...]
    statements: tuple[str, ...]


def as_arm(run: Run) -> Arm:
    """What a run is, read from its results file."""
    used = run.population
    stock = used is not None and used["sigma"] == 0 and used["mu"] == 0
    kind = "other" if used is None else "stock" if stock else "population"
    temperature = _temperature(run)
    alone = kind == "stock" and temperature is None
    questions = [one for task in run.tasks.values() for one in task.questions.values()]
    if kind == "other" and temperature is None:  # asked K times, a greedy model repeats itself
        single = all(len({one.text for one in each.responses}) == 1 for each in questions)
    else:
        single = all(len(each.responses) == 1 for each in questions)
    return Arm(run.name, run, kind, temperature is not None, temperature, alone or single)


def _temperature(run: Run) -> float | None:
    """The temperature that the run's responses are sampled at; None where they are greedy."""
    found: dict[float | None, str] = {}
    for task in run.tasks.values():
        if given := _decoding(run, task):
            warm = given.get("temperature")
            is_sampled = bool(given.get("do_sample", (warm or 0) > 0))
            found[float(1.0 if warm is None else warm) if is_sampled else None] = task.name
    if len(found) > 1:
        said = ", ".join(
            f"{task} {'greedy' if warm is None else f'at temperature {warm:g}'}"
            for warm, task in found.items()
        )
        raise UserError(
            f"compare: {run.name} decodes its tasks differently ({said}); run them alike with "
            "--gen_kwargs, or as runs of their own"
        )
    return next(iter(found), None)


def _decoding(run: Run, task: TaskRun) -> dict[str, Any]:
    """Generation arguments; none for a task that is not answered by generation."""
    own = task.config.get("generation_kwargs")
    return {**own, **(run.config.get("gen_kwargs") or {})} if own else {}


def join(arms: Sequence[Arm], insist: bool = False) -> list[JoinedTask]:
    """The tasks that all arms have, each with the questions that all arms answered.

    Args:
        arms: at least two, of different names.
        insist: whether to compare what should not be compared; the reasons become warnings.

    Raises:
        UserError: on fewer than two arms, no shared task, or, unless the user insists, arms that
            differ in documents, targets, task version, doc_to_text, few-shot examples, limit or
            generation limit.
    """
    if len(arms) < 2:
        raise UserError(f"compare: needs at least two arms, got {len(arms)}")
    names = [arm.name for arm in arms]
    if len(set(names)) < len(names):
        raise UserError(f"compare: arms must have different names, got {', '.join(names)}")
    groups = [_by_group(arm) for arm in arms]
    shared = [name for name in groups[0] if all(name in group for group in groups)]
    if not shared:
        said = "; ".join(f"{arm.name}: {', '.join(arm.run.tasks)}" for arm in arms)
        raise UserError(f"compare: the arms have no task in common ({said})")
    joined = [_join(name, arms, [group[name] for group in groups]) for name in shared]
    problems = [f"{task.name}: {warning}" for task in joined for warning in task.warnings]
    if problems and not insist:
        raise UserError(
            f"compare: {problems[0]}"
            + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else "")
            + "; compare runs of the same questions and prompts, or insist with --insist, which "
            "puts this in red at the top of the report"
        )
    return joined


def _by_group(arm: Arm) -> dict[str, list[TaskRun]]:
    """The arm's tasks by the group that pools them; a task with several pipelines by its name."""
    groups: dict[str, list[TaskRun]] = {}
    for task in arm.run.tasks.values():
        name = task.group if task.name == task.task else task.name
        groups.setdefault(name, []).append(task)
    return groups


def _join(name: str, arms: Sequence[Arm], runs: Sequence[list[TaskRun]]) -> JoinedTask:
    questions = [_questions(arm, tasks) for arm, tasks in zip(arms, runs, strict=True)]
    common = sorted(set(questions[0]).intersection(*questions[1:]))
    warnings, statements = _differences(arms, runs), _unlike(arms, runs)
    if any(len(each) != len(common) for each in questions):
        counts = _list(arms, [len(each) for each in questions])
        warnings.append(f"the arms answered different questions ({counts}; {len(common)} shared)")
    if not common:
        raise UserError(f"compare: {name}: the arms have no question in common")
    targets = [[of_arm[document].target for document in common] for of_arm in questions]
    if any(target != targets[0] for target in targets[1:]):
        warnings.append("the arms have different gold answers to the same questions")
    prompts = [[of_arm[document].prompt for document in common] for of_arm in questions]
    if any(prompt != prompts[0] for prompt in prompts[1:]):
        templates = {str(arm.run.results.get("chat_template_sha")) for arm in arms}
        systems = {str(arm.run.results.get("system_instruction_sha")) for arm in arms}
        if len(templates) > 1 or len(systems) > 1:
            statements.append("prompts differ by the models' chat templates or system prompts")
        else:
            warnings.append("the arms were asked in different words")
    calls = {
        arm.name: len(each[common[0]].responses) for arm, each in zip(arms, questions, strict=True)
    }
    for arm, each in zip(arms, questions, strict=True):
        if any(len(each[document].responses) != calls[arm.name] for document in common):
            raise UserError(f"compare: {arm.name} has questions of {name} with other numbers of "
                            "responses; run it again")  # fmt: skip
    for arm, tasks, each_of in zip(arms, runs, questions, strict=True):
        _refuse_votes(arm, tasks)
        _refuse_holes(name, arm, [each_of[document] for document in common])
    metrics = {task.metric for tasks in runs for task in tasks}
    if len(metrics) > 1:
        listed = ", ".join(sorted(map(str, metrics)))
        warnings.append(f"the arms are scored by different metrics ({listed})")
    up = runs[0][0].higher_is_better
    if not up:
        statements.append("less is better")
    if len(runs[0]) > 1:
        statements.append("every question weighs the same, whatever the harness's group weights")
    statements += sorted({said for each in arms if (said := _limited(each, runs[0]))})
    mixed = {arm.name: tasks[0].mixed for arm, tasks in zip(arms, runs, strict=True)}
    statements += [
        f"each answer of {arm} is that of the mean likelihood of {members} members"
        for arm, members in mixed.items()
        if members > 1
    ]
    return JoinedTask(
        name=name,
        parts=tuple(task.task for task in runs[0]),
        metric=runs[0][0].metric,
        higher_is_better=up,
        documents=tuple(common),
        arms={
            arm.name: tuple(each[document] for document in common)
            for arm, each in zip(arms, questions, strict=True)
        },
        mixed=mixed,
        warnings=tuple(warnings),
        statements=tuple(statements),
    )


def _limited(arm: Arm, tasks: Sequence[TaskRun]) -> str | None:
    """That only some rows of the benchmark were asked, and how many it has."""
    counts = [arm.run.results.get("n-samples", {}).get(task.task) for task in tasks]
    if None in counts or all(each["effective"] == each["original"] for each in counts):
        return None
    asked, whole = (sum(each[name] for each in counts) for name in ("effective", "original"))
    return f"{asked:,} of {whole:,} rows were asked (limit)"


def _refuse_votes(arm: Arm, tasks: Sequence[TaskRun]) -> None:
    """Refuse a score of several responses, such as a vote: it would pass for that of one call."""
    for task in tasks:
        if task.calls > 1:
            raise UserError(
                f"compare: {arm.name} holds the winner of a vote of {task.calls} responses for "
                f"{task.name}, or another score of them all, which is none of a single response; "
                f"run the task with btrans-eval run --repeats {task.calls}, which scores each "
                "(with a store nothing is generated twice)"
            )


def _refuse_holes(name: str, arm: Arm, questions: Sequence[AnsweredQuestion]) -> None:
    """Refuse a task of which some responses have a score and some have none, or no number."""
    scores = [[one.score for one in question.responses] for question in questions]
    if all(score is None for row in scores for score in row):
        return
    missing = [any(score is None or not isfinite(score) for score in row) for row in scores]
    if any(missing):
        raise UserError(
            f"compare: {sum(missing)} of {len(missing)} questions of {name} have no score in "
            f"{arm.name}; run it again, or leave the task out"
        )


def _questions(arm: Arm, tasks: Sequence[TaskRun]) -> dict[str, AnsweredQuestion]:
    """An arm's questions by document; of a reference arm the one response that was generated."""
    found: dict[str, AnsweredQuestion] = {}
    for task in tasks:
        for document, question in task.questions.items():
            one = question
            if arm.is_reference:
                one = replace(question, responses=question.responses[:1])
            found[f"{task.name} {document}" if len(tasks) > 1 else document] = one
    return found


def _differences(arms: Sequence[Arm], runs: Sequence[list[TaskRun]]) -> list[str]:
    """Settings in which the arms differ, in words."""
    found = []
    parts = [{task.name: task for task in tasks} for tasks in runs]
    if any(set(part) != set(parts[0]) for part in parts[1:]):
        found.append("the arms ran different parts of the group")
    for part in parts[0]:
        of_arms = [each[part].settings for each in parts if part in each]
        for setting in of_arms[0]:
            values = [settings[setting] for settings in of_arms]
            if any(value != values[0] for value in values[1:]) and len(values) == len(arms):
                said = f"{setting} differs ({_list(arms, values)})"
                if said not in found:
                    found.append(said)
    return found


def _unlike(arms: Sequence[Arm], runs: Sequence[list[TaskRun]]) -> list[str]:
    """What else the choice of tokens differs in; the first three are nothing to a greedy arm."""
    found: dict[str, None] = {}
    named = [{task.name: task for task in tasks} for tasks in runs]
    for part in named[0]:
        for name in ("top_k", "top_p", "min_p", "repetition_penalty"):
            given = [
                (arm, _decoding(arm.run, tasks[part]).get(name, "not given"))
                for arm, tasks in zip(arms, named, strict=True)
                if part in tasks and (arm.is_sampled or name == "repetition_penalty")
            ]
            if any(value != given[0][1] for _, value in given):
                found[f"{name} differs ({_list(*zip(*given, strict=True))})"] = None
    return [*found]


def _list(arms: Sequence[Arm], values: Sequence[Any]) -> str:
    pairs = zip(arms, values, strict=True)
    return ", ".join(f"{arm.name}: {_short(value)}" for arm, value in pairs)


def _short(value: Any) -> str:
    text = str(value).replace("\n", " ")
    return text if len(text) <= 60 else text[:57] + "..."
