"""``model-index``: metadata of the population's own model card.

Entries of one data set are grouped by the hub, and what the first says of task, data set and
source is taken for all. So everything that differs stands with the metric.
"""

from __future__ import annotations

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from btrans_eval.errors import UserError
from btrans_eval.leaderboards import facts
from btrans_eval.leaderboards.evidence import Evidence, TaskEvidence
from btrans_eval.leaderboards.numbers import CALIBRATION, ESTIMATES, Number
from btrans_eval.leaderboards.options import ExportOptions, is_hub_id

FILE = "model-index.md"


def files(evidence: Evidence, options: ExportOptions) -> dict[str, str]:
    """One card: metadata between the rules, the same numbers as a table below."""
    found = [
        _result(task, kind, evidence, options)
        for task in evidence.tasks
        for kind in (*ESTIMATES, *CALIBRATION)
        if kind in task.population.published
    ]
    found.sort(
        key=lambda one: str(one.unique_identifier)
    )  # as grouped, so that it reads back the same
    data = ModelCardData(
        model_name=options.model_id.partition("/")[2],
        base_model=options.base_model_id,
        eval_results=found,
    )
    text: str = f"---\n{data.to_yaml()}\n---\n\n{_body(evidence, options)}"
    back = ModelCard(text).data
    if back.get("eval_results") != found or back.get("model_name") != data.model_name:
        raise AssertionError("the card does not survive being written")
    return {FILE: text}


def _result(
    task: TaskEvidence, kind: str, evidence: Evidence, options: ExportOptions
) -> EvalResult:
    side, number = task.population, task.population.published[kind]
    rows = facts.dataset(task)
    identity = _dataset_id(task, rows, evidence, options)
    return EvalResult(
        task_type="text-generation",
        task_name="Text Generation",
        dataset_type=identity,
        dataset_name=identity,
        dataset_config=rows.get("config"),
        dataset_split=rows.get("split"),
        dataset_revision=options.dataset_revision,
        # never "accuracy": a vote or an oracle is none
        metric_type=f"vote_{kind}" if kind in CALIBRATION else f"{kind}_at_k",
        metric_name=f"{task.name}: {number.title}",
        metric_value=number.value,
        metric_args={
            "k": number.k,
            "n": number.n,
            "estimator": number.estimator,
            "meaning": number.meaning,
            "calls_per_answer": number.k,
            "unit": "proportion",
            "lower_is_better": number.lower_is_better,
            **facts.of_calibration(number),
            **_error(number),
            **_stock(task, kind, options),
            **facts.settings(task, side, evidence),
        },
        source_name="btrans-eval results" if options.source_url else None,
        source_url=options.source_url,
    )


def _error(number: Number) -> dict[str, float | str]:
    bounded = number.low is not None or number.high is not None
    found = {
        "stderr": number.stderr,
        "interval_95_low": number.low,
        "interval_95_high": number.high,
        "interval_method": f"{number.method}, over questions" if bounded else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _stock(task: TaskEvidence, kind: str, options: ExportOptions) -> dict[str, float | str]:
    number = task.stock.published[kind]
    greedy = task.greedy.numbers["mean"].value if task.greedy and kind in ESTIMATES else None
    found: dict[str, float | str | None] = {
        "stock_model": options.base_model_id,
        "stock_value_same_k": number.value,
        "stock_stderr": number.stderr,
        "stock_greedy_value_1_call": greedy,
        "stock_responses": facts.source(task, task.stock),
    }
    if pair := task.differences.get(kind):
        found |= {"minus_stock_low": pair["low"], "minus_stock_high": pair["high"]}
    return {name: value for name, value in found.items() if value is not None}


def _dataset_id(
    task: TaskEvidence, rows: dict[str, str], evidence: Evidence, options: ExportOptions
) -> str:  # fmt: skip
    if options.dataset_id is not None:
        if len(evidence.tasks) > 1:
            names = ", ".join(each.name for each in evidence.tasks)
            raise UserError(
                f"dataset-id: is one data set's, and the export has {names}; choose with --tasks"
            )
        return options.dataset_id
    path = rows.get("path", "")
    if not is_hub_id(path):
        raise UserError(
            f"dataset-id: is needed for {task.name}, whose rows are no data set of the hub "
            f"({path or 'none is named, or several'}); type --dataset-id ORG/NAME"
        )
    return path


def _body(evidence: Evidence, options: ExportOptions) -> str:
    lines = [
        f"# {options.model_id}",
        "",
        f"A population of `{options.base_model_id}`: many models drawn around one, not a "
        "checkpoint of its own.",
        "",
        f"| task | measure | this population | `{options.base_model_id}` without noise | "
        "questions |",
        "|---|---|---:|---:|---:|",
    ]
    for task in evidence.tasks:
        for kind, number in task.population.published.items():
            own, other = _cell(number), _cell(task.stock.published[kind])
            lines.append(f"| {task.name} | {number.title} | {own} | {other} | {number.questions} |")
    said = "Shares in [0, 1] with standard errors over questions."
    if any(task.population.calibration for task in evidence.tasks):
        said += " Of Brier score and calibration error, also in [0, 1], less is better."
    lines += ["", said, ""]
    for task in evidence.tasks:
        side = task.population
        lines += [
            f"- {task.name}: {facts.population_sentence(task, side)}. Without noise: "
            f"{facts.source(task, task.stock)}{_greedy(task)}. "
            f"{facts.version_sentence(task, side)}."
        ]
    meanings = {number.title: number.meaning for task in evidence.tasks
                for number in task.population.published.values()}  # fmt: skip
    lines += [f"- {title}: {meaning}" for title, meaning in meanings.items()]
    lines += [f"- In votes {facts.TIES}; {facts.INVALID}."]
    return "\n".join(lines) + "\n"


def _greedy(task: TaskEvidence) -> str:
    if task.greedy is None:
        return ""
    return f"; one greedy response scores {_cell(task.greedy.numbers['mean'])}"


def _cell(number: Number) -> str:
    return f"{number.value:.4f}" + ("" if number.stderr is None else f" ± {number.stderr:.4f}")
